"""`ClickHouseMemory`: what a worker whose broker forgets starts from (`pipelines.counting.memory.Memory`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from connectors.clickhouse import thread_memory
from connectors.clickhouse.horizon import horizon
from connectors.clickhouse.literals import text
from connectors.clickhouse.marks import marks_sql
from connectors.clickhouse.recount import COUNTS_SOMETHING
from connectors.clickhouse.sql import Target, run_sql
from connectors.clickhouse.thread_memory import lines
from schemas.alarms import RATE_SIGNALS
from schemas.counters import COUNTERS, DIMENSIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import polars as pl
    from numpy.typing import NDArray

    from pipelines.threads.stored import Stored
    from schemas.mail import InboundMail

_HOUR_MS: Final = 3_600_000
_HOUR: Final = f"toInt32(intDiv(toUnixTimestamp64Milli({{}}), {_HOUR_MS}))"
# Times ahead of the clock say nothing of how far the stream is.
_WATERMARK: Final = f"SELECT {_HOUR.format('max(event_time)')} FROM event_rows WHERE event_time <= now64(3)"  # noqa: S608
# Copies that have not been merged yet only repeat a key, so no FINAL: that is most of the time.
_SEEN: Final = (
    f"SELECT key, {_HOUR.format('sent_time')}, {{partition}} FROM (SELECT"  # noqa: S608 - numbers and constants
    " bitOr(bitAnd(reinterpretAsUInt64(substring(event_id, 1, 8)), bitNot(toUInt64(1))), toUInt64(tagged)) AS key,"
    " sent_time, message_id FROM event_rows WHERE {since} UNION ALL {marks})"
)
_SINCE: Final = "sent_time >= fromUnixTimestamp64Milli(toInt64({since}))"
_SEEN_ROW: Final = np.dtype([("key", "<u8"), ("hour", "<i4"), ("partition", "<u2")])
_COUNTERS: Final = (
    f"SELECT dimension, value, toUnixTimestamp64Second(toDateTime64(hour, 0, 'UTC')), {', '.join(COUNTERS)}"  # noqa: S608
    f" FROM rate_rows FINAL WHERE {COUNTS_SOMETHING} AND dimension IN ({{dimensions}})"
    " AND hour >= (SELECT max(hour) FROM rate_rows WHERE hour <= now()) - INTERVAL {days} DAY"
)
# Of two revisions of a transition the machine is the same.
_MACHINES: Final = (
    "SELECT alarm_key, hex(argMax(machine, seq)) FROM alarm_rows"  # noqa: S608 - our own names
    f" WHERE signal IN ({', '.join(map(text, RATE_SIGNALS))}) GROUP BY alarm_key"
)
_MACHINE: Final = msgspec.json.Decoder(tuple[str, str])
_OPEN_H: Final = 14 * 24
_LIST: Final = msgspec.json.Decoder(list[str | int])
_ROW: Final = msgspec.json.Decoder(dict[str, str | int])


class ClickHouseMemory:
    """Reads through whatever holds ClickHouse: a door, or a DSN."""

    def __init__(self, target: Target, dimensions: Sequence[str] = DIMENSIONS) -> None:
        """Connects nowhere yet.

        Args:
            target: where ClickHouse is.
            dimensions: what is counted for; of others nothing is remembered.
        """
        self._target = target
        self._names = tuple(dimensions)
        self._dimensions = ", ".join(map(text, dimensions)) or "''"

    def watermark(self) -> int:
        """The hour of the latest event that is not ahead of the clock: see `Memory.watermark`.

        At least so late that hours whose events are gone are closed: nothing remembers their ids. No hour is open
        for longer than `_OPEN_H`, and events are kept for longer than that.
        """
        latest = int(b"".join(run_sql(_WATERMARK, "TSV", self._target)) or b"0")
        known = horizon(self._rows)
        closed = [before // 3600 + _OPEN_H for before in (known.gone, known.doubtful) if before]
        return max([latest, *closed])

    def _rows(self, query: str) -> list[list[str | int]]:
        return [_LIST.decode(line) for line in lines(run_sql(query, "JSONCompactEachRow", self._target))]

    def seen(self, since: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint64]]]:
        """Hours and keys of events: see `Memory.seen`."""
        for _, hours, keys in self._seen(since, "toUInt16(0)"):
            yield hours, keys

    def seen_by_partition(
        self, partitions: int, since: int
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint64]]]:
        """As `seen`, with the partition of `ses.events` that each event's message belongs to (`of_message`)."""
        return self._seen(since, f"toUInt16(CRC32(message_id) % {partitions:d})")

    def _seen(
        self, since: int, partition: str
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint64]]]:
        within = _SINCE.format(since=max(since, 0) * _HOUR_MS)
        query = _SEEN.format(partition=partition, since=within, marks=marks_sql(self._names, within))
        size = _SEEN_ROW.itemsize
        rest = b""
        for piece in run_sql(query, "RowBinary", self._target):
            data = rest + piece
            whole = len(data) - len(data) % size
            rest = data[whole:]
            if whole:
                rows = np.frombuffer(data[:whole], dtype=_SEEN_ROW)
                yield (
                    rows["partition"].astype(np.int64),
                    rows["hour"].astype(np.int64),
                    rows["key"].astype(np.uint64),
                )

    def counters(self, days: int) -> Iterator[tuple[str, str, int, tuple[int, ...]]]:
        """The newest raw counters: see `Memory.counters`."""
        query = _COUNTERS.format(dimensions=self._dimensions, days=days)
        for line in lines(run_sql(query, "JSONEachRow", self._target)):
            dimension, value, hour, *counters = _ROW.decode(line).values()
            yield str(dimension), str(value), int(hour), tuple(int(each) for each in counters)

    def machines(self) -> Iterator[tuple[str, bytes]]:
        """The states of alarms: see `Memory.machines`."""
        for line in lines(run_sql(_MACHINES, "JSONCompactEachRow", self._target)):
            key, machine = _MACHINE.decode(line)
            yield key, bytes.fromhex(machine)

    def sent(self, days: int) -> Iterator[Stored]:
        """Messages sent: see `Memory.sent`."""
        return thread_memory.sent(self._target, days)

    def citing(self, days: int) -> Iterator[pl.DataFrame]:
        """Messages sent that are about others: see `Memory.citing`."""
        return thread_memory.citing(self._target, days)

    def received(self, days: int) -> Iterator[InboundMail]:
        """Mails received: see `Memory.received`."""
        return thread_memory.received(self._target, days)

    def members(self) -> Iterator[tuple[str, str, int, str]]:
        """Members of threads: see `Memory.members`."""
        return thread_memory.members(self._target)

    def told(self) -> Iterator[bytes]:
        """Events made of reports: see `Memory.told`."""
        return thread_memory.told(self._target)

    def last_version(self) -> int:
        """The greatest version stored; 0 when there is none."""
        version = b"".join(run_sql("SELECT max(version) FROM rate_rows", "TSV", self._target))
        return int(version or b"0")
