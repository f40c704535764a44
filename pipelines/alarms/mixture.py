"""Mixtures of rates that a limit is tested against.

Of a trial whose probability of a hit is at most `limit`, `(rate/limit)^hit · ((1-rate)/(1-limit))^(1-hit)` has an
expectation of at most 1 for every `rate` above the limit; so has the product over any trials in turn, and so has any
weighted mean of such products over rates. Below the limit it is the same with "at least" for "at most". Nothing else
is needed of a mixture, so its rates and weights decide only how soon it finds what.

Rates are given by their odds, as multiples m of the limit's. With k hits in n trials the ratio is then
m^k / (1 + limit · (m - 1))^n: above, it falls as the limit rises, so what is shown against a limit is shown against all
lower ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

ABOVE: Final = {1.15: 0.03, 1.7: 0.20, 2.4: 0.20, 3.6: 0.20, 5.5: 0.17, 9.0: 0.12, 16.0: 0.06, 36.0: 0.02}
"""Weights by odds, as multiples of the limit's odds. About even per doubling up to some 6 times the limit, where days
are at stake, and less beyond, where hours are: by simulation within a fifth of the delay of a test that knows the rate,
from 1.5 to 20 times the limit. A Beta prior (½, 200) is slower at twice the limit, an even one at five times."""
BELOW: Final = {0.8: 0.2, 0.6: 0.2, 0.4: 0.2, 0.2: 0.2, 0.05: 0.2}


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """Arrays by rate."""

    hit: NDArray[np.float64]
    """log(rate / limit): what a hit adds."""
    miss: NDArray[np.float64]
    """log((1 - rate) / (1 - limit)): what a trial without a hit adds."""
    weights: NDArray[np.float64]
    """They sum to 1."""


@lru_cache(maxsize=256)
def above(limit: float) -> Mixture:
    """To show that a rate is above `limit` (between 0 and 1, both excluded)."""
    return _mixture(limit, ABOVE)


@lru_cache(maxsize=256)
def below(limit: float) -> Mixture:
    """To show that a rate is below `limit`."""
    return _mixture(limit, BELOW)


def _mixture(limit: float, shares: Mapping[float, float]) -> Mixture:
    multiples = np.array(list(shares))
    base = np.log1p(limit * (multiples - 1.0))
    return Mixture(np.log(multiples) - base, -base, np.array(list(shares.values())))
