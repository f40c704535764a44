"""`Policy`, `Attempt` and `RouteState`: what is being tried by each route, and how often."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from connectors.notify.planning import Audience
from connectors.notify.quiet import QuietHours
from connectors.notify.told import Told

if TYPE_CHECKING:
    from connectors.notify.carrier import Carrier
    from connectors.notify.numbers import RouteFailure
    from connectors.notify.planning import Due
    from connectors.notify.settings import Notify, Route


@dataclass(frozen=True, slots=True)
class Policy:
    """How often is tried, and looked."""

    first_s: float = 1.0
    """Pause after the first failure; then doubled, half of it left to chance."""
    longest_s: float = 300.0
    route_longest_s: float = 60.0
    """A route whose last try failed rests at most so long: one that answers again is noticed soon."""
    look_again_s: float = 1.0
    """How often is looked at what waits for an hour or an answer."""
    announce_s: float = 2.0
    """How long a page waits until it is written down that it is tried; then it goes out all the same."""

    def pause(self, failures: int, longest_s: float) -> float:
        """Seconds to wait after the n-th failure (from 1)."""
        whole = min(longest_s, self.first_s * 2.0 ** min(failures - 1, 16))
        return whole * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, guards nothing


@dataclass(slots=True)
class Attempt:
    """Trying to tell a route one thing."""

    due: Due
    since: int
    """Clock, ms."""
    began: float
    """Monotonic."""
    tries: int = 0
    not_before: float = 0.0
    announced: int = 0
    """Number of the row that says that it is tried; 0: none is wanted."""
    unknown: bool = False
    """Whether a try may have come through."""
    flying: bool = False

    def hold(self, until: float) -> None:
        """It is not to be tried for a while, which is no fault of the route."""
        self.not_before, self.began = max(self.not_before, until), until

    def same(self, due: Due) -> bool:
        """Whether it tries to tell that."""
        return (self.due.kind, self.due.incident) == (due.kind, due.incident)


class RouteState:
    """One route's part of the desk."""

    def __init__(self, route: Route, limits: Notify, carrier: Carrier) -> None:
        self.name = route.name
        self.audience = Audience(route, QuietHours.of(route.quiet, route.timezone), limits)
        self.carrier = carrier
        self.told: dict[str, dict[int, Told]] = {}
        """By alarm key and incident."""
        self.attempts: dict[str, Attempt] = {}
        """By alarm key: at most one at a time, so what is told of a key is told in order."""
        self.failures = 0
        """Since the last delivery."""
        self.failing: RouteFailure | None = None
        self.rests_until = 0.0
        self.repeats_at = 0.0

    def told_of(self, key: str, number: int) -> Told:
        """What the route was told of an incident."""
        return self.told.setdefault(key, {}).setdefault(number, Told())
