"""`walk`: what becomes of one alarm key as event time goes on from one instant to another.

It is evaluated at each hour boundary on the way, by the cohort hours before it, and at the end of the way; so a replay
that reads a day at once opens and resolves incidents at the times of the past. Where nothing can come of an evaluation
it is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pipelines.alarms.machine import advance
from pipelines.alarms.series import HOUR_MS

if TYPE_CHECKING:
    from pipelines.alarms.detector import Detector
    from pipelines.alarms.machine import Machine
    from pipelines.alarms.rules import Rule
    from pipelines.alarms.series import Series
    from pipelines.alarms.transition import Transition

FOREVER: Final = -(1 << 62)
"""Of a way that begins with the first hour there is."""


@dataclass(frozen=True, slots=True)
class Way:
    """Of event time, in ms."""

    after: int
    """Up to here, and here, it was evaluated before."""
    until: int
    """Up to here, and here, it is to be."""


def next_boundary(time_ms: int) -> int:
    """The first hour boundary after a time."""
    return (time_ms // HOUR_MS + 1) * HOUR_MS


def walk(
    machine: Machine, rule: Rule, detector: Detector, series: Series, way: Way
) -> tuple[Machine, list[Transition]]:
    """Evaluate a key on its way; the machine itself and nothing when nothing happens.

    Args:
        machine: what is remembered of the key.
        rule: of the key.
        detector: of the rule and the series.
        series: what the key counted.
        way: from where to where.
    """
    told: list[Transition] = []
    at = _first(machine, detector, series, way)
    while at is not None:
        machine, transition = advance(machine, rule, detector.reading(machine, at))
        if transition is not None:
            told.append(transition)
        at = _next(machine, detector, series, at, way.until)
    return machine, told


def _first(machine: Machine, detector: Detector, series: Series, way: Way) -> int | None:
    """The first instant to evaluate at: what has come late, for hours that are over, counts there."""
    after = max(way.after, machine.changed if machine.seq else FOREVER)
    if machine.is_open:
        return min(next_boundary(after), way.until)
    if not len(series):
        return None
    first = min(next_boundary(max(after, int(series.hours[0]) * 1000)), way.until)
    if _may_prove(machine, detector, series, first):
        return first
    return _next(machine, detector, series, first, way.until)


def _next(machine: Machine, detector: Detector, series: Series, at: int, until: int) -> int | None:
    """The next instant at which anything may happen."""
    if at >= until:
        return None
    if machine.is_open:
        return min(next_boundary(at), until)
    candidate = detector.next_candidate(machine.since, at)
    if candidate is not None and candidate <= until:
        return candidate
    return until if _may_prove(machine, detector, series, until) else None


def _may_prove(machine: Machine, detector: Detector, series: Series, at: int) -> bool:
    """Whether the last hour before an instant is one that may bring a proof; hours without trials bring none."""
    end = series.before(at)
    if not end:
        return False
    boundary = int(series.hours[end - 1]) * 1000 + HOUR_MS
    return detector.next_candidate(machine.since, boundary - 1) == boundary
