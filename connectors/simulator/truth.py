"""What really happened, tallied where it is decided: no code of the pipeline has a part in it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

HOUR_MS: Final = 3_600_000
COUNTED: Final = (
    "sends",
    "deliveries",
    "eligible",
    "complaints",
    "hard_bounces",
    "soft_bounces",
    "suppressed",
    "rejects",
    "rendering_failures",
    "delays",
    "opens",
    "clicks",
    "machine_opens",
    "unsubscribes",
    "blocks",
)
"""`sends` here are net of the suppressed, as the views have them."""
ALARMING: Final = frozenset(
    {"sends", "eligible", "complaints", "hard_bounces", "rejects", "rendering_failures", "blocks"}
)
"""What alarms of rates are about."""
Key = tuple[str, str]
"""Dimension and value."""


@dataclass(slots=True)
class Truth:
    """The tally."""

    seed: int
    events: int = 0
    """Distinct events."""
    copies: int = 0
    """Events as written or sent, each copy counted."""
    by_type: Counter[str] = field(default_factory=Counter)
    sends: Counter[str] = field(default_factory=Counter)
    """Recipients sent to, by region."""
    broken: Counter[str] = field(default_factory=Counter)
    """Records that cannot be used, by what is wrong with them; each makes one dead letter."""
    cells: dict[tuple[str, int], Counter[str]] = field(default_factory=dict)
    """(campaign, cohort hour in ms) to counters."""
    keys: dict[Key, dict[int, Counter[str]]] = field(default_factory=dict)
    """By (dimension, value): cohort hour in ms to the counters that alarms are about."""

    mails: Counter[str] = field(default_factory=Counter)
    """Received mails, by kind."""
    mail_copies: int = 0
    """Of mails as written, each copy counted."""
    replies: Counter[str] = field(default_factory=Counter)
    """What people answered to messages of a campaign; `out_of_office`: what their machines did."""
    out_of_office: Counter[str] = field(default_factory=Counter)
    threads: set[str] = field(default_factory=set)
    """Messages that were answered, by their ids: each begins a conversation."""
    reported: Counter[str] = field(default_factory=Counter)
    """Events that only mail tells of (DSN, ARF), by type; most repeat what SES says, and count nothing."""
    dmarc_rows: int = 0

    def add(self, campaign: str, sent_ms: int, counter: str, number: int = 1) -> None:
        """Something happened to `number` recipients (or once) of a message."""
        self.cells.setdefault((campaign, sent_ms - sent_ms % HOUR_MS), Counter())[counter] += number

    def add_keys(self, keys: Iterable[Key], sent_ms: int, counter: str, number: int = 1) -> None:
        """The same for every dimension; counters that no alarm is about are left out."""
        if counter in ALARMING:
            hour = sent_ms - sent_ms % HOUR_MS
            for key in keys:
                self.keys.setdefault(key, {}).setdefault(hour, Counter())[counter] += number

    @property
    def dead_letters(self) -> int:
        """How many."""
        return self.broken.total()

    def campaigns(self) -> dict[str, Counter[str]]:
        """Over all hours."""
        total: dict[str, Counter[str]] = {}
        for (campaign, _), cell in self.cells.items():
            total.setdefault(campaign, Counter()).update(cell)
        return dict(sorted(total.items()))

    def as_json(self) -> dict[str, Any]:
        """For `truth.json`. Hours are seconds since the epoch."""
        return {
            "seed": self.seed,
            "events": self.events,
            "copies": self.copies,
            "duplicates": self.copies - self.events,
            "dead_letters": self.dead_letters,
            "broken": dict(sorted(self.broken.items())),
            "by_type": dict(sorted(self.by_type.items())),
            "sends_by_region": dict(sorted(self.sends.items())),
            "mails": dict(sorted(self.mails.items())),
            "mail_copies": self.mail_copies,
            "replies": dict(sorted(self.replies.items())),
            "out_of_office": dict(sorted(self.out_of_office.items())),
            "conversations": len(self.threads),
            "told_by_mail": dict(sorted(self.reported.items())),
            "dmarc_rows": self.dmarc_rows,
            "campaign_hours": [
                {"campaign": campaign, "hour": hour // 1000} | {name: cell[name] for name in COUNTED}
                for (campaign, hour), cell in sorted(self.cells.items())
            ],
        }
