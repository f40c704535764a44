"""When SES's own limits for an account are crossed at this pace. Pure arithmetic.

SES puts an account under review at complaint rates of 0.1 % and bounce rates of 5 %, and may pause its sending at 0.5 %
and 10 %, measured over a "representative volume" that it does not tell (SES developer guide, "Amazon SES sending review
process FAQs", docs.aws.amazon.com/ses/latest/dg/faqs-enforcement.html). Here that is the last seven days.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

WINDOW_H: Final = 168
PACE_H: Final = 6
"""The least hours whose mean is the pace."""
_DAY_H: Final = 24
LIMITS: Final = {
    "complaint_rate": ((0.001, "review"), (0.005, "pause")),
    "hard_bounce_rate": ((0.05, "review"), (0.10, "pause")),
}
"""By signal: what SES does at which rate of an account, least first."""
_DOES: Final = {"review": "puts an account under review", "pause": "may pause an account's sending"}
_WORDS: Final = {"complaint_rate": "complaint", "hard_bounce_rate": "bounce"}


@dataclass(frozen=True, slots=True)
class Pace:
    """Of an account."""

    hits: Sequence[int]
    """Of each of the last `WINDOW_H` hours, oldest first; hours without any are zeros."""
    trials: Sequence[int]
    pace_h: int = PACE_H
    """The last so many hours go on as they were."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """Of the next limit that is not crossed yet; of the worst one if all are."""

    limit: float
    what: str
    """`review` or `pause`."""
    in_hours: int | None
    """0: crossed already; None: not at this pace."""
    sentence: str

    def evidence(self) -> dict[str, Any]:
        """As evidence has it."""
        return {
            "limit": self.limit,
            "what": self.what,
            "in_hours": self.in_hours,
            "sentence": self.sentence,
        }


def forecast(signal: str, account: str, pace: Pace) -> Forecast | None:
    """What comes next for an account; None where SES has no limit for the signal, or nothing was sent."""
    if signal not in LIMITS or not sum(pace.trials):
        return None
    rate = sum(pace.hits) / sum(pace.trials)
    limit, what = next((each for each in LIMITS[signal] if rate < each[0]), LIMITS[signal][-1])
    hours = hours_until(pace, limit)
    return Forecast(limit, what, hours, _sentence(signal, account, rate, (limit, what), hours))


def hours_until(pace: Pace, limit: float) -> int | None:
    """Hours until hits of the trailing window are at least `limit` of its trials; None: not within a window's length.

    Each hour adds the mean of the last `pace_h` hours and drops the oldest; after `WINDOW_H` of them nothing changes.
    """
    length, recent = len(pace.hits), min(max(pace.pace_h, 1), len(pace.hits))
    hits, trials = sum(pace.hits), sum(pace.trials)
    added_hits = sum(pace.hits[length - recent :]) / recent
    added_trials = sum(pace.trials[length - recent :]) / recent
    for hour in range(length + 1):
        if trials + hour * added_trials > 0 and hits + hour * added_hits >= limit * (
            trials + hour * added_trials
        ):
            return hour
        if hour < length:
            hits -= pace.hits[hour]
            trials -= pace.trials[hour]
    return None


def pace_hours(evidence_hours: int) -> int:
    """Of an alarm whose evidence is of so many hours: no longer than that, but long enough to be a pace."""
    return min(max(evidence_hours, PACE_H), _DAY_H)


def _sentence(signal: str, account: str, rate: float, limit: tuple[float, str], hours: int | None) -> str:
    share, what = limit
    word = _WORDS[signal]
    now = f"the {word} rate of account {account} is {rate:.3%} over the last seven days"
    at = f"{share:.1%}, at which SES {_DOES[what]}"
    if hours == 0:
        return f"{now}: above {at}"
    if hours is None:
        return f"{now}; at this pace it does not reach {at}"
    when = f"{hours} h" if hours < 2 * _DAY_H else f"{hours / _DAY_H:.0f} days"
    return f"{now}; at this pace it reaches {at}, in {when}"
