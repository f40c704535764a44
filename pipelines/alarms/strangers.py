"""Strangers: sources that send as us without alignment, and never were seen to be ours.

There is no chance in it that a test could weigh: reports count messages. What is judged is a day, for that is what
reports are of. A source is a stranger while it is new, was never aligned under our domain, and the domain has been
reported on for long enough to know its usual senders. An incident lasts as long as its failing mail does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pipelines.alarms.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.alarms.machine import Machine
    from schemas.alarms import Severity

DAY_MS: Final = 86_400_000
_LAPSE: Final = 0.5
"""Part of the limit: while an incident lasts, what is above it goes on. It takes the whole to open one."""


@dataclass(frozen=True, slots=True)
class Day:
    """A day of reports."""

    begin: int
    """ms."""
    end: int
    """Of the last report that begins in it, ms."""
    messages: float
    """Failing, neither aligned nor told to be forwarded; of a report of several days its share of one."""


@dataclass(frozen=True, slots=True)
class History:
    """What was known of a source under a domain, over all time."""

    first_seen: int
    """Begin of the first report that has it, ms."""
    aligned: bool
    """Whether anything of it ever was."""
    domain_since: int
    """Begin of the first report on the domain, ms."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What makes an alarm, from a rule."""

    severity: Severity
    messages: float
    new_days: float
    learn_days: float


@dataclass(frozen=True, slots=True)
class Source:
    """A source under a domain of ours."""

    domain: str
    name: str
    """The domain that signed, or passed SPF; else an IP address."""
    days: tuple[Day, ...]
    history: History
    facts: Mapping[str, Any] = field(default_factory=dict)

    def is_stranger(self, limits: Limits, now: int) -> bool:
        """Whether it is new, and was never seen to be ours."""
        seen = self.history.first_seen
        return (
            not self.history.aligned
            and seen >= now - limits.new_days * DAY_MS
            and seen >= self.history.domain_since + limits.learn_days * DAY_MS
        )


def reading(source: Source, machine: Machine, limits: Limits, now: int) -> Reading:
    """What the state machine is told at `now` (ms); `rate` and `limit` are messages a day."""
    # Days that began before an incident ended, or was reset, open no other.
    days = [day for day in source.days if day.begin >= machine.since * 1000]
    worst = max(days, key=lambda day: (day.messages, day.begin), default=Day(0, 0, 0.0))
    going_on = [day for day in days if day.messages >= max(limits.messages * _LAPSE, 1)]
    proven = worst.messages >= limits.messages and source.is_stranger(limits, now)
    return Reading(
        time=now,
        proven=limits.severity if proven else None,
        relapsed=any(day.end > machine.clean_since * 1000 for day in going_on),
        last_hit=min(max((day.end for day in going_on), default=0), now),
        rate=worst.messages,
        limit=limits.messages,
        facts={**source.facts, "day": worst.begin, "summary": _summary(source, worst)},
    )


def _summary(source: Source, worst: Day) -> str:
    return (
        f"{source.name}, which was never seen to send as {source.domain} before, sent {worst.messages:,.0f} messages"
        f" in a day that fail its DMARC policy: if it is yours, have it sign with DKIM as {source.domain}; if not,"
        " only a policy of quarantine or reject keeps it out"
    )
