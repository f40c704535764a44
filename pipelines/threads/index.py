"""`Index`: every message sent in the last weeks, some 60 bytes each, by SES's id and by the caller's Message-ID.

Buckets are of the days in which messages were heard of (event time, see `Threads.hour`), so that an archive replayed
later stays as long as anything else. A bucket's rows are in many small changelog records, merged by tiers like the ids
of events (`pipelines.counting.remembered`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from pipelines.threads import names
from pipelines.threads.rows import Profile, Rows, Sent
from pipelines.threads.slots import Numbers, Slots, mixed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

DAY_HOURS: Final = 24
FULL_ROWS: Final = 8192
"""A record of so many rows (half a megabyte at the most) is not merged again."""
FAN_IN: Final = 32
"""Records of a tier that make one of the next."""
ALIKE: Final = 128
"""Slots looked at for a caller's Message-ID: one that more messages share names none of the others."""
_SES_LOAD: Final = 0.8
_HEADER_LOAD: Final = 0.5
"""Low: of ids that are not shared no more than half as many slots as `ALIKE` are in a row."""
_GROWTH: Final = 1.2
Number = TypeVar("Number", bound=np.generic)
Place = tuple[int, bool]
"""Of a bucket: day, and whether its messages have Message-IDs of their callers'."""


@dataclass(frozen=True, slots=True)
class Merge:
    """Records of a bucket that are to become one."""

    place: Place
    tier: int
    """Of the record to be."""
    rows: Rows
    replaced: list[bytes]
    start: int
    stop: int


@dataclass(slots=True)
class _Small:
    name: bytes
    start: int
    stop: int


