"""`Detector`: the sequential test of a rule that is about a share of counters, for one alarm key."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pipelines.alarms.evidence import NOTHING, Evidence, Sum
from pipelines.alarms.mixture import above, below
from pipelines.alarms.reading import Reading
from pipelines.alarms.series import HOUR_MS, HOUR_S, Series
from pipelines.counting.bounds import clopper_pearson

if TYPE_CHECKING:
    from pipelines.alarms.machine import Machine
    from pipelines.alarms.rule import Rule
    from schemas.alarms import Severity

RECOVERY_ODDS: Final = 20.0
"""Of the time that a rate stays at its limit or above, at most one part in so many is told to be a recovery: between
two recoveries that are none there are, in the mean, so many times `hold_hours`."""
DRIFT: Final = "baseline_drift"
DRIFT_H: Final = 24
"""A baseline is what is older; a drift is looked for in what is not."""
DRIFT_FLOOR: Final = 0.1
"""A baseline is at least this part of the rule's limit: below it a drift is of no interest."""
_MOST: Final = 700.0
"""exp() of more is no number."""


@lru_cache(maxsize=1024)
def least_hits(rule: Rule) -> int:
    """With fewer hits than this in all its hours no key can prove anything, whatever its trials."""
    mixture = above(_least(rule))
    weights = np.log(mixture.weights * max(rule.slow_hours, 1))
    hits = 1
    while float(np.logaddexp.reduce(weights + hits * mixture.hit)) < math.log(rule.threshold):
        hits += 1
    return hits


def _least(rule: Rule) -> float:
    """The least limit that it may test against: M against a higher one is less, whatever the data."""
    return rule.limits[0][1] * (DRIFT_FLOOR if rule.signal == DRIFT else 1.0)


