"""`Numbers` and `RouteFailure`: what the delivery of alarms says of itself."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RouteFailure:
    """A route that does not deliver at present."""

    route: str
    since: int
    """Clock of the first failure after the last delivery, ms."""
    reason: str


@dataclass(slots=True)
class Numbers:
    """What was done since the start."""

    outcomes: dict[tuple[str, str], int] = field(default_factory=dict)
    """By route and outcome (`delivered`, `failed`, `skipped`, and `retried`, which counts tries)."""
    retrying: dict[str, int] = field(default_factory=dict)
    """By route, messages that were tried and not delivered yet."""
    oldest_s: float = 0.0
    """How long the oldest message that could be delivered has not been."""

    def count(self, route: str, outcome: str) -> None:
        """One more."""
        self.outcomes[route, outcome] = self.outcomes.get((route, outcome), 0) + 1