class Bucket:
    """Rows of a day."""

    __slots__ = (
        "_count",
        "_ends",
        "_headers",
        "_marks",
        "_named",
        "_numbers",
        "_ses",
        "_slots",
        "_subjects",
        "_times",
        "known",
        "names",
        "profiled",
        "small",
        "texts",
    )

    def __init__(self, *, headed: bool) -> None:
        self._count = 0
        self._ses = np.empty((0, 7), dtype=np.uint32)
        self._subjects = np.empty(0, dtype=np.uint64)
        self._times = np.empty(0, dtype=np.int64)
        self._numbers = np.empty(0, dtype=np.uint32)
        self._headers = np.empty((0, 2), dtype=np.uint64) if headed else None
        self._marks = np.empty(0, dtype=np.uint32)
        """Of recipients of all rows, each row's up to its `_ends`."""
        self._ends = np.empty(0, dtype=np.uint32)
        self._slots = Slots(_SES_LOAD)
        self._named = Slots(_HEADER_LOAD, ALIKE)
        self.known: list[Profile] = []
        self.profiled: dict[Profile, int] = {}
        self.texts: dict[bytes, str] = {}
        self.names: dict[bytes, None] = {}
        """Of all records that hold its rows."""
        self.small: dict[int, list[_Small]] = {}
        """Tier → records that are to be merged."""

    def __len__(self) -> int:
        return self._count

    @property
    def ids(self) -> NDArray[np.uint32]:
        """(n, 7): the packed ids of its rows."""
        return self._ses[: self._count]

    @property
    def nbytes(self) -> int:
        """Bytes held by its columns and tables."""
        columns = (
            *(self._ses, self._subjects, self._times, self._numbers),
            *(self._headers, self._marks, self._ends),
        )
        return (
            sum(each.nbytes for each in columns if each is not None) + self._slots.nbytes + self._named.nbytes
        )

    def find(self, wanted: NDArray[np.uint32]) -> tuple[Numbers, Numbers]:
        """Of packed ids (n, 7): aligned numbers of those that are here, and of their rows."""
        return self._slots.find(
            mixed(wanted), lambda asked, rows: (self._ses[rows] == wanted[asked]).all(axis=1), every=False
        )

    def find_headers(self, wanted: NDArray[np.uint64]) -> tuple[Numbers, Numbers]:
        """Of nodes (n, 2): aligned numbers of those that are here, and of all their rows."""
        headers = self._headers
        if headers is None:
            nothing = np.empty(0, dtype=np.int64)
            return nothing, nothing
        return self._named.find(
            wanted[:, 0], lambda asked, rows: (headers[rows] == wanted[asked]).all(axis=1), every=True
        )

    def append(self, rows: Rows) -> tuple[int, int]:
        """Add rows that are not here; from which row to which they are."""
        start, stop = self.hold(rows)
        added = np.arange(start, stop)
        self._slots.add(mixed(rows.ses), added, lambda at: mixed(self._ses[at]))
        headers = self._headers
        if headers is not None and rows.headers is not None:
            self._named.add(rows.headers[:, 0], added, lambda at: headers[at, 0])
        return start, stop

    def hold(self, rows: Rows) -> tuple[int, int]:
        """As `append`, but they are not found before `seal`, which must come before anything else."""
        start, stop = self._count, self._count + len(rows)
        self._reserve(stop)
        self._ses[start:stop] = rows.ses
        self._subjects[start:stop] = rows.subjects
        self._times[start:stop] = rows.times
        translated = np.array([self._number(each) for each in rows.known], dtype=np.uint32)
        self._numbers[start:stop] = translated[rows.profiles] if len(rows) else 0
        self._add_recipients(start, stop, rows)
        self.texts |= rows.texts
        self._count = stop
        if self._headers is not None and rows.headers is not None:
            self._headers[start:stop] = rows.headers
        return start, stop

    def seal(self) -> None:
        """Let all rows be found, and give back room that is not needed for them."""
        self.tighten()
        self._slots.fill(mixed(self._ses))
        if self._headers is not None:
            self._named.fill(self._headers[:, 0])

    def _add_recipients(self, start: int, stop: int, rows: Rows) -> None:
        first = self._end(start)
        last = first + rows.marks.size
        if last > self._marks.size:
            self._marks = _moved(self._marks, first, int(last * _GROWTH) + 16)
        self._marks[first:last] = rows.marks
        self._ends[start:stop] = first + np.cumsum(rows.counts, dtype=np.int64)

    def _end(self, row: int) -> int:
        """Where the recipients of the rows before one end."""
        return int(self._ends[row - 1]) if row else 0

    def rows(self, start: int, stop: int) -> Rows:
        """Some of its rows."""
        cut = slice(start, stop)
        first = self._end(start)
        return Rows(
            self._ses[cut],
            self._subjects[cut],
            self._times[cut],
            self._numbers[cut],
            self.known,
            None if self._headers is None else self._headers[cut],
            self.texts,
            np.diff(self._ends[cut], prepend=first).astype(np.uint8),
            self._marks[first : self._end(stop)],
        )

    def sent(self, row: int) -> Sent:
        """A row."""
        packed = self._ses[row].tobytes()
        return Sent(
            packed,
            names.unpack(packed) if names.is_whole(packed) else self.texts[packed],
            int(self._times[row]),
            self._subjects[row].tobytes(),
            b"" if self._headers is None else self._headers[row].tobytes(),
            self.known[int(self._numbers[row])],
            tuple(self._marks[self._end(row) : self._end(row + 1)].tolist()),
        )

    def note(self, name: bytes, tier: int, start: int, stop: int) -> None:
        """A record of that name holds those rows."""
        self.names[name] = None
        if stop - start < FULL_ROWS:
            self.small.setdefault(tier, []).append(_Small(name, start, stop))

    def tighten(self) -> None:
        """Give back room of columns: few rows will follow."""
        if self._times.size > self._count:
            self._resize(self._count)
            self._marks = self._marks[: self._end(self._count)].copy()

    def _number(self, profile: Profile) -> int:
        number = self.profiled.get(profile)
        if number is None:
            number = self.profiled[profile] = len(self.known)
            self.known.append(profile)
        return number

    def _reserve(self, size: int) -> None:
        if size > self._times.size:
            self._resize(int(size * _GROWTH) + 16)

    def _resize(self, size: int) -> None:
        count = self._count
        self._ses, self._subjects = _moved(self._ses, count, size), _moved(self._subjects, count, size)
        self._times, self._numbers = _moved(self._times, count, size), _moved(self._numbers, count, size)
        self._ends = _moved(self._ends, count, size)
        if self._headers is not None:
            self._headers = _moved(self._headers, count, size)


