"""The memory of seen events: a hash table of 8-byte keys in rows of sixteen.

A key is 63 bits of `event_id` and whether the event was tagged. Two different events share their 63 bits with
a probability of n²/2⁶⁴ among n: 1.4 in 10,000 for the *first* collision among 50 million, and a collision
would leave one event uncounted.

Ids are hashes, so a key's top bits choose its row evenly, and a look-up is one gather and one comparison. What a full
row has no room for spills into a sorted array. A table has room for 11 to 15 bytes a key.
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
WIDTH: Final = 16
"""Keys of a row."""
_FULL: Final = 11
"""Keys a row on the average when the table grows: one in a hundred has spilled then."""
_GROWN: Final = 8.2
"""Keys a row after a large table has grown."""
_RESTORED: Final = 10
"""Keys a row after a large table was restored: most of such tables are of hours that get few more."""
_SMALL: Final = 1 << 15
"""Keys of a table below which it grows by half a row's width, for few moves matter more than bytes."""
_CHUNK: Final = 1 << 12
"""Rows moved at once when a table grows: what a processor's cache holds, and little memory."""
_HIGH: Final = np.uint64(32)


def keys(prefixes: Keys, tagged: Mask) -> Keys:
    """The keys of events.

    The first 8 bytes of each `event_id` (little-endian), lowest bit replaced by `tagged`.
    """
    return (prefixes & ~TAGGED) | tagged


class Seen:
    """A set of keys."""

    __slots__ = ("_fill", "_rows", "_size", "_spill")

    def __init__(self) -> None:
        self._size = 0
        self._spill = np.empty(0, dtype=np.uint64)
        self._clear(2)

    def __len__(self) -> int:
        """Number of keys; one added twice may count twice."""
        return self._size

    @property
    def nbytes(self) -> int:
        """Bytes held at rest."""
        return self._rows.nbytes + self._fill.nbytes + self._spill.nbytes

    def add(self, fresh: Keys) -> None:
        """Remember keys, in any order; those known already take room once more."""
        if fresh.size:
            self._reserve(self._size + fresh.size)
            self._insert(np.sort(fresh))

    def restore(self, arrays: Iterable[Keys]) -> None:
        """Remember very many keys at once, each once however often it is among them."""
        parts = list(arrays)
        if not parts:
            return
        run = np.concatenate(parts)
        parts.clear()
        run.sort()
        if run.size:
            different = np.empty(run.size, dtype=np.bool_)
            different[0] = True
            np.not_equal(run[1:], run[:-1], out=different[1:])
            run = run[different]
        self._reserve(self._size + run.size, _RESTORED)
        step = _CHUNK * WIDTH
        for start in range(0, run.size, step):
            self._insert(run[start : start + step])

    def look(self, ids: Keys) -> tuple[Mask, Mask]:
        """Which of the (even) ids were seen untagged, and which tagged."""
        at = self._row(ids)
        marked = ids | TAGGED
        found = ((self._rows[at] | TAGGED) == marked[:, None]).any(axis=1)
        tagged = np.zeros(ids.size, dtype=np.bool_)
        untagged = np.zeros(ids.size, dtype=np.bool_)
        hits = np.flatnonzero(found)
        if hits.size:
            rows = self._rows[at[hits]]
            tagged[hits] = (rows == marked[hits, None]).any(axis=1)
            untagged[hits] = (rows == ids[hits, None]).any(axis=1)
        if self._spill.size:
            full = np.flatnonzero(self._fill[at] == WIDTH)
            if full.size:
                untagged[full] |= self._spilled(ids[full])
                tagged[full] |= self._spilled(marked[full])
        return untagged, tagged

    def _spilled(self, wanted: Keys) -> Mask:
        at = np.minimum(np.searchsorted(self._spill, wanted), self._spill.size - 1)
        found: Mask = self._spill[at] == wanted
        return found

    def _row(self, wanted: Keys) -> NDArray[np.int64]:
        rows: NDArray[np.int64] = (((wanted >> _HIGH) * np.uint64(len(self._fill))) >> _HIGH).astype(np.int64)
        return rows

    def _clear(self, rows: int) -> None:
        # What is free holds a key that belongs to another row, so it is never found: there are two rows at least.
        self._rows = np.zeros((rows, WIDTH), dtype=np.uint64)
        self._rows[0] = ~np.uint64(0)
        self._fill = np.zeros(rows, dtype=np.uint8)
        self._size = 0

    def _insert(self, run: Keys) -> None:
        """Add sorted keys; there is room."""
        rows = self._row(run)
        heads = np.empty(rows.size, dtype=np.bool_)
        heads[0] = True
        np.not_equal(rows[1:], rows[:-1], out=heads[1:])
        starts = np.flatnonzero(heads)
        lengths = np.diff(starts, append=rows.size)
        before = self._fill[rows[starts]]
        places = np.arange(rows.size) - np.repeat(starts - before, lengths)
        fits = places < WIDTH
        if fits.all():
            self._rows[rows, places] = run
        else:
            self._rows[rows[fits], places[fits]] = run[fits]
            spilled = run[~fits]
            self._spill = np.insert(self._spill, np.searchsorted(self._spill, spilled), spilled)
        self._fill[rows[starts]] = np.minimum(before + lengths, WIDTH)
        self._size += run.size

    def _reserve(self, size: int, filled: float = _GROWN) -> None:
        """Grow so that so many keys have room: so many a row, when they are many."""
        if size <= _FULL * len(self._fill):
            return
        old, fill, spill = self._rows, self._fill, self._spill
        self._clear(int(size / (filled if size > _SMALL else _GROWN / 2)) + 2)
        self._spill = np.empty(0, dtype=np.uint64)
        columns = np.arange(WIDTH)
        for start in range(0, len(fill), _CHUNK):
            end = start + _CHUNK
            kept = old[start:end][fill[start:end, None] > columns]
            if kept.size:
                self._insert(np.sort(kept))
        if spill.size:
            self._insert(spill)
