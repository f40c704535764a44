"""`Key`: what is known of an alarm key and its incidents, from transitions in any order, however often they come."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from schemas.alarms import SEVERITIES, Severity

if TYPE_CHECKING:
    from schemas.alarms import Alarm

_OPEN: Final = frozenset({"firing", "recovering"})
_EVIDENT: Final = frozenset({"evidence", "escalated", "relapse"})
"""Causes of transitions that carry evidence of trouble."""


@dataclass(slots=True)
class Incident:
    """One incident of an alarm key."""

    number: int
    latest: Alarm
    """Its last transition."""
    face: Alarm | None = None
    """Its last transition with evidence: what a message about it shows."""
    face_seen: int = 0
    """Clock when that (in whichever revision) was written, or first seen, ms."""
    firsts: dict[str, Alarm] = field(default_factory=dict)
    """By severity, the first transition with evidence that had it."""
    acknowledged: Alarm | None = None
    whole: bool = False
    """Whether the opening was seen: then all of it was, for what is compacted away goes from the beginning."""

    @property
    def shown(self) -> Alarm:
        """The transition that a message about it shows."""
        return self.face or self.latest

    @property
    def severity(self) -> str:
        """The worst so far."""
        return max((self.latest["severity"], self.shown["severity"], *self.firsts), key=_rank_of)

    @property
    def rise(self) -> Alarm | None:
        """The transition that made it as bad as it is: what is worth telling. None: it is not known any more.

        A relapse is worth it where it is worse than what was before, and that is known.
        """
        ranks = {severity: _rank_of(severity) for severity in self.firsts}
        rises = [
            alarm
            for severity, alarm in self.firsts.items()
            if alarm["cause"] != "relapse" or min(ranks.values()) < ranks[severity]
        ]
        return max(rises, key=lambda each: each["seq"], default=None)

    @property
    def is_acknowledged(self) -> bool:
        """Whether somebody has taken it.

        The transition that says so may be compacted away; the machine of later ones remembers.
        """
        return self.acknowledged is not None or (not self.whole and _acknowledged_in(self.latest))

    def take(self, alarm: Alarm, now: int) -> None:
        """Learn of a transition."""
        if _place(alarm) > _place(self.latest):
            self.latest = alarm
        cause, severity = alarm["cause"], alarm["severity"]
        self.whole = self.whole or alarm["seq"] == self.number
        if cause == "acknowledged":
            self.acknowledged = alarm
        if alarm["state"] != "firing" or cause not in _EVIDENT:
            return
        if self.face is None or _place(alarm) > _place(self.face):
            if self.face is None or alarm["seq"] != self.face["seq"]:
                self.face_seen = now
            self.face = alarm
        known = self.firsts.get(severity)
        if known is None or alarm["seq"] < known["seq"]:
            self.firsts[severity] = alarm


@dataclass(slots=True)
class Key:
    """One alarm key."""

    name: str
    top: Alarm | None = None
    """Its last transition."""
    incidents: dict[int, Incident] = field(default_factory=dict)
    """The open one, and those that are over and not settled."""

    @property
    def open(self) -> Incident | None:
        """The incident that is open."""
        if self.top is None or self.top["state"] not in _OPEN:
            return None
        return self.incidents.get(self.top["incident"])

    @property
    def silenced_until(self) -> int:
        """ms; 0: not silenced."""
        return self.top["silenced_until"] if self.top else 0

    def take(self, alarm: Alarm, now: int) -> None:
        """Learn of a transition; what is known already changes nothing.

        Args:
            alarm: the transition.
            now: the clock, ms.
        """
        now = min(now, alarm["written_time"])
        if self.top is None or _place(alarm) > _place(self.top):
            self.top = alarm
        if number := alarm["incident"]:
            known = self.incidents.get(number)
            if known is None:
                known = self.incidents[number] = Incident(number, alarm)
            known.take(alarm, now)

    def end_of(self, number: int) -> Alarm | None:
        """The transition that a message about the end of an incident shows.

        None: nothing is known of the key, or only what was before the incident opened.
        """
        incident = self.incidents.get(number)
        shown = incident.latest if incident else self.top
        if shown is None or shown["seq"] < number:
            return None
        if shown["state"] in _OPEN or shown["incident"] != number:
            # Its own end is not known any more: a later transition of the key took its place.
            shown = {**shown, "state": "resolved", "incident": number}
        return shown

    def forget(self) -> None:
        """Drop what is over, but for which transition came last: those before it may come again."""
        current = self.open
        self.incidents = {current.number: current} if current else {}
        if self.top is not None and current is None:
            self.top = {**self.top, "evidence": "{}", "machine": b""}


def _place(alarm: Alarm) -> tuple[int, int]:
    return alarm["seq"], alarm["revision"]


def _rank_of(severity: str) -> int:
    return SEVERITIES.index(severity) if severity in SEVERITIES else -1


def at_least(severity: str, least: Severity) -> bool:
    """Whether a severity is as bad as another, or worse."""
    return _rank_of(severity) >= SEVERITIES.index(least)


def _acknowledged_in(alarm: Alarm) -> bool:
    if not alarm["machine"]:
        return False
    # Loads scipy: wanted seldom, and not before somebody is to be told.
    from pipelines.alarms.machine import unpack  # noqa: PLC0415
    from pipelines.counting.rate import StateError  # noqa: PLC0415

    try:
        return bool(unpack(alarm["machine"]).acknowledged_by)
    except StateError:
        return False
