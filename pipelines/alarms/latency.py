"""Delivery latency: whether a percentile of the time from send to delivery is above a limit.

"The 95th percentile is at most 30 s" says the same as "at most 5 % of deliveries take longer than 30 s", and that is a
share like any other: the sequential test of the rates decides it, on (slower than the limit, deliveries) of each cohort
hour, with the same guarantee. Each severity has its own limit in seconds and so its own counts. What takes long comes
late, so what has come looks better than what will have: partial evidence is weaker, never stronger.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from pipelines.alarms.detector import Detector, least_hits
from pipelines.alarms.reading import Reading
from pipelines.alarms.series import HOUR_MS, HOUR_S, Series

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipelines.alarms.machine import Machine
    from pipelines.alarms.rules import Rule
    from schemas.alarms import Severity

Counts = tuple[int, ...]
"""Deliveries, and how many of them were slower than each limit of the rule, least severity first."""
PERCENTILE: Final = "percentile"
"""The option of the rule."""


@lru_cache(maxsize=256)
def _share_rule(rule: Rule, severity: Severity) -> Rule:
    """The same for one severity, with the share that may be slower for a limit."""
    share = 1.0 - rule.options[PERCENTILE]
    return replace(
        rule,
        notice=share if severity == "notice" else None,
        warning=share if severity == "warning" else None,
        critical=share if severity == "critical" else None,
    )


class Latency:
    """The test of one key, on the cohort hours it has."""

    def __init__(self, rule: Rule, counted: Mapping[int, Counts]) -> None:
        """`counted`: by cohort hour (seconds), all of the last `rule.slow_hours` that there are."""
        self._rule = rule
        # Hits of a cohort have come once its messages are older than the limit, and an hour more.
        late_h = 1 + math.ceil(rule.limits[0][1] / HOUR_S)
        self._tests: list[Detector] = []
        for place, (severity, _) in enumerate(rule.limits):
            of = _share_rule(rule, severity)
            series = Series.of({hour: (counts[place + 1], counts[0]) for hour, counts in counted.items()})
            self._tests.append(Detector(of, series, late_h))
        slow = sum(counts[1] for counts in counted.values())
        self._hopeless = slow < least_hits(_share_rule(rule, rule.limits[0][0]))

    def instants(self, machine: Machine, since_ms: int, until_ms: int) -> Iterator[int]:
        """Instants at which to look, of those after one and up to another (ms): hour boundaries, then the last.

        While nothing is open, only those at which something may be proven. The machine is that before the first.
        """
        at = since_ms
        while True:
            if machine.is_open:
                boundary: int | None = (at // HOUR_MS + 1) * HOUR_MS
            else:
                boundary = None if self._hopeless else self._tests[0].next_candidate(machine.since, at)
            if boundary is None or boundary >= until_ms:
                break
            yield boundary
            at = boundary
        if machine.is_open or not self._hopeless:
            yield until_ms

    def reading(self, machine: Machine, time_ms: int) -> Reading:
        """What is known at an instant of event time; `rate` is left open, for only what is told needs it."""
        found = [test.reading(machine, time_ms) for test in self._tests]
        proven = 0
        # A critical that is no warning is none: so both keep one guarantee.
        while proven < len(found) and found[proven].proven is not None:
            proven += 1
        told = max(proven - 1, 0)
        least, of = found[0], found[told]
        severity, limit = self._rule.limits[told]
        return Reading(
            time=time_ms,
            proven=severity if proven else None,
            relapsed=least.relapsed,
            clean_since=least.clean_since,
            last_hit=least.last_hit,
            limit=limit,
            e_value=of.e_value,
            facts=_facts(of.facts, self._rule.options[PERCENTILE], limit),
        )


def measured(reading: Reading, seconds: float | None) -> Reading:
    """With the percentile itself, in seconds, over the hours that the evidence is strongest for; None: no data."""
    facts = dict(reading.facts)
    percent = 100 * facts.get(PERCENTILE, 0.0)
    if seconds is not None and "hits" in facts:
        facts["summary"] = (
            f"{facts['hits']:,} of {facts['trials']:,} deliveries took longer than {reading.limit:g} s;"
            f" the {percent:g}th percentile was {seconds:.1f} s"
        )
    return replace(reading, rate=seconds, facts=facts)


def _facts(of_share: Mapping[str, Any], percentile: float, limit: float) -> dict[str, Any]:
    """The detector's facts are about shares; what is told is in seconds."""
    if not of_share:
        return {}
    facts = {name: fact for name, fact in of_share.items() if name not in ("rate_low", "rate_high")}
    return {
        **facts,
        PERCENTILE: percentile,
        "slow_share_low": of_share["rate_low"],
        "slow_share_high": of_share["rate_high"],
        "hit": f"deliveries slower than {limit:g} s",
        "trial": "deliveries",
    }
