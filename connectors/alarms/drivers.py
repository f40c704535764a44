"""Drivers: which values of which factors make up the excess of hits over the limit. Pure arithmetic.

A value leads only if chance does not explain it: were hits spread evenly over trials, each of the H hits would be of a
value with n of N trials with probability n/N, so at least h of them with that of a binomial tail (exact; conditioning
on H leaves no rate to be guessed). As many values are looked at, the tail is multiplied by how many (Bonferroni).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from scipy.special import betainc

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ERROR: Final = 0.01
"""Chance that anything is named when nothing stands out."""
LEAST_SHARE: Final = 0.1
"""Of the excess: what makes up less explains nothing."""
MOST: Final = 5
_MOST_OF_A_FACTOR: Final = 2


@dataclass(frozen=True, slots=True)
class Tally:
    """Hits and trials of one value of a factor."""

    factor: str
    value: str
    hits: int
    trials: int
    """0: they are not known, only hits name the factor."""
    of_hits: int
    """Of all values of the factor together, as are `of_trials`."""
    of_trials: int
    looked_at: int
    """Values that might have been named in its place."""


@dataclass(frozen=True, slots=True)
class Driver:
    """A value that makes up a part of the excess."""

    factor: str
    value: str
    hits: int
    trials: int | None
    """None: not known."""
    excess_share: float
    """0 to 1; values of different factors overlap."""
    trials_share: float = 0.5
    """Of all trials; half of them where that is not known."""

    @property
    def rate(self) -> float | None:
        """Hits among trials."""
        return min(1.0, self.hits / self.trials) if self.trials else None

    @property
    def specific(self) -> float:
        """The better, the more of the excess is in the fewer trials; -1 to 1."""
        return self.excess_share - self.trials_share

    def evidence(self) -> dict[str, Any]:
        """As evidence has it."""
        return {
            "factor": self.factor,
            "value": self.value,
            "hits": self.hits,
            "trials": self.trials,
            "rate": self.rate,
            "excess_share": self.excess_share,
        }


def drivers(tallies: Sequence[Tally], hits: int, trials: int, limit: float) -> list[Driver]:
    """What stands out: first what has the most of the excess in the fewest of the trials.

    Args:
        tallies: of values of all factors; of those with equal numbers only the first is told.
        hits: of all.
        trials: of all.
        limit: the share of hits that there may be. Where there is no excess over it, all hits are taken for excess.
    """
    limit = limit if hits > limit * trials else 0.0
    found: list[Driver] = []
    told: set[tuple[int, int]] = set()
    for tally in tallies:
        share = _excess_share(tally, hits, trials, limit)
        numbers = (tally.hits, tally.trials)
        if share >= LEAST_SHARE and numbers not in told and stands_out(tally):
            told.add(numbers)
            found.append(_driver(tally, share))
    found.sort(key=lambda each: -each.specific)
    return _few(found)


def stands_out(tally: Tally) -> bool:
    """Whether chance does not explain so many hits."""
    if tally.hits < 2:  # noqa: PLR2004 - one is no pattern
        return False
    if not tally.trials:
        return tally.hits * 2 > tally.of_hits
    if tally.trials >= tally.of_trials:
        return False
    return tail(tally.hits, tally.of_hits, tally.trials / tally.of_trials) * tally.looked_at < ERROR


def tail(hits: int, of: int, chance: float) -> float:
    """Probability of at least so many successes in `of` tries: the regularised incomplete beta function."""
    if hits <= 0:
        return 1.0
    return float(betainc(hits, of - hits + 1, chance)) if hits <= of else 0.0


def _driver(tally: Tally, share: float) -> Driver:
    if not tally.trials:
        return Driver(tally.factor, tally.value, tally.hits, None, share)
    return Driver(tally.factor, tally.value, tally.hits, tally.trials, share, tally.trials / tally.of_trials)


def _excess_share(tally: Tally, hits: int, trials: int, limit: float) -> float:
    if not tally.trials:
        return min(1.0, tally.hits / hits) if hits else 0.0
    whole = hits - limit * trials
    own = tally.hits - limit * tally.trials
    return min(1.0, own / whole) if whole > 0 else 0.0


def _few(found: Iterable[Driver]) -> list[Driver]:
    chosen: list[Driver] = []
    for driver in found:
        alike = sum(each.factor == driver.factor for each in chosen)
        if len(chosen) < MOST and alike < _MOST_OF_A_FACTOR:
            chosen.append(driver)
    return chosen
