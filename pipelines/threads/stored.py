"""`Stored`: very many messages sent, by columns, as ClickHouse has them; `Filling` makes an index of them.

That is what a worker begins with whose broker forgets, so nothing here is done row by row but hashing names.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import numpy as np

from pipelines.threads import names
from pipelines.threads.facts import header_node
from pipelines.threads.index import DAY_HOURS, Bucket
from pipelines.threads.join import HOUR_MS
from pipelines.threads.rows import MOST_RECIPIENTS, PROFILE, Profile, Rows
from pipelines.threads.slots import mixed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from pipelines.threads.index import Index, Place
    from pipelines.threads.join import Threads

DAY_MS: Final = DAY_HOURS * HOUR_MS
_TENANT: Final = PROFILE.index("tenant")
_NO_HEADER: Final = bytes(names.NODE_BYTES)
_NO_SUBJECT: Final = np.frombuffer(names.subject_of(""), dtype=np.uint64)[0]


@dataclass(frozen=True, slots=True)
class Stored:
    """Messages sent, in aligned columns; one may be here more than once."""

    ids: NDArray[np.uint8]
    """(n, 27): the bytes of SES's ids of the usual form, zero of others."""
    others: dict[int, str]
    """SES's ids of another form, by row."""
    stored: NDArray[np.int64]
    """When ClickHouse got them: days since the epoch."""
    times: NDArray[np.int64]
    """When they were sent: ms."""
    profiles: NDArray[np.uint32]
    """Numbers in `known`."""
    known: list[Profile]
    subjects: NDArray[np.int64]
    """Numbers in `texts`."""
    texts: list[bytes]
    """Base subjects, UTF-8."""
    headers: list[bytes]
    """Message-IDs that callers gave, UTF-8; empty: none."""
    counts: NDArray[np.int64]
    """Recipients of each."""
    marks: NDArray[np.int32]
    """Marks of all recipients, row by row."""

    def __len__(self) -> int:
        """Number of rows."""
        return int(self.times.size)


