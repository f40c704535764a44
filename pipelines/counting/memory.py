"""`Memory`: what ClickHouse remembers for a worker whose broker forgets (see docs/architecture.md).

A worker with a memory keeps its state in plain dictionaries, restored from here before the first record is
read, and writes no changelog. It must be the only worker of its instance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from pipelines.threads.stored import Stored
    from schemas.mail import InboundMail


class Memory(Protocol):
    """State to start from.

    Each method is called once, in the order below, from one thread. The worker owns no connection and closes
    nothing.
    """

    def watermark(self) -> int:
        """The hour (since the epoch) of the latest event stored, be it ahead of the clock.

        Any hour long past when there is none.
        """

    def seen(self, since: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint64]]]:
        """Cohort hour (since the epoch) and key of every event stored whose cohort hour is not before `since`.

        Aligned arrays of any length, in any order; repeats are allowed.

        A key is the first 8 bytes of `event_id` read as a little-endian integer, its lowest bit replaced by
        `tagged` (`pipelines.counting.dedup.keys`). An event that came both tagged and untagged gives both
        keys, or the tagged one alone. In ClickHouse: `bitOr(bitAnd(reinterpretAsUInt64(substring(event_id, 1,
        8)), bitNot(toUInt64(1))), toUInt64(tagged))`.

        And the marks of bounces and complaints (`pipelines.counting.reported`), for the dimensions that are counted
        for: of each that a report speaks of `report`, of each that SES speaks of `alone | 1` and `whole` of a copy with
        tags, `alone` and `common` of one without.
        """

    def machines(self) -> Iterator[tuple[str, bytes]]:
        """Alarm key and `machine` of the last transition (the highest `seq`), once for each alarm key.

        Of the signals that the worker evaluates: `schemas.alarms.RATE_SIGNALS`.
        """

    def sent(self, days: int) -> Iterator[Stored]:
        """Messages sent that the sink stored, or that were sent, in the last so many days.

        In any number of pieces and any order; repeats are allowed, of which the worker keeps one.
        """

    def citing(self, days: int) -> Iterator[pl.DataFrame]:
        """Those of `sent` that cite others or are in conversations, in any order; repeats are allowed.

        Frames of any height with the columns of `OutboundMessage` but `subject`; `sent_time` in ms (Int64), lists of
        strings, no nulls.
        """

    def received(self, days: int) -> Iterator[InboundMail]:
        """Mails that the sink stored, or that were received, in the last so many days; each once, in any order.

        Whole rows, or at least what `pipelines.threads.facts.MAIL_COLUMNS` names.
        """

    def members(self) -> Iterator[tuple[str, str, int, str]]:
        """`member`, `thread_id`, `rank`, `message_id` of every member of a thread stored, merged.

        The worker says once more what differs from what it finds.
        """

    def told(self) -> Iterator[bytes]:
        """`event_id` (16 bytes) of every event stored that was made of a received report: origin `dsn` or `arf`.

        The worker makes those once more that it misses.
        """

    def counters(self, days: int) -> Iterator[tuple[str, str, int, tuple[int, ...]]]:
        """(dimension, value, cohort hour in seconds, counters in the order of `schemas.counters.COUNTERS`).

        Of the hours that are not more than so many days behind the greatest that is not ahead of the clock.
        Once for each (dimension, value, hour). Raw sums: `sends` includes the suppressed, as in `RateRow`.
        """

    def last_version(self) -> int:
        """The greatest `RateRow.version` stored; 0 when there is none. New rows get greater ones."""
