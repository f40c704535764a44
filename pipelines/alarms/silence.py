"""Traffic that stopped: how long a silence is usual in each hour of the week, and the evidence in a longer one.

What is learned: of each hour of the week the *comparable* hours, the same one and its two neighbours (a clock that is
put forward or back moves a habit by an hour; all here is UTC) in each of the last weeks. Where one of them passed
without any send, nothing is expected. Else a silence is usual up to the longest one in any of them.

The evidence: each hour of those weeks is held against what the other weeks say is usual in it, and the worst silence,
in parts of the usual one, is the *surprise* that this traffic is good for (2 at the least). Two hours are passed over,
for an outage in the past. Of n such hours and one more of the same kind each is equally likely to be the worst: one
that is worse than the third worst has a probability of at most 3 / (n + 1), and evidence (n + 1) / 3. Beyond that
silences are taken to be without memory, so that evidence grows as exp(Λ) with Λ = ∫ ln((n + 1) / 3) / (surprise ·
usual) dt since the last send; but never faster than that of a Poisson process of the least sends of those hours. So
for traffic in bursts it counts bursts missed, not sends.

**The guarantee is not that of the rates.** It rests on weeks to come being like those learned, which a public
holiday is not. The mean time between false pages holds for traffic of which that is true.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pipelines.alarms.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pipelines.alarms.machine import Machine
    from schemas.alarms import Severity

HOUR_S: Final = 3600
WEEK_H: Final = 168
LEAST_WEEKS: Final = 2
"""Of history; with less there is no telling a habit from chance."""
OUTAGE_H: Final = 2
"""So many of the worst hours are passed over: a past outage must not make the next one look usual for weeks."""
LEAST_SURPRISE: Final = 2.0
"""Weeks that were all alike are no proof that the next one is: twice the usual silence is always allowed for."""
_MINUTES: Final = 60
_NEIGHBOURS: Final = (-1, 0, 1)
_MOST: Final = 700.0
"""exp of it is still a float."""


@dataclass(frozen=True, slots=True)
class Hour:
    """Sends of a cohort hour."""

    minutes: int
    """Bit m is set when something was sent in minute m."""
    sends: int


@dataclass(frozen=True, slots=True)
class Pattern:
    """What is usual in each hour of the week, 0 being the first one of 1970-01-01 (a Thursday), UTC."""

    rates: NDArray[np.float64]
    """Growth of Λ, per minute of silence; 0 where nothing is expected."""
    longest: NDArray[np.float64]
    """Longest usual silence, minutes; infinite where nothing is expected."""
    sends: NDArray[np.float64]
    """The least that was sent in a comparable hour."""
    weeks: int
    """That were learned from."""


def learn(hours: Mapping[int, Hour], end: int, weeks: int, least_expected: float = 1.0) -> Pattern | None:
    """The pattern of the weeks before `end`; None without two whole weeks of history.

    Args:
        hours: by cohort hour, seconds; those without sends may be left out.
        end: cohort hour (seconds) before which all hours are whole.
        weeks: how many to learn from at the most.
        least_expected: sends; nothing is expected in an hour of the week of which a comparable hour had fewer.
    """
    known = [hour for hour in hours if hour < end]
    if not known:
        return None
    # The first hour there is may have begun before the first event of it that there is.
    weeks = min(weeks, (end - min(known) - HOUR_S) // (WEEK_H * HOUR_S))
    if weeks < LEAST_WEEKS:
        return None
    begin = end - weeks * WEEK_H * HOUR_S
    active = np.zeros((weeks * WEEK_H, _MINUTES), dtype=bool)
    sends = np.zeros(weeks * WEEK_H)
    wanted = [(hour - begin) // HOUR_S for hour in hours if begin <= hour < end]
    if wanted:
        chosen = [of for hour, of in hours.items() if begin <= hour < end]
        bits = np.array([of.minutes for of in chosen], dtype=np.uint64)[:, None]
        active[wanted] = bits >> np.arange(_MINUTES, dtype=np.uint64) & np.uint64(1)
        sends[wanted] = [of.sends for of in chosen]
    silences = _longest_silences(active).reshape(weeks, WEEK_H)
    least = _over_neighbours(sends.reshape(weeks, WEEK_H).min(axis=0), np.minimum)
    expected = least >= max(least_expected, 1.0)
    usual = np.where(expected, _over_neighbours(silences.max(axis=0), np.maximum), math.inf)
    seen = weeks * int(expected.sum())
    evidence = math.log((seen + 1) / (OUTAGE_H + 1)) / _surprise(silences, expected)
    rates = np.where(expected, np.minimum(evidence / usual, least / _MINUTES), 0.0)
    turn = begin // HOUR_S % WEEK_H
    return Pattern(np.roll(rates, turn), np.roll(usual, turn), np.roll(least, turn), weeks)


def _longest_silences(active: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Longest silence within each hour and the one before it, minutes; at least 1, for finer nothing is known.

    Not what a silence was before that: the whole night is not the usual silence of the morning's second hour.
    """
    both = np.concatenate((np.roll(active, 1, axis=0), active), axis=1)
    both[0, :_MINUTES] = True
    minutes = np.arange(2 * _MINUTES)
    last = np.maximum.accumulate(np.where(both, minutes, -1), axis=1)
    silent = (minutes - last)[:, _MINUTES:]
    found: NDArray[np.float64] = np.maximum(silent.max(axis=1), 1).astype(np.float64)
    return found