@dataclass(slots=True)
class Index:
    """All buckets of a partition."""

    buckets: dict[Place, Bucket] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of messages."""
        return sum(map(len, self.buckets.values()))

    @property
    def nbytes(self) -> int:
        """Bytes held by columns and tables."""
        return sum(bucket.nbytes for bucket in self.buckets.values())

    def find(self, packed: Sequence[bytes]) -> dict[bytes, Sent]:
        """Those of the packed ids that are here."""
        found: dict[bytes, Sent] = {}
        wanted = _matrix(packed)
        for bucket in self.buckets.values():
            for asked, row in zip(*bucket.find(wanted), strict=True):
                found.setdefault(packed[asked], bucket.sent(int(row)))
        return found

    def find_headers(self, nodes: Sequence[bytes]) -> Iterator[tuple[bytes, Sent]]:
        """All messages that have one of the nodes of callers' Message-IDs."""
        wanted = np.frombuffer(b"".join(nodes), dtype=np.uint64).reshape(-1, 2)
        for bucket in self.buckets.values():
            for asked, row in zip(*bucket.find_headers(wanted), strict=True):
                yield nodes[asked], bucket.sent(int(row))

    def known(self, rows: Rows, since: int) -> NDArray[np.bool_]:
        """Which rows are here already, in buckets of that day or later."""
        found = np.zeros(len(rows), dtype=np.bool_)
        for (day, _), bucket in self.buckets.items():
            if day >= since:
                found[bucket.find(rows.ses)[0]] = True
        return found

    def add(self, day: int, rows: Rows) -> tuple[Place, int, int]:
        """Add rows that are not here to the bucket of a day: where they are."""
        place = (day, rows.headers is not None)
        if place not in self.buckets:
            for bucket in self.buckets.values():
                bucket.tighten()
            self.buckets[place] = Bucket(headed=place[1])
        return (place, *self.buckets[place].append(rows))

    def restore(self, place: Place, name: bytes, tier: int, rows: Rows) -> None:
        """Take a record of the changelog; rows that are in another as well are here once."""
        bucket = self.buckets.setdefault(place, Bucket(headed=place[1]))
        if name in bucket.names:
            return
        known = np.zeros(len(rows), dtype=np.bool_)
        known[bucket.find(rows.ses)[0]] = True
        start, stop = bucket.append(rows.take(~known) if known.any() else rows)
        if not known.any():
            bucket.note(name, tier, start, stop)
        else:
            # Its rows are not in one place, so it is left as it is.
            bucket.names[name] = None

    def forget(self, place: Place, name: bytes) -> None:
        """Take a tombstone of the changelog: a bucket without records is gone."""
        bucket = self.buckets.get(place)
        if bucket is None:
            return
        bucket.names.pop(name, None)
        bucket.small = {
            tier: [each for each in part if each.name != name] for tier, part in bucket.small.items()
        }
        if not bucket.names:
            del self.buckets[place]

    def merges(self, place: Place) -> Iterator[Merge]:
        """Records of a bucket that are to be merged, tier by tier; `merged` tells that it was done."""
        bucket = self.buckets[place]
        tier = 0
        while tier in bucket.small:
            part = bucket.small[tier]
            if len(part) >= FAN_IN or sum(each.stop - each.start for each in part) >= FULL_ROWS:
                for group in _adjacent(part):
                    start, stop = group[0].start, group[-1].stop
                    replaced = [each.name for each in group]
                    yield Merge(place, tier + 1, bucket.rows(start, stop), replaced, start, stop)
            tier += 1

    def merged(self, merge: Merge, name: bytes) -> None:
        """A merge is safe under that name."""
        bucket = self.buckets[merge.place]
        gone = set(merge.replaced)
        for each in merge.replaced:
            bucket.names.pop(each, None)
        bucket.small[merge.tier - 1] = [
            each for each in bucket.small[merge.tier - 1] if each.name not in gone
        ]
        bucket.note(name, merge.tier, merge.start, merge.stop)

    def expire(self, before: int) -> Iterable[tuple[Place, bytes]]:
        """Drop the buckets of days before one: their records, to be deleted."""
        for place in [place for place in self.buckets if place[0] < before]:
            for name in self.buckets.pop(place).names:
                yield place, name


def _moved(column: NDArray[Number], count: int, size: int) -> NDArray[Number]:
    """A column with other room, and what it held."""
    new = np.empty((size, *column.shape[1:]), dtype=column.dtype)
    new[:count] = column[:count]
    return new


def _adjacent(part: list[_Small]) -> Iterator[list[_Small]]:
    """Records in groups whose rows are in one place and make full ones; the last may be smaller."""
    group: list[_Small] = []
    for each in part:
        apart = bool(group) and group[-1].stop != each.start
        if group and (apart or each.stop - group[0].start > FULL_ROWS):
            yield group
            group = []
        group.append(each)
    if group:
        yield group


def _matrix(packed: Sequence[bytes]) -> NDArray[np.uint32]:
    return np.frombuffer(b"".join(packed), dtype=np.uint32).reshape(-1, 7)
