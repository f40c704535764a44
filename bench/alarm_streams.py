"""Streams of trials and hits whose truth is known, and what the shipped test and state machine make of them.

Looks are taken every ten minutes. A stream is one alarm key's: trials by look, and of each hit the look at whose end
it was sent and that at whose end it was known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipelines.alarms.detector import Detector
from pipelines.alarms.machine import Machine, advance
from pipelines.alarms.mixture import above
from pipelines.alarms.series import Series

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipelines.alarms.mixture import Mixture
    from pipelines.alarms.rule import Rule

LOOKS = 6
"""An hour."""
DAY = 24 * LOOKS
LOOK_MS = 3_600_000 // LOOKS
START_S = 1_760_054_400
"""Midnight, UTC."""
NIGHT = (0.0,) * 6 + (
    0.5,
    1.0,
    2.5,
    3.0,
    2.5,
    2.0,
    2.0,
    2.0,
    2.0,
    1.5,
    1.5,
    1.0,
    1.0,
    0.5,
    0.5,
    0.3,
    0.2,
    0.0,
)
"""Of a day, by hour, as parts of the mean: nothing at night, most in the morning."""


@dataclass(frozen=True)
class Traffic:
    volume: int
    """Trials an hour, in the mean."""
    daily: bool = False
    late: bool = False
    """Half of the hits are known at once, the others after 6 hours in the mean (exponential)."""

    @property
    def name(self) -> str:
        return f"{self.volume:,}/h" + ", daily pattern" * self.daily + ", late feedback" * self.late

    def trials(self, days: int) -> NDArray[np.int64]:
        shape = np.array(NIGHT) / np.mean(NIGHT) if self.daily else np.ones(24)
        per_look = np.tile(np.repeat(shape * self.volume / LOOKS, LOOKS), days)
        return np.diff(np.floor(np.cumsum(per_look) + 0.5), prepend=0.0).astype(np.int64)


@dataclass(frozen=True)
class Streams:
    trials: NDArray[np.int64]
    """By look, the same for all keys."""
    hits: NDArray[np.int16]
    """By key and look at whose end they were sent."""
    sent: list[NDArray[np.int64]]
    """Of each key: the look of each hit, ascending."""
    seen: list[NDArray[np.int64]]


def streams(
    traffic: Traffic, rates: NDArray[np.float64], keys: int, days: int, rng: np.random.Generator
) -> Streams:
    """Of so many keys; `rates` by look."""
    trials = traffic.trials(days)
    hits = rng.binomial(trials, rates, (keys, len(trials))).astype(np.int16)
    looks = np.arange(len(trials))
    sent = [np.repeat(looks, row) for row in hits]
    seen = [each + _lag(len(each), rng) if traffic.late else each for each in sent]
    return Streams(trials, hits, sent, seen)


def _lag(number: int, rng: np.random.Generator) -> NDArray[np.int64]:
    lag = rng.exponential(6.0 * LOOKS, number).astype(np.int64)
    return np.where(rng.random(number) < 0.5, 0, lag)


def may_page(found: Streams, mixture: Mixture, log_threshold: float) -> NDArray[np.bool_]:
    """By key and look: whether M of all hits sent by then, and of all starts, reaches the threshold.

    What the test sees is never more: it looks back less far, and at the hits that are known. So it is asked at these
    looks alone, which spares nearly all the work and changes nothing.
    """
    keys, looks = found.hits.shape
    reached = np.zeros((looks, keys), dtype=np.bool_)
    sums = np.zeros((keys, len(mixture.hit)))
    tables: dict[int, NDArray[np.float64]] = {}
    by_look = np.ascontiguousarray(found.hits.T)
    threshold = np.exp(log_threshold)
    for look, trials in enumerate(found.trials.tolist()):
        if look % LOOKS == 0:
            sums += 1.0
        if trials:
            if (table := tables.get(trials)) is None:
                hits = np.arange(int(found.hits.max()) + 1)[:, None]
                logs = hits * mixture.hit + (trials - hits) * mixture.miss
                table = tables[trials] = np.exp(np.minimum(logs, 500.0))
            sums *= table[by_look[look]]
            np.minimum(sums, 1e150, out=sums)
        reached[look] = sums @ mixture.weights >= threshold
    return reached.T


class Watched:
    """One key of streams, as the shipped code sees it."""

    def __init__(self, found: Streams, key: int, rule: Rule, late_h: int) -> None:
        self._trials, self._sent, self._seen = found.trials, found.sent[key], found.seen[key]
        self._rule, self._late_h = rule, late_h
        self._hours = START_S + 3600 * np.arange(len(found.trials) // LOOKS)

    def at(self, machine: Machine, look: int) -> Machine:
        """The machine after a look."""
        hour = look // LOOKS
        first = max(hour - self._rule.slow_hours + 1, 0)
        known = self._sent[(self._sent >= first * LOOKS) & (self._sent <= look) & (self._seen <= look)]
        hits = np.bincount(known // LOOKS - first, minlength=hour - first + 1)
        ends = np.append(np.arange(first * LOOKS, look + 1, LOOKS), look + 1)
        sums = np.append(0, np.cumsum(self._trials[first * LOOKS : look + 1]))[ends - first * LOOKS]
        trials = np.diff(sums)
        some = trials > 0
        series = Series(self._hours[first : hour + 1][some], hits[some], trials[some])
        reading = Detector(self._rule, series, self._late_h).reading(
            machine, START_S * 1000 + (look + 1) * LOOK_MS
        )
        return advance(machine, self._rule, reading)[0]

    def pages(self, reached: NDArray[np.bool_], until: float = np.inf) -> list[int]:
        """The looks at which an incident opened, up to the first from `until` on.

        As the worker does it, a key that is well is looked at when hits come to be known, here where `reached` says
        that it may matter; and one with an incident at the end of every hour.
        """
        known = np.unique(self._seen[self._seen < len(reached)])
        candidates = known[reached[known]]
        found: list[int] = []
        machine, look, last = Machine(), -1, len(self._trials) - 1
        while look < last and not (found and found[-1] >= until):
            if machine.is_open:
                look = min((look // LOOKS + 1) * LOOKS + LOOKS - 1, last)
                machine = self.at(machine, look)
                continue
            place = int(candidates.searchsorted(look, side="right"))
            if place == len(candidates):
                break
            look = int(candidates[place])
            machine = self.at(machine, look)
            if machine.is_open:
                found.append(look)
        return found


def pages(found: Streams, rule: Rule, late_h: int, until: float = np.inf) -> list[list[int]]:
    """Of each key the looks at which the shipped test and machine opened an incident; see `Watched.pages`."""
    least = rule.limits[0][1]
    reached = may_page(found, above(least), float(np.log(rule.threshold)))
    return [
        Watched(found, key, rule, late_h).pages(row, until) if row.any() else []
        for key, row in enumerate(reached)
    ]