class Detector:
    """Of the hours a key has; all of the last `rule.slow_hours` have to be among them.

    What it says of an instant rests on the cohort hours that begin before it. Evidence comes with hits: a key without
    an incident need only be looked at when some come.
    """

    __slots__ = (
        "_above",
        "_candidates",
        "_drifts",
        "_late_s",
        "_limits",
        "_log_threshold",
        "_rule",
        "_series",
        "_slow_s",
    )

    def __init__(self, rule: Rule, series: Series, late_h: int) -> None:
        """`late_h`: hours within which most hits of a cohort have come."""
        self._rule = rule
        self._series = series
        self._late_s = max(late_h, 1) * HOUR_S
        self._drifts = rule.signal == DRIFT
        self._slow_s = (DRIFT_H if self._drifts else rule.slow_hours) * HOUR_S
        self._limits = rule.limits
        self._log_threshold = math.log(rule.threshold)
        self._above: dict[float, Evidence] = {}
        self._candidates: dict[int, list[int]] = {}

    def could_prove(self, since: int) -> bool:
        """Whether there may be an instant at which evidence from `since` (`Machine.since`) on proves anything."""
        return bool(self._may_prove(since))

    def next_candidate(self, since: int, after_ms: int) -> int | None:
        """The first hour boundary (ms) after `after_ms` at which evidence from `since` on may prove anything.

        Between boundaries it may be proven in the hour before such a one alone. None: there is none to come, on the
        hours that the series has.
        """
        for hour in self._may_prove(since):
            if (boundary := hour * 1000 + HOUR_MS) > after_ms:
                return boundary
        return None

    def reading(self, machine: Machine, time_ms: int) -> Reading:
        """What is known at `time_ms`, event time, of a key whose alarm is as `machine` says."""
        end = self._series.before(time_ms)
        now = (-(-time_ms // HOUR_MS) - 1) * HOUR_S
        last_hit = self._series.last_hit(end)
        anchor = last_hit // 1000 - HOUR_S if self._drifts and last_hit else now
        tested = self._tested(anchor)
        if not end or not tested:
            return Reading(time_ms, last_hit=last_hit)
        sums: list[Sum] = []
        for _, limit in tested:
            sums.append(self._above_of(limit).at(end, self._first(machine.since, anchor)))
            if sums[-1].log < self._log_threshold:
                break
        proven = sum(each.log >= self._log_threshold for each in sums)
        told = max(proven - 1, 0)
        least = tested[0][1]
        relapsed = machine.state == "recovering" and self._relapsed(machine, least, end, anchor)
        clean = self._clean_since(machine, least, now) if machine.state == "firing" else None
        return Reading(
            time_ms,
            proven=tested[told][0] if proven else None,
            relapsed=relapsed,
            clean_since=clean,
            last_hit=last_hit,
            limit=tested[told][1],
            e_value=math.exp(min(sums[told].log, _MOST)),
            **self._measured(sums[told], end, now, in_full=bool(proven) or machine.is_open),
        )

    def _tested(self, anchor: int) -> tuple[tuple[Severity, float], ...]:
        """The limits that the rule's severities have.

        That of a drift moves. It is that of `anchor`, the latest hour with a hit: so a drift is proven by a hit, if at
        all, and not by the mere passing of time, in which a key that is well is not looked at.
        """
        if not self._drifts:
            return self._limits
        moved = ((severity, self._baseline(limit, anchor)) for severity, limit in self._limits)
        return tuple((severity, base) for severity, base in moved if base < 1.0)

    def _baseline(self, limit: float, anchor: int) -> float:
        """The upper limit of the rate of what is older than a day; 1: there is nothing older."""
        old = int(self._series.hours.searchsorted(anchor - (DRIFT_H - 1) * HOUR_S))
        hits, trials = self._series.hits[:old].sum(), self._series.trials[:old].sum()
        if not trials:
            return 1.0
        _, high = clopper_pearson(np.array([hits]), np.array([trials]))
        return max(float(high[0]), limit * DRIFT_FLOOR)

    def _first(self, since: int, last: int) -> int:
        """The first hour that counts as a start, where `last` is the last."""
        return max(since or int(self._series.hours[0]), last + HOUR_S - self._slow_s)

    def _above_of(self, limit: float) -> Evidence:
        if (found := self._above.get(limit)) is None:
            found = self._above[limit] = Evidence(self._series, above(limit))
        return found

    def _may_prove(self, since: int) -> list[int]:
        """Hours (seconds) whose data may bring a proof."""
        if (found := self._candidates.get(since)) is None:
            series = self._series
            if not self._limits or int(series.hits.sum()) < least_hits(self._rule):
                found = []
            else:
                least = self._above_of(_least(self._rule))
                hours = least.reaching(self._log_threshold, since or int(series.hours[0]))
                if self._drifts:
                    hours = np.intersect1d(hours, series.hours[series.hits > 0], assume_unique=True)
                found = hours.tolist()
            self._candidates[since] = found
        return found

    def _relapsed(self, machine: Machine, limit: float, end: int, anchor: int) -> bool:
        found = self._above_of(limit).at(end, self._first(machine.clean_since, anchor))
        return found.log >= self._log_threshold / 2.0

    def _clean_since(self, machine: Machine, limit: float, now: int) -> int | None:
        """The hour since which the rate is proven to be below `limit`, by cohorts whose hits have come."""
        mature = int(self._series.hours.searchsorted(now + HOUR_S - self._late_s, side="right"))
        first = max(machine.entered // HOUR_MS, now // HOUR_S + 1 - self._rule.slow_hours) * HOUR_S
        found = Evidence(self._series, below(limit)).at(mature, first)
        if found.log < math.log(RECOVERY_ODDS * max(self._rule.hold_hours, 1.0)):
            return None
        return int(self._series.hours[found.start])

    def _measured(self, found: Sum, end: int, now: int, *, in_full: bool) -> dict[str, Any]:
        """Rate and facts, of the hours that the evidence is strongest for."""
        if found.log == NOTHING:
            return {}
        part = slice(found.start, end)
        hits, trials = int(self._series.hits[part].sum()), int(self._series.trials[part].sum())
        if not in_full:
            return {"rate": hits / trials}
        low, high = clopper_pearson(np.array([hits]), np.array([trials]))
        since, last = int(self._series.hours[found.start]), int(self._series.hours[end - 1])
        facts: dict[str, Any] = {
            "hits": hits,
            "trials": trials,
            "rate_low": float(low[0]),
            "rate_high": float(high[0]),
            "since": datetime.fromtimestamp(since, UTC).isoformat(),
            "hours": (last - since) // HOUR_S + 1,
            "scale": "fast" if now - since < self._rule.fast_hours * HOUR_S else "slow",
            "threshold_hours": self._rule.threshold,
            "mean_days_between_false_pages": self._rule.mean_days,
        }
        if self._drifts:
            facts["of"] = self._rule.of
        return {"rate": hits / trials, "facts": facts}
