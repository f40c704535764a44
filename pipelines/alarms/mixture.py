"""Mixtures of rates that a limit is tested against.

Of a trial whose probability of a hit is at most `limit`, `(rate/limit)^hit · ((1-rate)/(1-limit))^(1-hit)` has an
expectation of at most 1 for every `rate` above the limit; so has the product over any trials in turn, and so has any
weighted mean of such products over rates. Below the limit it is the same with "at least" for "at most". Nothing else
is needed of a mixture, so which rates and weights it has decides only how soon it finds what.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MULTIPLES: Final = (1.25, 1.5, 1.8, 2.2, 2.8, 3.6, 5.0, 7.0, 11.0, 20.0, 40.0, 80.0)
"""Odds of the rates above a limit, as multiples of the limit's odds."""
FAST_FROM: Final = 4.0
"""Of the fast scale are the multiples from this on."""
FAST_SHARE: Final = 0.25
"""Weight of the fast scale; the rest is the slow scale's."""
FRACTIONS: Final = (0.8, 0.6, 0.4, 0.2, 0.05)
"""Odds of the rates below a limit, as multiples of the limit's odds."""


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """Arrays by rate."""

    limit: float
    hit: NDArray[np.float64]
    """log(rate / limit): what a hit adds."""
    miss: NDArray[np.float64]
    """log((1 - rate) / (1 - limit)): what a trial without a hit adds."""
    slow: NDArray[np.float64]
    """Weights of the slow scale; with those of the fast scale they sum to 1."""
    fast: NDArray[np.float64]


def _mixture(
    limit: float, odds: tuple[float, ...], slow: NDArray[np.float64], fast: NDArray[np.float64]
) -> Mixture:
    multiples = np.array(odds)
    base = np.log1p(limit * (multiples - 1.0))
    return Mixture(limit, np.log(multiples) - base, -base, slow, fast)


@lru_cache(maxsize=256)
def above(limit: float) -> Mixture:
    """To show that a rate is above `limit` (between 0 and 1, both excluded)."""
    multiples = np.array(MULTIPLES)
    slow = 1.0 / multiples**0.5
    fast = np.where(multiples >= FAST_FROM, 1.0 / multiples**0.5, 0.0)
    return _mixture(limit, MULTIPLES, (1.0 - FAST_SHARE) * slow / slow.sum(), FAST_SHARE * fast / fast.sum())


@lru_cache(maxsize=256)
def below(limit: float) -> Mixture:
    """To show that a rate is below `limit`; one scale."""
    number = len(FRACTIONS)
    return _mixture(limit, FRACTIONS, np.full(number, 1.0 / number), np.zeros(number))
