"""Exact limits of a binomial proportion (C. J. Clopper and E. S. Pearson, Biometrika 26, 1934)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import betaincinv

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONFIDENCE: Final = 0.95


def clopper_pearson(
    hits: NDArray[np.int64], trials: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper 95 % limits of hits / trials, element by element; NaN where there are no trials.

    More hits than trials (feedback that came before the deliveries it is about) are taken as all of them.
    """
    n = np.asarray(trials, dtype=np.float64)
    k = np.clip(np.asarray(hits, dtype=np.float64), 0.0, n)
    tail = (1.0 - CONFIDENCE) / 2.0
    some = n > 0
    low = np.zeros_like(n)
    high = np.ones_like(n)
    inner = some & (k > 0)
    low[inner] = betaincinv(k[inner], n[inner] - k[inner] + 1.0, tail)
    inner = some & (k < n)
    high[inner] = betaincinv(k[inner] + 1.0, n[inner] - k[inner], 1.0 - tail)
    low[~some] = np.nan
    high[~some] = np.nan
    return low, high
