"""What events add: one entry for each counter of each event, or of each recipient of it.

Counters of recipients (sends, deliveries, …) go to each recipient's provider, counters of events (complaints, opens,
…) to the provider of the first recipient, so that providers add up to the account.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from pipelines.counting.dimensions import ABSENT, Indexes
from schemas.counters import COUNTERS
from schemas.events import SUPPRESSED_SUBTYPES

if TYPE_CHECKING:
    from pipelines.counting.dedup import Mask

COUNTER: Final = {name: index for index, name in enumerate(COUNTERS)}


@dataclass(frozen=True, slots=True)
class Increments:
    """Aligned arrays; each entry adds one."""

    rows: Indexes
    """Row of the event."""
    recipients: Indexes
    """Which of all recipients of all events; `ABSENT` where the event has none."""
    counters: Indexes
    """Index of the counter."""


class Recipients:
    """The recipients of all events of a frame, one after the other."""

    def __init__(self, column: pl.Series) -> None:
        lengths = column.list.len().to_numpy().astype(np.int64)
        self.single = bool((lengths == 1).all())
        self.lengths = lengths
        self.firsts = np.where(lengths > 0, np.cumsum(lengths) - lengths, ABSENT)
        flat = (column if self.single else column.filter(pl.Series(lengths > 0))).explode()
        parts = flat.struct.unnest()
        self.addresses = parts["address"]
        self.providers = parts["provider"]
        self.reports = parts["reports_complaints"].to_numpy()
        self.blocked = parts["blocked"].to_numpy()

    def of(self, rows: Indexes) -> tuple[Indexes, Indexes]:
        """All recipients of some events: (row, recipient)."""
        if self.single:
            return rows, rows
        lengths = self.lengths[rows]
        owners = np.repeat(rows, lengths)
        within = np.arange(owners.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return owners, self.firsts[owners] + within


class _Gathered:
    def __init__(self, recipients: Recipients) -> None:
        self._recipients = recipients
        self._parts: list[tuple[Indexes, Indexes, int]] = []

    def each(self, counter: str, rows: Indexes, only: Mask | None = None) -> None:
        """Count the recipients of events, or only those that a mask of all recipients has."""
        if rows.size:
            owners, which = self._recipients.of(rows)
            if only is not None:
                chosen = only[which]
                owners, which = owners[chosen], which[chosen]
            self._parts.append((owners, which, COUNTER[counter]))

    def once(self, counter: str, rows: Indexes) -> None:
        """Count events."""
        if rows.size:
            self._parts.append((rows, self._recipients.firsts[rows], COUNTER[counter]))

    def all(self) -> Increments:
        """Everything counted."""
        if not self._parts:
            none = np.empty(0, dtype=np.int64)
            return Increments(none, none, none)
        rows, which, counters = zip(*self._parts, strict=True)
        sizes = [part.size for part in rows]
        return Increments(np.concatenate(rows), np.concatenate(which), np.repeat(counters, sizes))


_EACH: Final = {"Send": "sends", "Delivery": "deliveries", "DeliveryDelay": "delays"}
_ONCE: Final = {"Reject": "rejects", "Rendering Failure": "rendering_failures", "Click": "clicks"}


def increments(frame: pl.DataFrame, recipients: Recipients, chosen: Mask) -> Increments:
    """What the chosen events add."""
    gathered = _Gathered(recipients)
    kinds = frame["event_type"]

    def of(kind: str) -> Indexes:
        found: Indexes = np.flatnonzero((kinds == kind).to_numpy() & chosen)
        return found

    for kind, counter in _EACH.items():
        rows = of(kind)
        gathered.each(counter, rows)
        if kind == "Delivery":
            gathered.each("eligible", rows, recipients.reports)
        if kind == "DeliveryDelay":
            gathered.each("blocks", rows, recipients.blocked)
    for kind, counter in _ONCE.items():
        gathered.once(counter, of(kind))
    _bounces(gathered, frame, of("Bounce"), recipients)
    _complaints(gathered, frame, of("Complaint"))
    opens = of("Open")
    by_machine = frame["machine_open"].to_numpy()[opens]
    gathered.once("opens", opens[~by_machine])
    gathered.once("machine_opens", opens[by_machine])
    subscriptions = of("Subscription")
    gathered.once("unsubscribes", subscriptions[frame["unsubscribed"].to_numpy()[subscriptions]])
    return gathered.all()


def _bounces(gathered: _Gathered, frame: pl.DataFrame, rows: Indexes, recipients: Recipients) -> None:
    if not rows.size:
        return
    kinds = frame["bounce_type"][rows]
    suppressed = frame["bounce_subtype"][rows].is_in(SUPPRESSED_SUBTYPES).to_numpy()
    away = frame["out_of_office"].to_numpy()[rows]
    gathered.each("hard_bounces", rows[(kinds == "Permanent").to_numpy() & ~suppressed])
    gathered.each("soft_bounces", rows[kinds.is_in(("Transient", "Undetermined")).to_numpy() & ~away])
    gathered.each("suppressed", rows[suppressed])
    gathered.each("blocks", rows, recipients.blocked)


def _complaints(gathered: _Gathered, frame: pl.DataFrame, rows: Indexes) -> None:
    if not rows.size:
        return
    suppressed = frame["complaint_subtype"][rows].is_in(SUPPRESSED_SUBTYPES).to_numpy()
    complained = (frame["complaint_type"][rows] != "not-spam").to_numpy() & ~suppressed
    gathered.once("complaints", rows[complained])
    gathered.each("suppressed", rows[suppressed])
