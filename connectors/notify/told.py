"""`Told`: what one route was told of one incident, from rows of `ses.alarm-actions`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from schemas.alarms import AlarmAction

EVERY_ROUTE: Final = "*"
"""Target of an action that is not about one route."""
DELIVERIES: Final = frozenset({"page", "update", "resolve"})
_ANY_REVISION: Final = 1 << 30
_SETTLED: Final = frozenset({"delivered", "failed", "skipped"})


@dataclass(slots=True)
class Told:
    """What one route knows of one incident."""

    paged: bool = False
    maybe: bool = False
    """Whether a page may have come through: a try was begun, and nobody knows how it ended."""
    seq: int = 0
    """Transitions up to this one need not be told any more."""
    revision: int = 0
    """Of that transition."""
    resolved: bool = False

    @property
    def owes_end(self) -> bool:
        """Whether the end of the incident has to be told."""
        return (self.paged or self.maybe) and not self.resolved

    def take(self, action: str, outcome: str, seq: int, revision: int) -> None:
        """Learn of something that was done."""
        if outcome not in _SETTLED:
            self.maybe = self.maybe or action == "page"
            return
        if action == "resolve":
            self.resolved = True
            return
        if action == "page" and outcome == "delivered":
            self.paged, self.maybe = True, False
        self.seq, self.revision = max((self.seq, self.revision), (seq, revision))


def remember(told: Told, row: AlarmAction) -> None:
    """Learn of a row; which revision was told it does not say: the best there is."""
    told.take(row["action"], row["outcome"], row["seq"], _ANY_REVISION)
    if row["action"] == "page" and row["outcome"] in _SETTLED:
        told.maybe = False


def action_id(target: str, dedup_key: str, number: int, action: str) -> str:
    """The same for the same deed, so that doing or telling it again is no other.

    Args:
        target: name of the route.
        dedup_key: of the incident.
        number: of an update the transition's `seq`; a page and an end come once, so theirs is the incident's number.
        action: `page`, `update`, `resolve`.
    """
    text = "\0".join((target, dedup_key, str(number), action))
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def number_of(action: str, incident: int, seq: int) -> int:
    """What `action_id` takes for a delivery."""
    return seq if action == "update" else incident
