"""Rules that others use, on the same streams: each says at every look whether it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from alarm_streams import DAY, LOOKS

if TYPE_CHECKING:
    from collections.abc import Callable

    from alarm_streams import Streams
    from numpy.typing import NDArray

    Counts = tuple[NDArray[np.int64], NDArray[np.int64]]

REARM = 12 * LOOKS
"""A rule that held is no new page before it did not hold for so many looks: as long as an incident of ours is held."""
Z = 1.959964


def window(found: Streams, key: int, looks: int) -> Counts:
    """Hits known and trials, of what was sent in the last so many looks, by look."""
    sent, seen, total = found.sent[key], found.seen[key], len(found.trials)
    kept = (seen < sent + looks) & (seen < total)
    steps = np.bincount(seen[kept], minlength=total + looks)
    steps = steps - np.bincount((sent + looks)[kept], minlength=total + looks)
    sums = np.cumsum(found.trials)
    return np.cumsum(steps)[:total], sums - np.concatenate([np.zeros(looks, np.int64), sums])[:total]


def naive(found: Streams, key: int, limit: float, least: int = 1) -> NDArray[np.bool_]:
    """Hits / trials of the last 24 hours at or above the limit; with at least so many trials."""
    hits, trials = window(found, key, DAY)
    return (trials >= least) & (hits >= limit * trials) & (hits > 0)


def wilson(found: Streams, key: int, limit: float) -> NDArray[np.bool_]:
    """Lower end of Wilson's 95 % interval of the last 24 hours at or above the limit."""
    hits, trials = window(found, key, DAY)
    n = np.maximum(trials, 1)
    share = hits / n
    middle = share + Z * Z / (2 * n)
    low = (middle - Z * np.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))) / (1 + Z * Z / n)
    return (trials > 0) & (low >= limit)


def posthog(found: Streams, key: int, limit: float) -> NDArray[np.bool_]:
    """PostHog's rule of two windows; its shares are 5 and 1.5 times Gmail's limit of 0.1 %."""
    hits, trials = window(found, key, LOOKS)
    fast = (trials >= 200) & (hits >= 5) & (hits >= 5 * limit * trials)
    hits, trials = window(found, key, DAY)
    return fast | ((trials >= 1000) & (hits >= 10) & (hits >= 1.5 * limit * trials))


RIVALS: dict[str, Callable[[Streams, int, float], NDArray[np.bool_]]] = {
    "rate ≥ limit": naive,
    "… and ≥ 1,000 sent": lambda found, key, limit: naive(found, key, limit, 1000),
    "Wilson": wilson,
    "PostHog": posthog,
}


def openings(holds: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The looks at which a rule begins to hold, after it did not for long enough."""
    looks = holds.nonzero()[0]
    return looks[np.diff(looks, prepend=-REARM - 1) > REARM]
