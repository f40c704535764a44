"""`Detector`: the sequential test of a rule that is about a share of counters, for one alarm key."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pipelines.alarms.evidence import NOTHING, Evidence, Sum, Window
from pipelines.alarms.mixture import above, below
from pipelines.alarms.reading import Reading
from pipelines.alarms.series import HOUR_MS, HOUR_S, Series
from pipelines.counting.bounds import clopper_pearson
from schemas.alarms import SEVERITIES

if TYPE_CHECKING:
    from pipelines.alarms.machine import Machine
    from pipelines.alarms.rules import Rule
    from schemas.alarms import Severity

RECOVERY_ODDS: Final = 20.0
"""Of the time that a rate stays at its limit or above, at most one part in so many is told to be a recovery: between
two recoveries that are none there are, in the mean, so many times `hold_hours`."""
DRIFT_H: Final = 24
"""A baseline is what is older; a drift is looked for in what is not."""
DRIFT_FLOOR: Final = 0.1
"""A baseline is at least this part of the rule's limit: below it a drift is of no interest."""
_MOST: Final = 700.0
"""exp() of more is no number."""


def limits(rule: Rule) -> list[tuple[Severity, float]]:
    """The limits that a rule has, least severity first."""
    found = ((severity, getattr(rule, severity)) for severity in SEVERITIES)
    return [(severity, limit) for severity, limit in found if limit is not None]


@lru_cache(maxsize=1024)
def least_hits(rule: Rule) -> int:
    """With fewer hits than this in all its hours no key can prove anything, whatever its trials."""
    drifts = rule.signal == "baseline_drift"
    limit = min(limit for _, limit in limits(rule)) * (DRIFT_FLOOR if drifts else 1.0)
    mixture = above(limit)
    with np.errstate(divide="ignore"):
        weights = np.log(mixture.slow + mixture.fast)
    starts = math.log(max(rule.slow_hours, 1))
    hits = 1
    while float(np.logaddexp.reduce(weights + hits * mixture.hit)) + starts < math.log(rule.threshold):
        hits += 1
    return hits


