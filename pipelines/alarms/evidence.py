"""The e-detector: evidence, summed over the hours since which something may be wrong.

For every cohort hour `s` the likelihood ratio LR(s..t) of a `Mixture` is an e-value against "within the limit since
s": its expectation is at most 1. M(t), the sum of LR(s..t) over the hours s up to t, has an expectation of at most the
number of those hours, at any time that looking at it may choose; so the mean time until M reaches a threshold is at
least as many hours as the threshold says (J. Shin, A. Ramdas, A. Rinaldo, "E-detectors: a nonparametric framework for
sequential change detection", 2024; before it A. N. Shiryaev and S. W. Roberts). Leaving hours out only lowers M.

An hour in which nothing was counted shares the data of the next that has some: it adds to the weight of that one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pipelines.alarms.series import HOUR_S

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipelines.alarms.mixture import Mixture
    from pipelines.alarms.series import Series

NOTHING: Final = -math.inf


@dataclass(frozen=True, slots=True)
class Window:
    """Which hours count as starts."""

    since: int
    """The first of them, seconds; 0: the first that counted anything."""
    now: int
    """The last of them, seconds."""
    fast_h: int
    """How many of the last are the fast scale's."""
    slow_h: int
    """How many of the last there are at most."""


@dataclass(frozen=True, slots=True)
class Sum:
    """M, at one instant."""

    log: float
    """Its natural logarithm."""
    start: int = 0
    """Index of the hour since which the evidence is strongest."""
    fast: bool = False
    """More of it is of the fast scale than of the slow one."""


class Evidence:
    """Of a series against a mixture."""

    __slots__ = ("_logs", "_mixture", "_series")

    def __init__(self, series: Series, mixture: Mixture) -> None:
        self._series = series
        self._mixture = mixture
        hits = series.hits.astype(np.float64)[:, None]
        misses = (series.trials - series.hits).astype(np.float64)[:, None]
        self._logs = np.zeros((len(series) + 1, len(mixture.hit)))
        np.cumsum(hits * mixture.hit + misses * mixture.miss, axis=0, out=self._logs[1:])

    def at(self, end: int, window: Window) -> Sum:
        """M over the first `end` hours of the series, of the starts in the window."""
        hours = self._series.hours
        first = max(window.since or (int(hours[0]) if end else 0), window.now - (window.slow_h - 1) * HOUR_S)
        begin = int(hours.searchsorted(first))
        if begin >= end:
            return Sum(NOTHING)
        logs = self._logs[end] - self._logs[begin:end]
        top = float(logs.max())
        ratios = np.exp(logs - top)
        ends = hours[begin:end]
        slow = ratios @ self._mixture.slow
        slow_sum = float(_weights(ends, first) @ slow)
        recent = max(first, window.now - (window.fast_h - 1) * HOUR_S)
        tail = int(ends.searchsorted(recent))
        fast_sum = 0.0
        if tail < len(ends):
            fast_sum = float(_weights(ends[tail:], recent) @ (ratios[tail:] @ self._mixture.fast))
        total = slow_sum + fast_sum
        log = top + math.log(total) if total > 0.0 else NOTHING
        return Sum(log, begin + int(slow.argmax()), fast_sum > slow_sum)

    def ceiling(self, since: int) -> NDArray[np.float64]:
        """Per hour of the series, log of what M cannot exceed once that hour is counted, whatever the window.

        Of hours before `since` it is -inf.
        """
        hours = self._series.hours
        found = np.full(len(hours), NOTHING)
        begin = int(hours.searchsorted(since))
        if begin >= len(hours):
            return found
        weights = _weights(hours[begin:], since or int(hours[0]))
        logs = np.log(weights)[:, None] - self._logs[begin:-1]
        np.logaddexp.accumulate(logs, axis=0, out=logs)
        logs += self._logs[begin + 1 :]
        top = logs.max(axis=1)
        found[begin:] = top + np.log(np.exp(logs - top[:, None]) @ (self._mixture.slow + self._mixture.fast))
        return found


def _weights(hours: NDArray[np.int64], first: int) -> NDArray[np.float64]:
    """Of each hour the number of hours since the one before it; the earliest counts from `first` on."""
    return np.diff(hours, prepend=first - HOUR_S) / HOUR_S
