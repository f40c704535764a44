"""What a key counted, from the rate agent's memory, as the tests of its alarms want it; unpacked once."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import numpy as np

from pipelines.alarms.series import Series
from pipelines.alarms.signals import SHARES
from pipelines.counting import rate
from schemas.counters import COUNTERS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipelines.alarms.signals import Share
    from pipelines.counting.days import Days

MOST: Final = 4096
"""Keys remembered; 14 days of one take some 24 KiB."""
_USED: Final = tuple(
    dict.fromkeys(name for share in SHARES.values() for name in (share.hits, *share.trials, *share.without))
)
_FROM: Final = [COUNTERS.index(name) for name in _USED]
_COLUMN: Final = {name: 1 + at for at, name in enumerate(_USED)}
_HIT_BITS: Final = sum(1 << at for at in {COUNTERS.index(share.hits) for share in SHARES.values()})

Part = tuple[bytes, "NDArray[np.int64]"]
"""Packed state of a day, and what of it is used: rows of hour (in seconds), then the counters of `_USED`."""


class SeriesOf:
    """For one thread."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._known: OrderedDict[tuple[int, bytes], dict[int, Part]] = OrderedDict()

    def get(self, partition: int, days: Days, key: bytes, signal: str) -> Series:
        """The hits and trials of a signal of `SHARES`, of all hours there is state of.

        Raises:
            StateError: when the state is of a later release.
        """
        table = self._table(partition, days, key)
        share = SHARES[signal]
        hits = np.maximum(table[:, _COLUMN[share.hits]], 0)
        trials = np.maximum(_sum(table, share), hits)
        there = trials > 0
        return Series(table[there, 0], hits[there], trials[there])

    def _table(self, partition: int, days: Days, key: bytes) -> NDArray[np.int64]:
        place = (partition, key)
        known = self._known.pop(place, {})
        found: dict[int, Part] = {}
        for day in days.of(key):
            packed = days.get(key, day)
            if packed is None:
                continue
            part = known.get(day)
            found[day] = part if part is not None and part[0] is packed else (packed, _rows(packed, day))
        self._known[place] = found
        if len(self._known) > self._most:
            self._known.popitem(last=False)
        if not found:
            return np.empty((0, 1 + len(_USED)), dtype=np.int64)
        return np.concatenate([rows for _, rows in found.values()])


def had_hits(days: Days, key: bytes) -> bool:
    """Whether a key has any hits, of whatever signal."""
    for day in days.of(key):
        packed = days.get(key, day)
        if packed is None:
            continue
        masks = (cell[0] for cell in rate.unpack(packed, day).resting.values())
        if any(mask & _HIT_BITS for mask in masks):
            return True
    return False


def _sum(table: NDArray[np.int64], share: Share) -> NDArray[np.int64]:
    total = table[:, [_COLUMN[name] for name in share.trials]].sum(axis=1)
    if share.without:
        total = total - table[:, [_COLUMN[name] for name in share.without]].sum(axis=1)
    return np.asarray(total, dtype=np.int64)


def _rows(packed: bytes, day: int) -> NDArray[np.int64]:
    state = rate.unpack(packed, day)
    return np.array(_cells(state), dtype=np.int64).reshape(-1, 1 + len(_USED))


def _cells(state: rate.State) -> list[list[int]]:
    cells = []
    for hour in sorted(state.resting):
        counters = state.counters(hour)
        if counters is not None:
            cells.append([hour, *(counters[at] for at in _FROM)])
    return cells
