"""The alarms that the truth asks for, beside those there are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from connectors.simulator import expected
from connectors.simulator.stories import STORIES, Story, has_ended
from schemas.alarms import SEPARATOR, alarm_key, parts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from connectors.simulator.truth import Key, Truth
    from pipelines.alarms.rules import Rule

TRANSITIONS_SQL: Final = (
    "SELECT alarm_key, seq, toUnixTimestamp64Milli(time), state, severity, rate, limit, cause, evidence"
    " FROM alarms ORDER BY alarm_key, seq"
)
NO_DATA_SQL: Final = (
    "SELECT campaign FROM campaign_health GROUP BY campaign"
    " HAVING sum(eligible) = 0 AND countIf(complaint_rate IS NOT NULL) = 0"
)
_PATIENCE_LOOKS: Final = 4
"""How often to look for the drivers of an alarm before it is told without."""
_DRIFT: Final = "baseline_drift"
_DRIFT_FLOOR: Final = 10
"""A baseline is at least the limit divided by this (docs/alarms.md)."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A transition, as `alarms` shows it."""

    alarm_key: str
    seq: int
    time_ms: int
    state: str
    severity: str
    rate: float | None
    limit: float | None
    cause: str
    evidence: Mapping[str, Any]

    @classmethod
    def of(cls, row: list[Any]) -> Seen:
        """From a row of `TRANSITIONS_SQL`."""
        key, seq, time_ms, state, severity, rate, limit, cause, evidence = row
        found = msgspec.json.decode(evidence) if evidence else {}
        told = found if isinstance(found, dict) else {}
        return cls(key, seq, time_ms, state, severity, rate, limit, cause, told)

    @property
    def drivers(self) -> list[tuple[Key, float]]:
        """What explains the excess: (factor, value) and how much of it, the best first."""
        told = self.evidence.get("drivers") or []
        return [((each["factor"], each["value"]), float(each.get("excess_share") or 0)) for each in told]

    def __str__(self) -> str:
        """One line: event time, severity, key, rate and limit, strongest driver."""
        when = datetime.fromtimestamp(self.time_ms / 1000, UTC)
        line = f"{when:%d %b %H:%M}  {self.severity:8}  {self.alarm_key} {self.state}"
        if self.rate is not None and self.limit is not None:
            line += f", {self.rate:.2%} (limit {self.limit:.2%})"
        return line + (f", by {_driver(self)}" if self.state == "firing" and self.drivers else "")


class News:
    """Tells each transition once: what fires as soon as its drivers are known, or have been waited for."""

    def __init__(self) -> None:
        self._told: set[tuple[str, int]] = set()
        self._looks: Counter[tuple[str, int]] = Counter()

    def of(self, rows: list[list[Any]]) -> list[str]:
        """Lines about rows of `TRANSITIONS_SQL` that are new, in the order of event time."""
        fresh = [seen for seen in map(Seen.of, rows) if (seen.alarm_key, seen.seq) not in self._told]
        ready = []
        for seen in sorted(fresh, key=lambda each: each.time_ms):
            place = (seen.alarm_key, seen.seq)
            self._looks[place] += 1
            if seen.state != "firing" or seen.drivers or self._looks[place] > _PATIENCE_LOOKS:
                self._told.add(place)
                ready.append(str(seen))
        return ready


@dataclass(frozen=True, slots=True)
class AlarmLine:
    """One alarm key."""

    alarm_key: str
    truth: str
    result: str
    agrees: bool
    told: str = ""
    """What is planned for it."""
    first: str = ""
    """Event time of its first transition."""
    driver: str = ""


@dataclass(slots=True)
class _Alarm:
    """All transitions of an alarm key."""

    seen: list[Seen] = field(default_factory=list)

    @property
    def incidents(self) -> int:
        return sum(each.cause == "evidence" for each in self.seen)

    @property
    def states(self) -> list[str]:
        """Without repetitions in a row."""
        states = [each.state for each in self.seen]
        return [state for at, state in enumerate(states) if not at or states[at - 1] != state]

    @property
    def drivers(self) -> list[tuple[Key, float]]:
        """As explained last: what is told first may rest on too little."""
        return next((each.drivers for each in reversed(self.seen) if each.drivers), [])


