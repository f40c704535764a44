"""What received reports (DSN, ARF) add where SES itself says nothing.

The rule, for each (dimension, value) and hour: a reported bounce of a recipient of a message counts only if no bounce
of SES's own for that recipient counts for the same value; a reported complaint only if no complaint of SES's own about
that message does; of several reports of one thing one counts. What SES says counts as if there were no reports.

Here the rule is kept as events stream by. Beside the ids of events some *marks* are remembered of each bounced
recipient and each complaint, which say whether SES or a report spoke of it, and with which values. Of what comes first
all counts; a report that only repeats SES adds nothing. Whatever is less simple (a report came before SES, two reports
differ, values differ) is treated as of a closed hour: it adds nothing but has its key-hours recounted, and SQL decides.
What an event changes it changes for the values that it counts for itself, and those are recounted. So it is exact, in
every order.

A decision follows from the events before it in its partition, however they are cut into batches: a batch that comes
again after a crash makes the same deltas.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import md5
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from pipelines.counting.dimensions import ABSENT, columns_of
from schemas.events import REPORTS, SUPPRESSED_SUBTYPES, UNTAGGED_DIMENSIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pipelines.counting.dedup import Keys, Mask
    from pipelines.counting.dimensions import Indexes
    from pipelines.counting.hours import Hours
    from pipelines.counting.increments import Recipients

BOUNCE: Final = "Bounce"
COMPLAINT: Final = "Complaint"
SEPARATOR: Final = "\0"
BY_REPORT: Final = 0x5DEECE66D1CE4E5A
"""Makes of the mark of a thing that of a report of it."""
_EVEN: Final = ~1 & (1 << 64) - 1
_TAGGED: Final = np.uint64(1)
_NEVER_OF_REPORTS: Final = ("outgoing_ip", "tags")
"""Columns that reports leave empty, so they count for none of their values."""
_JUDGED: Final = (
    "bounce_type",
    "bounce_subtype",
    "out_of_office",
    "complaint_type",
    "complaint_subtype",
    "origin",
)


@dataclass(frozen=True, slots=True)
class Things:
    """Bounced recipients, and complaints, with their marks; aligned arrays.

    Marks are even: the lowest bit is for `tagged`.
    """

    rows: Indexes
    """Row of the event, in order."""
    reports: Mask
    """Whether a report speaks of it, or SES."""
    tagged: Mask
    alone: Keys
    """Of the thing: message, hour, and the recipient of a bounce."""
    common: Keys
    """Of the thing with the values that need no tags."""
    whole: Keys
    """Of the thing with all values."""

    def of(self, which: Indexes) -> Things:
        """Some of them."""
        return Things(
            self.rows[which],
            self.reports[which],
            self.tagged[which],
            self.alone[which],
            self.common[which],
            self.whole[which],
        )

    def own(self, which: Mask) -> Keys:
        """The marks of some of them that say: SES said so, in a copy with tags or without."""
        with_tags, without = which & self.tagged, which & ~self.tagged
        parts = (
            self.alone[with_tags] | _TAGGED,
            self.whole[with_tags],
            self.alone[without],
            self.common[without],
        )
        return np.concatenate(parts)


@dataclass(frozen=True, slots=True)
class Contested:
    """An event of which another one may say the same; (alone, common, whole) of each of its things."""

    row: int
    report: bool
    tagged: bool
    first: bool
    """Whether it adds to the dimensions that need no tags; if not, it is the tagged twin of one that did."""
    plain: bool
    """Of a report: it has what reports have, and no more."""
    things: list[tuple[int, int, int]]


@dataclass(slots=True)
class Decided:
    """What is to be done about rows, and to be remembered."""

    repeats_common: list[int] = field(default_factory=list)
    """Rows that add nothing for the dimensions that need no tags, because SES said it."""
    repeats_rest: list[int] = field(default_factory=list)
    recounted: list[int] = field(default_factory=list)
    """Rows whose key-hours are to be recounted."""
    marks: list[int] = field(default_factory=list)


def marked(*parts: str) -> int:
    """64 bits of MD5, as ClickHouse computes them too; the lowest is 0."""
    return int(_hashed([SEPARATOR.join(parts)])[0])


def columns(dimensions: Sequence[str]) -> tuple[list[str], list[str]]:
    """Columns whose values marks hold, the provider aside: those that need no tags, and the others."""
    names = sorted(set(columns_of(dimensions)) - set(_NEVER_OF_REPORTS))
    return (
        [name for name in names if name in UNTAGGED_DIMENSIONS],
        [name for name in names if name not in UNTAGGED_DIMENSIONS],
    )


def concerned(frame: pl.DataFrame, chosen: Mask) -> Indexes:
    """Rows, of those chosen, of bounces and complaints that count as such, and of reported ones."""
    kinds = frame["event_type"]
    bounced = np.flatnonzero((kinds == BOUNCE).to_numpy() & chosen)
    complained = np.flatnonzero((kinds == COMPLAINT).to_numpy() & chosen)
    if not bounced.size + complained.size:
        return bounced
    kind, subtype, away, _, _, origin = (frame[name][bounced] for name in _JUDGED)
    soft = kind.is_in(("Transient", "Undetermined")) & ~away
    counts = (kind == "Permanent") | soft | subtype.is_in(SUPPRESSED_SUBTYPES) | origin.is_in(REPORTS)
    _, _, _, kind, subtype, _ = (frame[name][complained] for name in _JUDGED)
    complains = (kind != "not-spam") & ~subtype.is_in(SUPPRESSED_SUBTYPES)
    return np.sort(np.concatenate((bounced[counts.to_numpy()], complained[complains.to_numpy()])))


def things(
    frame: pl.DataFrame, recipients: Recipients, rows: Indexes, hours: Hours, dimensions: Sequence[str]
) -> Things:
    """The things that rows are about. A complaint has the provider of its first recipient."""
    bounce = (frame["event_type"][rows] == BOUNCE).to_numpy()
    owners, which = recipients.of(rows[bounce])
    owners = np.concatenate((owners, rows[~bounce]))
    which = np.concatenate((which, recipients.firsts[rows[~bounce]]))
    order = np.argsort(owners, kind="stable")
    owners, which = owners[order], which[order]
    common, rest = columns(dimensions)
    named = which != ABSENT
    whom = np.where(named, which, 0)
    providers, addresses = recipients.providers, recipients.addresses
    if providers.is_empty():
        providers = addresses = pl.Series([""])
    part = frame.select("event_type", "message_id", "origin", "tagged", *common, *rest)[owners].with_columns(
        provider=pl.when(pl.Series(named)).then(providers[whom]).otherwise(pl.lit(""))
    )
    alone = _hashed(
        SEPARATOR.join((kind, message, _lower(address) if kind == BOUNCE else "", str(hour)))
        for kind, message, address, hour in zip(
            part["event_type"].to_list(),
            part["message_id"].to_list(),
            addresses[whom].to_list(),
            hours[owners].tolist(),
            strict=True,
        )
    )
    values = part.select(
        pl.concat_str("provider", *common, separator=SEPARATOR).alias("common"),
        pl.concat_str("provider", *common, *rest, separator=SEPARATOR).alias("whole"),
    )
    return Things(
        owners,
        part["origin"].is_in(REPORTS).to_numpy(),
        part["tagged"].to_numpy(),
        alone,
        alone ^ _of_values("common", values["common"].to_list()),
        alone ^ _of_values("whole", values["whole"].to_list()),
    )


def _of_values(salt: str, texts: Sequence[str]) -> Keys:
    return np.array([_value_mark(salt, text) for text in texts], dtype=np.uint64)


@lru_cache(maxsize=1 << 14)
def _value_mark(salt: str, text: str) -> int:
    """Things of a campaign and a provider share theirs."""
    return marked(salt, text)


def _hashed(texts: Iterable[str]) -> Keys:
    digests = [md5(text.encode(errors="surrogatepass"), usedforsecurity=False).digest() for text in texts]
    return np.frombuffer(b"".join(digests), dtype="<u8")[::2] & np.uint64(_EVEN)


def _lower(address: str) -> str:
    """ASCII alone, as ClickHouse does it."""
    return address.lower() if address.isascii() else address.encode().lower().decode()


def settle(
    frame: pl.DataFrame, found: Things, first: Mask, look: Callable[[Keys], tuple[Mask, Mask]]
) -> Decided:
    """What is to be done about the things of one partition and bucket of hours.

    Args:
        frame: all rows.
        found: the things.
        first: whether each row adds to the dimensions that need no tags.
        look: which of some (even) marks are remembered as they are, and which with the lowest bit set.
    """
    by_report = found.alone ^ np.uint64(BY_REPORT)
    known, _ = look(by_report)
    if not (known.any() or found.reports.any()):
        return Decided(marks=found.own(np.ones(known.size, dtype=np.bool_)).tolist())
    apart = known | found.reports | np.isin(found.alone, found.alone[found.reports])
    apart = np.isin(found.rows, found.rows[apart])
    remembered = set(by_report[known].tolist())
    asked = np.concatenate((found.alone[apart], found.common[apart], found.whole[apart]))
    untagged, with_tags = look(asked)
    remembered.update(asked[untagged].tolist(), (asked[with_tags] | _TAGGED).tolist())
    done = decide(_contested(frame, found, apart, first), remembered)
    done.marks += found.own(~apart).tolist()
    return done


def _contested(frame: pl.DataFrame, found: Things, which: Mask, first: Mask) -> list[Contested]:
    """Events of some things, in order."""
    marks: dict[int, list[tuple[int, int, int]]] = {}
    columns = (array[which].tolist() for array in (found.rows, found.alone, found.common, found.whole))
    for row, *three in zip(*columns, strict=True):
        marks.setdefault(row, []).append((three[0], three[1], three[2]))
    rows = list(marks)
    odd = np.zeros(len(rows), dtype=np.bool_)
    for name in set(_NEVER_OF_REPORTS) & set(frame.columns):
        column = frame[name][rows]
        odd |= (column.list.len() > 0 if name == "tags" else column != "").to_numpy()
    facts = zip(
        rows,
        frame["origin"][rows].is_in(REPORTS),
        frame["tagged"][rows],
        first[rows].tolist(),
        odd.tolist(),
        marks.values(),
        strict=True,
    )
    return [
        Contested(row, report, tags, initial, report and tags and not more and len(each) == 1, each)
        for row, report, tags, initial, more, each in facts
    ]


def decide(events: Iterable[Contested], known: set[int]) -> Decided:
    """Go through events in order.

    Args:
        events: of one partition and bucket.
        known: marks remembered, of those that matter; is added to.
    """
    done = Decided()
    for event in events:
        if event.report:
            fresh = _of_report(event, known, done)
        elif any(alone ^ BY_REPORT in known for alone, _, _ in event.things):
            done.recounted.append(event.row)
            fresh = []
        elif event.tagged:
            fresh = [mark for alone, _, whole in event.things for mark in (alone | 1, whole)]
        else:
            fresh = [mark for alone, common, _ in event.things for mark in (alone, common)]
        known.update(fresh)
        done.marks += fresh
    return done


def _of_report(event: Contested, known: set[int], done: Decided) -> list[int]:
    """Decide about a report; the marks it leaves."""
    alone, common, whole = event.things[0]
    if not event.plain or not event.first or alone ^ BY_REPORT in known:
        done.recounted.append(event.row)
        return []
    if whole in known:
        done.repeats_common.append(event.row)
        done.repeats_rest.append(event.row)
        return []
    if alone | 1 in known or (alone in known and common not in known):
        done.recounted.append(event.row)
        return []
    if alone in known:
        done.repeats_common.append(event.row)
    return [alone ^ BY_REPORT]