class Detector:
    """Of the hours a key has; all of the last `rule.slow_hours` have to be among them.

    What it says of an instant rests on the cohort hours that begin before it. It is cheap to ask again.
    """

    __slots__ = ("_above", "_ceilings", "_late_s", "_limits", "_log_threshold", "_rule", "_series")

    def __init__(self, rule: Rule, series: Series, late_h: int) -> None:
        """`late_h`: hours within which most hits of a cohort have come."""
        self._rule = rule
        self._series = series
        self._late_s = max(late_h, 1) * HOUR_S
        self._limits = limits(rule)
        self._log_threshold = math.log(rule.threshold)
        self._above: dict[float, Evidence] = {}
        self._ceilings: dict[int, list[int]] = {}

    def could_prove(self, since: int) -> bool:
        """Whether there may be an instant at which evidence from `since` (`Machine.since`) on proves anything."""
        return bool(self._candidates(since))

    def next_candidate(self, since: int, after_ms: int) -> int | None:
        """The first hour boundary (ms) after `after_ms` at which evidence from `since` on may prove anything.

        Between boundaries it may be proven in the hour before such a one alone. None: there is none to come, on the
        hours that the series has.
        """
        for hour in self._candidates(since):
            if (boundary := hour * 1000 + HOUR_MS) > after_ms:
                return boundary
        return None

    def reading(self, machine: Machine, time_ms: int) -> Reading:
        """What is known at `time_ms`, event time, of a key whose alarm is as `machine` says."""
        end = self._series.before(time_ms)
        now = (-(-time_ms // HOUR_MS) - 1) * HOUR_S
        tested = self._tested(now)
        if not end or not tested:
            return Reading(time_ms)
        sums = [self._sum(limit, end, self._window(machine.since, now)) for _, limit in tested]
        proven = 0
        while proven < len(sums) and sums[proven].log >= self._log_threshold:
            proven += 1
        told = max(proven - 1, 0)
        least = tested[0][1]
        relapsed = machine.state == "recovering" and self._relapsed(machine, least, end, now)
        clean = self._clean_since(machine, least, now) if machine.state == "firing" else None
        return Reading(
            time_ms,
            proven=tested[told][0] if proven else None,
            relapsed=relapsed,
            clean_since=clean,
            last_hit=self._series.last_hit(end),
            rate=self._rate(sums[told], end),
            limit=tested[told][1],
            e_value=math.exp(min(sums[told].log, _MOST)),
            facts=self._facts(sums[told], end),
        )

    def _tested(self, now: int) -> list[tuple[Severity, float]]:
        """The limits that the rule's severities have at `now`; that of a drift moves."""
        if self._rule.signal != "baseline_drift":
            return self._limits
        return [
            (severity, base) for severity, limit in self._limits if (base := self._baseline(limit, now)) < 1
        ]

    def _baseline(self, limit: float, now: int) -> float:
        """The upper limit of the rate of what is older than a day; 1: there is nothing older."""
        old = int(self._series.hours.searchsorted(now - (DRIFT_H - 1) * HOUR_S))
        hits, trials = self._series.hits[:old].sum(), self._series.trials[:old].sum()
        if not trials:
            return 1.0
        _, high = clopper_pearson(np.array([hits]), np.array([trials]))
        return max(float(high[0]), limit * DRIFT_FLOOR)

    def _window(self, since: int, now: int) -> Window:
        rule = self._rule
        slow = DRIFT_H if rule.signal == "baseline_drift" else rule.slow_hours
        return Window(since, now, min(rule.fast_hours, slow), slow)

    def _sum(self, limit: float, end: int, window: Window) -> Sum:
        if (evidence := self._above.get(limit)) is None:
            evidence = self._above[limit] = Evidence(self._series, above(limit))
        return evidence.at(end, window)

    def _candidates(self, since: int) -> list[int]:
        """Hours (seconds) that may bring a proof; of a drift all that have hits."""
        if (found := self._ceilings.get(since)) is None:
            hours = self._series.hours
            if not self._limits or int(self._series.hits.sum()) < least_hits(self._rule):
                found = []
            elif self._rule.signal == "baseline_drift":
                found = hours[(self._series.hits > 0) & (hours >= since)].tolist()
            else:
                limit = self._limits[0][1]
                evidence = self._above.setdefault(limit, Evidence(self._series, above(limit)))
                found = hours[evidence.ceiling(since) >= self._log_threshold].tolist()
            self._ceilings[since] = found
        return found

    def _relapsed(self, machine: Machine, limit: float, end: int, now: int) -> bool:
        found = self._sum(limit, end, self._window(machine.clean_since, now))
        return found.log >= self._log_threshold / 2.0

    def _clean_since(self, machine: Machine, limit: float, now: int) -> int | None:
        """The hour since which the rate is proven to be below `limit`, by cohorts whose hits have come."""
        mature = int(self._series.hours.searchsorted(now + HOUR_S - self._late_s, side="right"))
        opened = machine.opened // HOUR_MS * HOUR_S
        window = Window(opened, now, 0, self._rule.slow_hours)
        found = Evidence(self._series, below(limit)).at(mature, window)
        if found.log < math.log(RECOVERY_ODDS * max(self._rule.hold_hours, 1.0)):
            return None
        return int(self._series.hours[found.start])

    def _rate(self, found: Sum, end: int) -> float | None:
        if found.log == NOTHING:
            return None
        part = slice(found.start, end)
        return float(self._series.hits[part].sum() / self._series.trials[part].sum())

    def _facts(self, found: Sum, end: int) -> dict[str, Any]:
        """Of the hours that the evidence is strongest for."""
        if found.log == NOTHING:
            return {}
        part = slice(found.start, end)
        hits, trials = int(self._series.hits[part].sum()), int(self._series.trials[part].sum())
        low, high = clopper_pearson(np.array([hits]), np.array([trials]))
        since, last = int(self._series.hours[found.start]), int(self._series.hours[end - 1])
        return {
            "hits": hits,
            "trials": trials,
            "rate_low": float(low[0]),
            "rate_high": float(high[0]),
            "since": datetime.fromtimestamp(since, UTC).isoformat(),
            "hours": (last - since) // HOUR_S + 1,
            "scale": "fast" if found.fast else "slow",
            "threshold_hours": self._rule.threshold,
            "mean_days_between_false_pages": self._rule.mean_days,
        }