def _surprise(silences: NDArray[np.float64], expected: NDArray[np.bool_]) -> float:
    """How far silences went beyond the usual: of each week, held against what the other weeks say is usual."""
    found = []
    for week in range(len(silences)):
        others = _over_neighbours(np.delete(silences, week, axis=0).max(axis=0), np.maximum)
        found.append((silences[week] / others)[expected])
    worst = np.sort(np.concatenate(found))[::-1]
    return max(LEAST_SURPRISE, float(worst[OUTAGE_H])) if len(worst) > OUTAGE_H else math.inf


def _over_neighbours(of_hour: NDArray[np.float64], worst: np.ufunc) -> NDArray[np.float64]:
    """Of each hour of the week the worst of it and its neighbours."""
    found: NDArray[np.float64] = worst.reduce(np.stack([np.roll(of_hour, shift) for shift in _NEIGHBOURS]))
    return found


@dataclass(frozen=True, slots=True)
class Silence:
    """From the last send, or since an alarm was reset, until an instant."""

    minutes: float
    log_e: float
    """ln of the evidence that traffic has stopped."""
    missed: float
    """Sends that would have come, at the least."""
    usual: float
    """Longest usual silence of the hour in which it began, minutes; infinite: nothing was expected then."""
    expected: bool
    """Whether anything was expected since the last send."""


def silence(pattern: Pattern, begin: int, now: int) -> Silence:
    """What a silence from `begin` until `now` (both ms) means."""
    log_e = missed = 0.0
    expected = False
    # A silence of more than the weeks that were learned tells nothing more.
    at = max(begin, now - pattern.weeks * WEEK_H * HOUR_S * 1000)
    while at < now:
        hour = at // (HOUR_S * 1000)
        until = min(now, (hour + 1) * HOUR_S * 1000)
        minutes, place = (until - at) / 60_000, hour % WEEK_H
        if pattern.rates[place] > 0:
            log_e += minutes * float(pattern.rates[place])
            missed += minutes * float(pattern.sends[place]) / _MINUTES
            expected = True
        at = until
    usual = float(pattern.longest[begin // (HOUR_S * 1000) % WEEK_H])
    return Silence(max(0.0, (now - begin) / 60_000), log_e, missed, usual, expected)


@dataclass(frozen=True, slots=True)
class Limits:
    """When a silence is an alarm."""

    severity: Severity
    threshold: float
    """Evidence wanted."""
    silent_minutes: float
    """And so long a silence, whatever the evidence."""


def reading(found: Silence, machine: Machine, limits: Limits, last_send: int, now: int) -> Reading:
    """What the state machine is told; `last_send` and `now` in ms.

    `rate` and `limit` are minutes of silence; the limit is when it would be evidence enough at this pace.
    """
    long = found.minutes >= limits.silent_minutes
    wanted = math.log(limits.threshold)
    proven = long and found.log_e >= wanted
    resumed = last_send > machine.entered and not (long and found.log_e >= wanted / 2)
    return Reading(
        time=now,
        proven=limits.severity if proven else None,
        relapsed=long and found.log_e >= wanted / 2,
        clean_since=last_send // 1000 if resumed else None,
        # Through nights and weekends, in which nothing is expected, it goes on; not once nothing ever is.
        last_hit=now if found.expected and not resumed else 0,
        rate=found.minutes,
        limit=limits.silent_minutes,
        e_value=math.exp(min(found.log_e, _MOST)),
        facts=_facts(found, limits, last_send),
    )


def _facts(found: Silence, limits: Limits, last_send: int) -> dict[str, object]:
    usual = None if math.isinf(found.usual) else found.usual
    return {
        "last_send": last_send,
        "silent_minutes": round(found.minutes, 1),
        "usual_silence_minutes": usual,
        "missed": round(found.missed),
        "threshold_hours": limits.threshold,
        "summary": (
            f"nothing was sent for {_span(found.minutes)}; in weeks before, at least {found.missed:,.0f}"
            f" sends came in such a time"
            + (f", and no silence was longer than {usual:.0f} minutes" if usual is not None else "")
        ),
    }


def _span(minutes: float) -> str:
    return f"{minutes:.0f} minutes" if minutes < 2 * _MINUTES else f"{minutes / _MINUTES:.1f} hours"