class Filling:
    """The indexes of several partitions while they are filled; nothing is found in them before `done`.

    A message is in the bucket of the day in which ClickHouse got it, or of that in which it was sent if that is later:
    for as long after that as it would be had the worker run on.
    """

    def __init__(
        self, states: Callable[[int], Threads], partition_of: Callable[[str], int], clock: int
    ) -> None:
        """Begin.

        Args:
            states: of a partition, with nothing in them.
            partition_of: a tenant's.
            clock: the hour it is.
        """
        self._states = states
        self._partition_of = partition_of
        self._clock = clock
        self._filled: dict[int, Threads] = {}

    def add(self, stored: Stored) -> None:
        """Take some more."""
        if not len(stored):
            return
        partitions = np.array([self._partition_of(each[_TENANT]) for each in stored.known], dtype=np.int64)
        placed = partitions[stored.profiles]
        for partition in np.unique(placed).tolist():
            state = self._filled.setdefault(partition, self._states(partition))
            mine = placed == partition
            state.advance(int(stored.times[mine].max()), self._clock)
            headers = _header_nodes(state, stored, mine)
            today = self._clock // DAY_HOURS
            days = np.minimum(np.maximum(stored.stored, stored.times // DAY_MS), today)
            rows = _rows(stored, headers)
            for day in np.unique(days[mine]).tolist():
                for headed in (False, True):
                    chosen = mine & (days == day) & ((headers != 0).any(axis=1) == headed)
                    if chosen.any():
                        _hold(state.index, (day, headed), stored, rows, chosen)

    def done(self) -> None:
        """All are here: each once, and to be found."""
        for state in self._filled.values():
            index = state.index
            _drop_copies(index)
            for bucket in index.buckets.values():
                bucket.seal()


def _hold(index: Index, place: Place, stored: Stored, rows: Rows, chosen: NDArray[np.bool_]) -> None:
    if place not in index.buckets:
        index.buckets[place] = Bucket(headed=place[1])
    bucket = index.buckets[place]
    bucket.hold(rows.take(chosen).headed(kept=place[1]))
    for at, text in stored.others.items():
        if chosen[at]:
            bucket.texts[names.pack(text)] = text


def _rows(stored: Stored, headers: NDArray[np.uint64]) -> Rows:
    """As the index keeps them, but for ids that do not pack."""
    packed = np.zeros((len(stored), names.PACKED_BYTES), dtype=np.uint8)
    packed[:, 1:] = stored.ids
    for at, text in stored.others.items():
        packed[at] = np.frombuffer(names.pack(text), dtype=np.uint8)
    hashed = np.frombuffer(b"".join(map(names.subject_of_bytes, stored.texts)), dtype=np.uint64)
    counts, marks = stored.counts, stored.marks
    if counts.size and int(counts.max()) > MOST_RECIPIENTS:
        starts = np.cumsum(counts) - counts
        within = np.arange(marks.size) - np.repeat(starts, counts)
        marks, counts = marks[within < MOST_RECIPIENTS], np.minimum(counts, MOST_RECIPIENTS)
    return Rows(
        packed.view(np.uint32),
        hashed[stored.subjects],
        stored.times,
        stored.profiles,
        stored.known,
        headers,
        {},
        counts.astype(np.uint8),
        marks.view(np.uint32),
    )


def _header_nodes(state: Threads, stored: Stored, mine: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """(n, 2): nodes of callers' Message-IDs; zero where there is none, or it is not wanted."""
    before = [names.scoped(state.scope(each[_TENANT])) + b"id:" for each in stored.known]
    found = np.zeros((len(stored), 2), dtype=np.uint64)
    given = np.fromiter(map(bool, stored.headers), np.bool_, len(stored)) & mine
    rows = np.flatnonzero(given).tolist()
    if rows:
        headers = [stored.headers[at] for at in rows]
        numbers = stored.profiles[given].tolist()
        nodes = [
            blake2b(before[number] + header, digest_size=names.NODE_BYTES).digest()
            for number, header in zip(numbers, headers, strict=True)
        ]
        for at, header in enumerate(headers):
            if names.may_be_ours(header):
                text = header.decode(errors="surrogateescape")
                scope = state.scope(stored.known[numbers[at]][_TENANT])
                nodes[at] = header_node(scope, _id(stored, rows[at]), text) or _NO_HEADER
        found[given] = np.frombuffer(b"".join(nodes), dtype=np.uint64).reshape(-1, 2)
    return found


def _id(stored: Stored, at: int) -> str:
    other = stored.others.get(at)
    return names.unpack(b"\0" + stored.ids[at].tobytes()) if other is None else other


def _drop_copies(index: Index) -> None:
    """Of several rows of one message let that stay which says most, and was stored last."""
    hashes = np.concatenate([mixed(bucket.ids) for bucket in index.buckets.values()])
    hashes.sort()
    several = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
    if several.size:
        for place, gone in _copies(index, several):
            kept = np.ones(len(index.buckets[place]), dtype=np.bool_)
            kept[gone] = False
            old = index.buckets[place]
            index.buckets[place] = Bucket(headed=place[1])
            index.buckets[place].hold(old.rows(0, len(old)).take(kept))


def _copies(index: Index, hashes: NDArray[np.uint64]) -> Iterator[tuple[Place, NDArray[np.int64]]]:
    """Rows to be dropped, by bucket; `hashes`: sorted, of the ids that several rows have."""
    places = list(index.buckets)
    found: list[NDArray[np.uint64]] = []
    for number, place in enumerate(places):
        bucket = index.buckets[place]
        own = mixed(bucket.ids)
        at = np.minimum(np.searchsorted(hashes, own), hashes.size - 1)
        rows = np.flatnonzero(hashes[at] == own)
        says = (bucket.rows(0, len(bucket)).subjects[rows] != _NO_SUBJECT).astype(np.uint64)
        day = np.full(rows.size, place[0], dtype=np.uint64)
        rank = (
            (np.full(rows.size, place[1], dtype=np.uint64) << np.uint64(33)) | (says << np.uint64(32)) | day
        )
        found.append(
            np.stack([own[rows], rank, np.full(rows.size, number, np.uint64), rows.astype(np.uint64)])
        )
    own, rank, numbers, rows = np.concatenate(found, axis=1)
    order = np.lexsort((~rank, own))
    ids = np.empty((order.size, 7), dtype=np.uint32)
    for number, place in enumerate(places):
        here = numbers == number
        ids[here] = index.buckets[place].ids[rows[here].astype(np.int64)]
    same = (ids[order][1:] == ids[order][:-1]).all(axis=1)
    gone = order[1:][same]
    for number, place in enumerate(places):
        chosen = gone[numbers[gone] == number]
        if chosen.size:
            yield place, rows[chosen].astype(np.int64)
