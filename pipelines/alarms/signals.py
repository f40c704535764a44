"""The signals that are shares of counters: what of `rates` each is a share of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from schemas.counters import COUNTERS

if TYPE_CHECKING:
    from collections.abc import Sequence

_AT: Final = {name: index for index, name in enumerate(COUNTERS)}


@dataclass(frozen=True, slots=True)
class Share:
    """Hits among trials, both made of raw counters (`sends` include the suppressed)."""

    hits: str
    trials: tuple[str, ...]
    without: tuple[str, ...] = ()
    """Counters that are taken off the trials."""
    late_h: int = 1
    """Hours within which most hits of a cohort hour have come: younger ones look cleaner than they are, so they prove
    no recovery."""

    def of(self, counters: Sequence[int]) -> tuple[int, int]:
        """(hits, trials) of the counters of an hour; never more hits than trials, never below 0."""
        hits = max(counters[_AT[self.hits]], 0)
        trials = sum(counters[_AT[name]] for name in self.trials) - sum(
            counters[_AT[name]] for name in self.without
        )
        return hits, max(trials, hits)


SHARES: Final = {
    "complaint_rate": Share("complaints", ("eligible",), late_h=6),
    "hard_bounce_rate": Share("hard_bounces", ("sends",), ("suppressed",)),
    "reject_rate": Share("rejects", ("sends",), ("suppressed",)),
    "rendering_failure_rate": Share("rendering_failures", ("sends", "rendering_failures"), ("suppressed",)),
    "reputation_block": Share("blocks", ("sends",), ("suppressed",)),
}
"""By signal. Hits beyond the trials (feedback that came before what it is about) count as trials too, which is nearer
to the truth than none."""
