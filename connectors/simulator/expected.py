"""Which alarms of rates the truth asks for, judged without the pipeline's detector.

The likelihood ratio of the best rate above a limit against the limit itself, over the cohort hours s to t:

    L(s, t) = sup over p >= p0 of (p / p0)^K ((1 - p) / (1 - p0))^(N - K),  K hits among N trials

Whatever mixture over rates and scales a detector of this kind uses, its evidence at t is at most the sum of
L(s, t) over the start hours s since the key was first heard of: where that stays below the threshold nothing may
fire. And a mixture that is any good gives away little: where one L(s, t) alone is a thousand times the threshold,
it must.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log
from typing import TYPE_CHECKING, Final, Literal

from connectors.simulator.truth import HOUR_MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from connectors.simulator.truth import Key, Truth

Fate = Literal["fires", "quiet", "either"]
"""What the truth asks of an alarm key; `either` where the evidence is neither overwhelming nor slight."""

THRESHOLD: Final = 24.0 * 365
"""Hours between false pages: a year."""
_GENEROUS: Final = log(1000.0)
_ENOUGH: Final = 700.0
"""Logarithm of more evidence than a float holds."""

HITS: Final = {
    "complaint_rate": ("complaints", ("eligible",)),
    "hard_bounce_rate": ("hard_bounces", ("sends",)),
    "reject_rate": ("rejects", ("sends",)),
    "rendering_failure_rate": ("rendering_failures", ("sends", "rendering_failures")),
    "reputation_block": ("blocks", ("sends",)),
}
"""By signal: what is counted, among what. `sends` of the truth are without the suppressed."""


@dataclass(frozen=True, slots=True)
class Hour:
    """A cohort hour of a key."""

    hour: int
    """Since the epoch."""
    hits: int
    trials: int


def hours_of(truth: Truth, key: Key, signal: str) -> list[Hour]:
    """The hours of a (dimension, value) that have trials, in order."""
    hits, trials = HITS[signal]
    found = [
        Hour(hour // HOUR_MS, cell[hits], max(cell[hits], sum(cell[name] for name in trials)))
        for hour, cell in sorted(truth.keys.get(key, {}).items())
    ]
    return [each for each in found if each.trials > 0]


def fate(hours: Sequence[Hour], limit: float, threshold: float = THRESHOLD) -> Fate:
    """Whether an alarm on "rate above the limit" fires.

    Args:
        hours: in order.
        limit: between 0 and 1.
        threshold: evidence that makes an alarm.
    """
    most = bound = 0.0
    for end in range(len(hours)):
        if hours[end].hits:
            strongest, whole = _evidence(hours[: end + 1], limit)
            most, bound = max(most, strongest), max(bound, whole)
    if most >= log(threshold) + _GENEROUS:
        return "fires"
    return "quiet" if bound < threshold else "either"


def _evidence(hours: Sequence[Hour], limit: float) -> tuple[float, float]:
    """Up to the last of the hours: the logarithm of the greatest L, and the sum of all."""
    hits = trials = 0
    most = whole = 0.0
    for at in range(len(hours) - 1, -1, -1):
        hits += hours[at].hits
        trials += hours[at].trials
        alone = _log_ratio(hits, trials, limit)
        since = hours[at - 1].hour if at else hours[at].hour - 1
        most = max(most, alone)
        whole += (hours[at].hour - since) * exp(min(alone, _ENOUGH))
    return most, whole


def _log_ratio(hits: int, trials: int, limit: float) -> float:
    """The logarithm of L."""
    rate = hits / trials
    if rate <= limit:
        return 0.0
    missed = (trials - hits) * log((1 - rate) / (1 - limit)) if hits < trials else 0.0
    return hits * log(rate / limit) + missed


def fates(
    truth: Truth, signal: str, dimensions: Iterable[str], limit: float, threshold: float = THRESHOLD
) -> dict[Key, Fate]:
    """Of every (dimension, value) with a hit."""
    wanted = set(dimensions)
    found: dict[Key, Fate] = {}
    for key in sorted(truth.keys):
        if key[0] in wanted:
            hours = hours_of(truth, key, signal)
            if any(each.hits for each in hours):
                found[key] = fate(hours, limit, threshold)
    return found
