"""Levels: what of the pipeline itself is measured against a limit, with hysteresis in time.

There is no chance in a queue's age that a test could weigh: what is above its limit, is. So that a moment's peak tells
nobody, a level has to stay above for as long as its check says, and below for `CLEAR_S` before it counts as over.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from pipelines.alarms.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pipelines.alarms.machine import Machine
    from schemas.alarms import Severity

CLEAR_S: Final = 60.0
"""How long a level stays at its limit or below before it counts as over; some are looked at every half minute."""


@dataclass(frozen=True, slots=True)
class Level:
    """One thing measured, once."""

    value: str
    """What of the pipeline: the value of the alarm key, such as `sink` or `queue ses-events`."""
    check: str
    """Which of the things measured of it."""
    measured: float
    limit: float
    """Above it is trouble."""
    sentence: str
    """What is measured and what to do, for people."""
    for_s: float = 0.0
    """It has to be above for so long."""
    facts: tuple[tuple[str, Any], ...] = ()

    @property
    def above(self) -> bool:
        """Whether the limit is exceeded."""
        return self.measured > self.limit


@dataclass(frozen=True, slots=True)
class Held:
    """A level, and since when it is on its side of the limit."""

    level: Level
    since: int
    """ms."""
    seen: int
    """When it was measured last, ms."""

    @property
    def proven(self) -> bool:
        """Whether it has been above for long enough."""
        return self.level.above and self.seen - self.since >= self.level.for_s * 1000


Known = dict[tuple[str, str], Held]
"""By value and check."""


def hold(known: Mapping[tuple[str, str], Held], levels: Iterable[Level], now: int) -> Known:
    """What is known after measuring at `now` (ms). What could not be measured stays as it was."""
    after = dict(known)
    for level in levels:
        key = (level.value, level.check)
        before = known.get(key)
        if before is None or before.level.above != level.above:
            after[key] = Held(level, now, now)
        else:
            after[key] = replace(before, level=level, seen=now)
    return after


def values(known: Mapping[tuple[str, str], Held]) -> list[str]:
    """Values of which anything is known."""
    return sorted({value for value, _ in known})


def reading(
    known: Mapping[tuple[str, str], Held], value: str, machine: Machine, severity: Severity, now: int
) -> Reading | None:
    """What the state machine is told of a value at `now` (ms); None when nothing of it was measured just now."""
    of_value = [held for (of, _), held in known.items() if of == value]
    fresh = [held for held in of_value if held.seen == now]
    if not fresh:
        return None
    proven = [held for held in fresh if held.proven and now >= machine.since * 1000]
    below_since = max(held.since for held in of_value)
    # What was above when it was measured last is not over because it cannot be measured now.
    clean = not any(held.level.above for held in of_value) and now - below_since >= CLEAR_S * 1000
    worst = max(proven or fresh, key=_excess)
    return Reading(
        time=now,
        proven=severity if proven else None,
        relapsed=bool(proven),
        clean_since=below_since // 1000 if clean else None,
        # However long ago it began, it is not over for want of news.
        last_hit=now if not clean else 0,
        rate=worst.level.measured,
        limit=worst.level.limit,
        facts={
            "check": worst.level.check,
            "measured": worst.level.measured,
            "since": worst.since,
            **dict(worst.level.facts),
            "summary": worst.level.sentence,
        },
    )


def _excess(held: Held) -> float:
    """How far above; of the same limit the larger one is worse, and one of 0 is worse than any share."""
    level = held.level
    return level.measured / level.limit if level.limit else (level.measured and float("inf"))
