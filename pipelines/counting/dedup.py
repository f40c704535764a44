"""The memory of seen events: 8 bytes a key, in sorted arrays that are merged as they grow.

A key is 63 bits of `event_id` and whether the event was tagged. Two different events share their 63 bits with
a probability of n²/2⁶⁴ among n: 1.4 in 10,000 for the *first* collision among 50 million, and a collision
would leave one event uncounted.

Nothing is ever forgotten on purpose: a block's keys are added only once its deltas are on the broker, so
replaying a block finds the memory as it was when the block was first read, or finds all of the block's events
already counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterable

Keys = NDArray[np.uint64]
Mask = NDArray[np.bool_]

TAGGED: Final = np.uint64(1)
_RATIO: Final = 4
"""A level is merged into the one before unless that is this many times larger: few levels to search, and a
key is
moved some ten times on the way to 50 million."""
_INDEX_BITS_LESS: Final = 5
"""An index entry per 2⁵ keys on the average: 0.25 bytes a key."""
_INDEXED: Final = 1 << 17
"""Smaller levels fit the cache and are searched directly."""


def keys(prefixes: Keys, tagged: Mask) -> Keys:
    """The keys of events.

    The first 8 bytes of each `event_id` (little-endian), lowest bit replaced by `tagged`.
    """
    return (prefixes & ~TAGGED) | tagged.astype(np.uint64)


class Seen:
    """A set of keys."""

    __slots__ = ("_levels",)

    def __init__(self) -> None:
        self._levels: list[_Level] = []

    def __len__(self) -> int:
        """Number of keys, repeats included."""
        return sum(level.keys.size for level in self._levels)

    @property
    def nbytes(self) -> int:
        """Bytes held at rest."""
        return sum(level.nbytes for level in self._levels)

    def add(self, fresh: Keys) -> None:
        """Remember keys, in any order."""
        if not fresh.size:
            return
        run = np.sort(fresh)
        while self._levels and self._levels[-1].keys.size < _RATIO * run.size:
            # Two sorted runs: a stable sort merges them in one pass.
            run = np.sort(np.concatenate((self._levels.pop().keys, run)), kind="stable")
        self._levels.append(_Level(run))

    def restore(self, arrays: Iterable[Keys]) -> None:
        """Remember very many keys at once: one sort for all."""
        everything = [level.keys for level in self._levels]
        everything.extend(arrays)
        if everything:
            run = np.concatenate(everything)
            everything.clear()
            run.sort()
            self._levels = [_Level(run)] if run.size else []

    def look(self, ids: Keys) -> tuple[Mask, Mask]:
        """Which of the (even) ids were seen untagged, and which tagged."""
        order = np.argsort(ids)
        ordered = ids[order]
        untagged = np.zeros(ids.size, dtype=np.bool_)
        tagged = np.zeros(ids.size, dtype=np.bool_)
        for level in self._levels:
            level.look(ordered, untagged, tagged)
        back = np.empty_like(order)
        back[order] = np.arange(order.size)
        return untagged[back], tagged[back]


class _Level:
    """One sorted array; a large one with an index over its top bits, for the keys are spread evenly."""

    __slots__ = ("_shift", "_starts", "_steps", "keys")

    def __init__(self, run: Keys) -> None:
        self.keys = run
        self._starts: NDArray[np.uint32] | None = None
        if run.size >= _INDEXED:
            bits = max(int(run.size).bit_length() - _INDEX_BITS_LESS, 1)
            self._shift = np.uint64(64 - bits)
            edges = np.arange(1 << bits, dtype=np.uint64) << self._shift
            starts = np.empty((1 << bits) + 1, dtype=np.uint32)
            starts[:-1] = np.searchsorted(run, edges)
            starts[-1] = run.size
            self._steps = int(np.diff(starts).max()).bit_length()
            self._starts = starts

    @property
    def nbytes(self) -> int:
        return self.keys.nbytes + (0 if self._starts is None else self._starts.nbytes)

    def look(self, ids: Keys, untagged: Mask, tagged: Mask) -> None:
        run = self.keys
        at = self._find(ids)
        last = run.size - 1
        here = run[np.minimum(at, last)]
        plain = here == ids
        untagged |= plain
        # A twin lies right behind, but repeats of the plain key may lie between.
        marked = ids | TAGGED
        tagged |= here == marked
        if plain.any():
            rows = np.flatnonzero(plain)
            behind = self._find(marked[rows])
            tagged[rows] |= run[np.minimum(behind, last)] == marked[rows]

    def _find(self, ids: Keys) -> NDArray[np.int64]:
        """The first position not less than each (ascending) id.

        A bisection of all ids at once, each inside its index entry.
        """
        starts = self._starts
        if starts is None:
            found: NDArray[np.int64] = np.searchsorted(self.keys, ids)
            return found
        bucket = ids >> self._shift
        low: NDArray[np.int64] = starts[bucket].astype(np.int64)
        high = starts[bucket + np.uint64(1)].astype(np.int64)
        last = self.keys.size - 1
        for _ in range(self._steps):
            middle = (low + high) >> 1
            less = (self.keys[np.minimum(middle, last)] < ids) & (low < high)
            low = np.where(less, middle + 1, low)
            high = np.where(less, high, middle)
        return low