def lines(
    truth: Truth, rules: Iterable[Rule], rows: list[list[Any]], without_data: set[str], now_ms: int
) -> list[AlarmLine]:
    """Stories first, then the other keys that are to fire, or do.

    Args:
        truth: of the traffic.
        rules: in force.
        rows: of `TRANSITIONS_SQL`.
        without_data: campaigns of `NO_DATA_SQL`.
        now_ms: until when the truth goes.
    """
    found: dict[str, _Alarm] = {}
    for row in rows:
        seen = Seen.of(row)
        found.setdefault(seen.alarm_key, _Alarm()).seen.append(seen)
    wanted = dict(_fates(truth, rules))
    result = []
    for story in STORIES:
        key = alarm_key(story.signal, *story.key)
        fate = wanted.pop(key, "quiet")
        result.append(_story(key, story, fate, found.pop(key, _Alarm()), _Facts(truth, without_data, now_ms)))
    listed = {key for key, fate in wanted.items() if fate == "fires"} | {
        key for key, alarm in found.items() if alarm.incidents
    }
    result += [
        _judged(key, wanted.get(key) or _of_others(key), found.get(key, _Alarm())) for key in sorted(listed)
    ]
    return result


def _of_others(key: str) -> expected.Fate:
    """Of an alarm key that has no hits, or that is not of the events' rates: the pipeline may well be slow."""
    return "either" if parts_of(key)[0] == "pipeline" else "quiet"


def _fates(truth: Truth, rules: Iterable[Rule]) -> Iterator[tuple[str, expected.Fate]]:
    """By alarm key; keys without hits are left out."""
    for rule in rules:
        signal = rule.of if rule.signal == _DRIFT else rule.signal
        limits = [limit for limit in (rule.notice, rule.warning, rule.critical) if limit is not None]
        if signal not in expected.HITS or not limits:
            continue
        limit = min(limits)
        if rule.signal == _DRIFT:
            limit /= _DRIFT_FLOOR
        for key, fate in expected.fates(truth, signal, rule.dimensions, limit, rule.threshold).items():
            # What a key's own past was like is not judged here: only what could be no drift at all.
            drifts = rule.signal == _DRIFT and fate == "fires"
            yield SEPARATOR.join((rule.name, *key)), "either" if drifts else fate


@dataclass(frozen=True, slots=True)
class _Facts:
    truth: Truth
    without_data: set[str]
    now_ms: int


def _story(key: str, story: Story, fate: expected.Fate, alarm: _Alarm, facts: _Facts) -> AlarmLine:
    ends = story.ending == "ends" and fate == "fires" and has_ended(facts.truth, story, facts.now_ms)
    line = _judged(key, "no data" if story.ending == "no data" else fate, alarm, ends=ends, told=story.told)
    agrees, result = line.agrees, line.result
    if story.ending == "no data":
        agrees = agrees and story.campaign in facts.without_data
        result = "no data" if agrees else result
    if story.drivers and fate == "fires":
        agrees = agrees and bool(alarm.drivers) and alarm.drivers[0][0] in story.drivers
    return AlarmLine(key, line.truth, result, agrees, line.told, line.first, line.driver)


_WORDS: Final = {
    "fires": "fires once",
    "quiet": "quiet",
    "either": "may fire",
    "no data": "no data",
}
_AGREES: Final[dict[str, Callable[[_Alarm], bool]]] = {
    "fires": lambda alarm: alarm.incidents == 1,
    "quiet": lambda alarm: not alarm.seen,
    "no data": lambda alarm: not alarm.seen,
    "either": lambda _: True,
}


def _judged(key: str, fate: str, alarm: _Alarm, *, ends: bool = False, told: str = "") -> AlarmLine:
    agrees = _AGREES[fate](alarm)
    if ends:
        agrees = agrees and alarm.states[:1] == ["firing"] and alarm.states[-1:] == ["resolved"]
    first = f"{datetime.fromtimestamp(alarm.seen[0].time_ms / 1000, UTC):%d %b %H:%M}" if alarm.seen else ""
    strongest = next((_driver(each) for each in reversed(alarm.seen) if each.drivers), "")
    truth = "fires once, ends" if ends else _WORDS[fate]
    return AlarmLine(key, truth, _words(alarm), agrees, told, first, strongest)


def _words(alarm: _Alarm) -> str:
    if not alarm.seen:
        return "quiet"
    times = "fires once" if alarm.incidents == 1 else f"fires {alarm.incidents} times"
    worst = alarm.seen[-1].severity
    return f"{times}, {worst}" + (", ends" if alarm.states[-1] == "resolved" else "")


def _driver(seen: Seen) -> str:
    (factor, value), share = seen.drivers[0]
    return f"{factor} {value} ({share:.0%})"
