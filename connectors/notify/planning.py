"""What a route is to be told of an alarm key now, and from when on: a pure function of what is known.

Nothing here depends on which transition came last or how often one came: only on what is true of the key, and on what
the route was told. So repeated, late and reordered transitions change nothing, and a page that could not be delivered
before its incident ended is not delivered, and neither is its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, Literal

from connectors.notify.incidents import at_least
from connectors.notify.told import Told
from pipelines.alarms.transition import happened
from schemas.alarms import RATE_SIGNALS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from connectors.notify.incidents import Incident, Key
    from connectors.notify.quiet import QuietHours
    from connectors.notify.settings import Notify, Route
    from schemas.alarms import Alarm

_TAKES_ACKNOWLEDGEMENTS: Final = frozenset({"pagerduty"})
"""Kinds that have a state for it."""


@dataclass(frozen=True, slots=True)
class Due:
    """Something to tell."""

    kind: Literal["page", "update", "resolve"]
    alarm: Alarm
    """The transition that is shown."""
    incident: int
    seq: int
    """Transitions up to this one are then told."""
    revision: int
    not_before: int = 0
    """ms."""
    too_old: bool = False
    """Whether it is to be left, for it is about the past."""


@dataclass(frozen=True, slots=True)
class Audience:
    """A route, as far as it matters to what it is told."""

    route: Route
    quiet: QuietHours
    limits: Notify


_NOTHING: Final = Told()


def due(audience: Audience, key: Key, told: Mapping[int, Told], now: int) -> Due | None:
    """What a route is to be told next of a key.

    Args:
        audience: the route.
        key: what is known.
        told: by incident, what the route was told.
        now: the clock, ms.
    """
    current = key.open
    for number in sorted(told):
        if told[number].owes_end and (current is None or number != current.number):
            shown = key.end_of(number)
            if shown is not None:
                return Due("resolve", shown, number, shown["seq"], shown["revision"])
    if current is None:
        return None
    known = told.get(current.number, _NOTHING)
    if known.resolved:
        # An incident ends once: what shows it open is old, and came again.
        return None
    next_up = _of_open(audience.route, current, known)
    return _timed(audience, key, current, next_up, now) if next_up else None


def wanted(route: Route, alarm: Alarm, severity: str) -> bool:
    """Whether a route is for an alarm."""
    if severity not in route.severities if route.severities else not at_least(severity, route.min_severity):
        return False
    fields = (
        (alarm["signal"], route.signals),
        (alarm["dimension"], route.dimensions),
        (alarm["value"], route.values),
    )
    return all(any(fnmatchcase(text, pattern) for pattern in patterns) for text, patterns in fields)


def _of_open(route: Route, incident: Incident, known: Told) -> Due | None:
    """What is not told of an open incident, whatever the time."""
    shown, rise = incident.shown, incident.rise
    if not wanted(route, shown, incident.severity):
        return None
    new = known.seq < rise["seq"] if rise else not known.paged and not known.seq
    seq = max(shown["seq"], rise["seq"]) if rise else shown["seq"]
    revision = shown["revision"] if shown["seq"] == seq else 0
    if not known.paged:
        page = new and not incident.is_acknowledged
        return Due("page", shown, incident.number, seq, revision) if page else None
    better = route.wants_evidence and (shown["seq"], shown["revision"]) > (known.seq, known.revision)
    if incident.acknowledged or ((new or better) and incident.is_acknowledged):
        return _acknowledgement(route, incident, known)
    return Due("update", shown, incident.number, seq, revision) if new or better else None


def _acknowledgement(route: Route, incident: Incident, known: Told) -> Due | None:
    said = incident.acknowledged
    if route.kind not in _TAKES_ACKNOWLEDGEMENTS or said is None or said["seq"] <= known.seq:
        return None
    return Due("update", said, incident.number, said["seq"], said["revision"])


def _timed(audience: Audience, key: Key, incident: Incident, found: Due, now: int) -> Due:
    """When it may be told: after silence, quiet hours and the wait for evidence; or never, if that was long ago."""
    if found.alarm["cause"] == "acknowledged":
        return found
    rise = incident.rise or incident.latest
    limit = audience.limits.max_age_s * 1000
    began = happened(rise) if incident.rise else rise["opened_time"]
    # What was old already when it was written is of a replay: no silence made it wait.
    of_the_past = rise["written_time"] - began > limit
    began = max(began, min(key.silenced_until, now))
    if key.top is not None and key.top["cause"] == "unsilenced":
        began = max(began, key.top["time"])
    passes = incident.severity == "critical" and audience.route.quiet_critical
    if not passes:
        began = _end_of_quiet(audience.quiet, began)
    too_old = of_the_past or now - began > limit
    not_before = max(key.silenced_until, 0 if passes else _end_of_quiet(audience.quiet, now))
    if found.alarm["revision"] == 0 and found.alarm["signal"] in RATE_SIGNALS:
        not_before = max(not_before, incident.face_seen + round(audience.limits.evidence_wait_s * 1000))
    return Due(
        found.kind,
        found.alarm,
        found.incident,
        found.seq,
        found.revision,
        not_before=not_before,
        too_old=too_old,
    )


def _end_of_quiet(quiet: QuietHours, time_ms: int) -> int:
    return round(quiet.until(time_ms / 1000) * 1000)
