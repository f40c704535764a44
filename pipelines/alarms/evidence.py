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
_SPAN: Final = 600.0
"""Logs this far apart still have exponentials, and sums of them, that are normal numbers."""


@dataclass(frozen=True, slots=True)
class Sum:
    """M, at one instant."""

    log: float
    """Its natural logarithm."""
    start: int = 0
    """Index of the hour since which the evidence is strongest."""


class Evidence:
    """Of a series against a mixture."""

    __slots__ = ("_logs", "_series", "_weights")

    def __init__(self, series: Series, mixture: Mixture) -> None:
        self._series = series
        self._weights = mixture.weights
        misses = series.trials - series.hits
        self._logs = np.zeros((len(series) + 1, len(mixture.hit)))
        np.cumsum(
            series.hits[:, None] * mixture.hit + misses[:, None] * mixture.miss, axis=0, out=self._logs[1:]
        )

    def at(self, end: int, first: int) -> Sum:
        """M over the first `end` hours of the series, of starts from cohort hour `first` (seconds) on."""
        begin = int(self._series.hours.searchsorted(first))
        if begin >= end:
            return Sum(NOTHING)
        logs = self._logs[end] - self._logs[begin:end]
        top = float(logs.max())
        logs -= top
        ratios = np.exp(logs, out=logs) @ self._weights
        total = float(_durations(self._series.hours[begin:end], first) @ ratios)
        return Sum(top + math.log(total), begin + int(ratios.argmax()))

    def reaching(self, log: float, first: int) -> NDArray[np.int64]:
        """Hours (seconds) with whose data M is at least exp(log), of all starts from `first` on.

        Of starts from a later hour on M is less, so at other hours it reaches `log` with none.
        """
        hours = self._series.hours
        begin = int(hours.searchsorted(first))
        if begin >= len(hours):
            return hours[:0]
        durations = _durations(hours[begin:], first)
        before, after = self._logs[begin:-1], self._logs[begin + 1 :]
        best = float((after - np.minimum.accumulate(before, axis=0)).max())
        if best + math.log(float(durations.sum())) < log:
            return hours[:0]  # all starts as good as the best are not enough: so it is with most keys
        top = _running_sums(np.log(durations)[:, None] - before) + after
        peak = top.max(axis=1)
        sums = peak + np.log(np.exp(top - peak[:, None]) @ self._weights)
        found: NDArray[np.int64] = hours[begin:][sums >= log]
        return found


def _running_sums(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logs of the sums of exponentials, down each column."""
    low, high = float(logs.min()), float(logs.max())
    if high - low > _SPAN:
        sums: NDArray[np.float64] = np.logaddexp.accumulate(logs, axis=0)
    else:
        sums = np.log(np.cumsum(np.exp(logs - high), axis=0)) + high
    return sums


def _durations(hours: NDArray[np.int64], first: int) -> NDArray[np.float64]:
    """Of each hour the number of hours since the one before it; the earliest counts from `first` on."""
    since = hours - HOUR_S
    since[1:], since[0] = hours[:-1], first - HOUR_S
    return (hours - since) / HOUR_S
