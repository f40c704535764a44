"""`Page`: what a route is to deliver; `Channel`: who delivers it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from schemas.alarms import Alarm


@dataclass(frozen=True, slots=True)
class Page:
    """One message about an incident."""

    kind: Literal["page", "update", "resolve"]
    """The first of an incident, a worse severity or new evidence of it, and its end."""
    alarm: Alarm
    """The transition it is about."""
    evidence: Mapping[str, Any]
    """The alarm's, decoded."""
    dedup_key: str
    """The same for all messages of an incident."""
    title: str
    """One line, such as `critical: complaint rate of campaign black-friday is 0.9 % (limit 0.3 %)`."""
    text: str
    """The whole of it for a person: counts, limits, drivers, samples, forecast, and the query that shows the rest."""


class NotDelivered(Exception):  # noqa: N818 - it says what happened
    """A channel could not deliver."""

    def __init__(
        self,
        reason: str,
        *,
        retry_after_s: float | None = None,
        for_good: bool = False,
        unknown: bool = False,
    ) -> None:
        """Say why.

        Args:
            reason: one sentence for a person, without secrets.
            retry_after_s: what the receiver asked for (HTTP Retry-After).
            for_good: whether trying the same again is useless (refused credentials, a message it will never take).
            unknown: whether the receiver may have taken it all the same (no answer, or half of one).
        """
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.for_good = for_good
        self.unknown = unknown


class Channel(Protocol):
    """Delivers to one place; for one thread. Sending the same page twice is harmless where the receiver knows keys."""

    def send(self, page: Page) -> str:
        """Deliver; returns a few words on how it was taken.

        Raises:
            NotDelivered: it was not, or nobody knows.
        """

    def close(self) -> None:
        """Let go of connections."""
