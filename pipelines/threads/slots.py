"""`Slots`: numbers of rows by a hash of what is in them; open addressing with linear probing, in numpy.

The rows themselves are the caller's: a look-up proposes rows, and the caller says which are those that were meant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable

Hashes = NDArray[np.uint64]
Numbers = NDArray[np.int64]

_FREE: Final = np.uint32(0xFFFF_FFFF)
_LEAST: Final = 64
_GROWTH: Final = 1.35
_ROOM: Final = 1.2
"""Of what is filled at once: without any, a look-up of what is not there passes by very many slots."""
_HIGH: Final = np.uint64(32)
_MIX: Final = np.uint64(0x9E37_79B9_7F4A_7C15)


def mixed(words: NDArray[np.uint32]) -> Hashes:
    """Hashes of rows of words (n, width); every word counts, for ids may be alike in any part of them."""
    hashes = np.zeros(len(words), dtype=np.uint64)
    for column in words.T:
        hashes = (hashes ^ column) * _MIX
        hashes ^= hashes >> _HIGH
    return hashes


class Slots:
    """Rows by hash; several rows may have one hash.

    With `probes`, a row that finds no free slot in so many is not remembered: where very many rows are alike (a caller
    that gives all its mail one Message-ID), each would be looked at for each.
    """

    __slots__ = ("_load", "_probes", "_size", "_slots")

    def __init__(self, load: float, probes: int | None = None) -> None:
        self._load = load
        self._probes = probes
        self._size = 0
        self._slots = np.full(_LEAST, _FREE, dtype=np.uint32)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._slots.nbytes

    def add(self, hashes: Hashes, rows: Numbers, hash_of: Callable[[Numbers], Hashes]) -> None:
        """Remember rows; `hash_of` tells the hashes of those known, for when room has to be made."""
        if self._size + rows.size > self._load * self._slots.size:
            kept = np.concatenate((self._known(), rows))
            self._slots = np.full(
                max(_LEAST, int((self._size + rows.size) * _GROWTH / self._load)), _FREE, dtype=np.uint32
            )
            self._size = 0
            hashes, rows = np.concatenate((hash_of(kept[: kept.size - rows.size]), hashes)), kept
        self._place(hashes, rows)

    def fill(self, hashes: Hashes) -> None:
        """Remember the rows 0, 1, … of as many hashes, and no others: `add` of all at once, without its many passes.

        In the order of their homes each row's place is the one after that of the row before it, or its home if that
        is later.
        """
        keys = self._spread(hashes)
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        if self._probes is not None:
            # More that are alike find no slot: see `add`.
            alike = _ranks(keys) < self._probes
            keys, order = keys[alike], order[alike]
        self._slots = np.full(max(_LEAST, int(keys.size * _ROOM / self._load) + 1), _FREE, dtype=np.uint32)
        self._size = 0
        homes = self._at(keys)
        numbers = np.arange(homes.size)
        at = np.maximum.accumulate(homes - numbers) + numbers
        if self._probes is not None and bool((at - homes >= self._probes).any()):
            self._place(hashes[order], order)
            return
        inside = at < self._slots.size
        self._slots[at[inside]] = order[inside].astype(np.uint32)
        self._size = int(inside.sum())
        # Those past the end go on at the start.
        self._place(hashes[order[~inside]], order[~inside])

    def find(
        self, hashes: Hashes, same: Callable[[Numbers, Numbers], NDArray[np.bool_]], *, every: bool
    ) -> tuple[Numbers, Numbers]:
        """Rows by hash: aligned numbers of hashes and of rows.

        Args:
            hashes: to look up.
            same: whether (numbers of hashes, numbers of rows) are a match.
            every: go on after a match: several rows may be meant.
        """
        asked = np.arange(hashes.size)
        at = self._home(hashes)
        found: list[tuple[Numbers, Numbers]] = []
        while asked.size:
            rows = self._slots[at]
            taken = rows != _FREE
            if not taken.all():
                asked, at, rows = asked[taken], at[taken], rows[taken]
                if not asked.size:
                    break
            numbers = rows.astype(np.int64)
            hit = same(asked, numbers)
            if hit.any():
                found.append((asked[hit], numbers[hit]))
                if not every:
                    asked, at = asked[~hit], at[~hit]
            at = self._next(at)
        if not found:
            nothing = np.empty(0, dtype=np.int64)
            return nothing, nothing
        return np.concatenate([each[0] for each in found]), np.concatenate([each[1] for each in found])

    def _known(self) -> Numbers:
        rows: Numbers = self._slots[self._slots != _FREE].astype(np.int64)
        return rows

    def _spread(self, hashes: Hashes) -> Hashes:
        spread: Hashes = (hashes * _MIX) >> _HIGH
        return spread

    def _home(self, hashes: Hashes) -> Numbers:
        return self._at(self._spread(hashes))

    def _at(self, spread: Hashes) -> Numbers:
        homes: Numbers = ((spread * np.uint64(self._slots.size)) >> _HIGH).astype(np.int64)
        return homes

    def _next(self, at: Numbers) -> Numbers:
        after: Numbers = np.where(at + 1 == self._slots.size, 0, at + 1)
        return after

    def _place(self, hashes: Hashes, rows: Numbers) -> None:
        numbers, at, probes = rows.astype(np.uint32), self._home(hashes), 0
        while numbers.size and (self._probes is None or probes < self._probes):
            free = self._slots[at] == _FREE
            # Of several that want one slot the last gets it.
            self._slots[at[free]] = numbers[free]
            left = self._slots[at] != numbers
            self._size += numbers.size - int(left.sum())
            numbers, at = numbers[left], self._next(at[left])
            probes += 1


def _ranks(keys: Hashes) -> Numbers:
    """Of sorted keys: which each is of those that are equal, from 0."""
    numbers = np.arange(keys.size)
    first = np.ones(keys.size, dtype=np.bool_)
    first[1:] = keys[1:] != keys[:-1]
    ranks: Numbers = numbers - np.maximum.accumulate(np.where(first, numbers, 0))
    return ranks
