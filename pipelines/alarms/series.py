"""`Series`: what one key counted, hour by hour."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

HOUR_S: Final = 3600
HOUR_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class Series:
    """Cohort hours that have trials, earliest first; three arrays of equal length."""

    hours: NDArray[np.int64]
    """Begin of the cohort hour, seconds; strictly ascending."""
    hits: NDArray[np.int64]
    trials: NDArray[np.int64]
    """At least 1, and never less than the hits."""

    @classmethod
    def of(cls, counted: Mapping[int, tuple[int, int]]) -> Series:
        """From (hits, trials) by cohort hour (seconds), in any order.

        Hours without trials are left out; hits beyond the trials are trials too.
        """
        number = len(counted)
        hours = np.fromiter(counted, np.int64, number)
        pairs = np.fromiter(chain.from_iterable(counted.values()), np.int64, 2 * number).reshape(-1, 2)
        hits, trials = pairs[:, 0], pairs.max(axis=1)
        order = hours.argsort()
        order = order[trials[order] > 0]
        return cls(hours[order], hits[order], trials[order])

    def __len__(self) -> int:
        return len(self.hours)

    def before(self, time_ms: int) -> int:
        """How many of its hours begin before `time_ms`."""
        return int(self.hours.searchsorted(-(-time_ms // 1000)))

    def last_hit(self, end: int) -> int:
        """End (ms) of the latest of the first `end` hours that has a hit; 0: none has."""
        found = self.hits[:end].nonzero()[0]
        return (int(self.hours[found[-1]]) + HOUR_S) * 1000 if len(found) else 0
