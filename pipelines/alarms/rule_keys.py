"""Which keys the rules of each signal have, and what values they take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from schemas.alarms import RATE_SIGNALS, SEVERITIES, SIGNALS

DRIFT: Final = "baseline_drift"
OWN_DIMENSIONS: Final = {
    "pipeline": "pipeline",
    "dmarc_failure": "dmarc_source",
    "unexpected_relay": "originator_org",
}
"""Signals that are about values of no dimension of events: what that of their alarms is called."""
QUEUE: Final = "queue "
PIPELINE_VALUES: Final = ("dead_letters", "worker", "sink", "recounter", "notify", "rules", "clickhouse")
"""What the signal `pipeline` is about, and the beginning of the others: `queue NAME`."""

SHARED: Final = (
    *("name", "signal", "enabled", "dimensions", "values", "except"),
    *("quiet_hours", "hold_hours"),
)
_TESTED: Final = ("mean_days_between_false_pages", "fast_hours", "slow_hours")
LIMITS: Final = SEVERITIES
"""Keys of the limits, least severity first."""
LIMITED: Final = (*RATE_SIGNALS, "delivery_latency")
"""Signals that have limits; the others have a severity."""

HOURS_A_YEAR: Final = 8784


@dataclass(frozen=True, slots=True)
class Number:
    """What a number may be."""

    least: float
    most: float
    whole: bool = False
    open_ended: bool = False
    """Whether `least` and `most` themselves are refused."""

    def takes(self, value: float) -> bool:
        """Whether a number is within."""
        if self.whole and value != int(value):
            return False
        if self.open_ended:
            return self.least < value < self.most
        return self.least <= value <= self.most

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        if self.open_ended:
            return f"{kind} between {self.least:g} and {self.most:g}, without these"
        return f"{kind} from {self.least:g} to {self.most:g}"


SHARE: Final = Number(0, 1, open_ended=True)
SECONDS: Final = Number(0.001, 86_400)

NUMBERS: Final = {
    "mean_days_between_false_pages": Number(1, 36_500),
    "quiet_hours": Number(0, HOURS_A_YEAR),
    "hold_hours": Number(0, HOURS_A_YEAR),
    "fast_hours": Number(1, 9600, whole=True),
    "slow_hours": Number(1, 9600, whole=True),
}
"""Those that are fields of `Rule`."""

OPTIONS: Final = {
    "delivery_latency": {
        "percentile": SHARE,
    },
    "traffic_stopped": {
        "weeks": Number(2, 52, whole=True),
        "least_expected": Number(0.01, 1e9),
        "silent_minutes": Number(1, 1440),
    },
    "dmarc_failure": {
        "messages": Number(1, 1e12, whole=True),
        "new_days": Number(1, 365, whole=True),
        "learn_days": Number(0, 365, whole=True),
    },
    "unexpected_relay": {
        "mails": Number(1, 1e12, whole=True),
        "hours": Number(1, HOURS_A_YEAR, whole=True),
    },
    "pipeline": {
        "dead_letters": Number(1, 1e9, whole=True),
        "dead_letters_minutes": Number(1, 1440),
        "oldest_message_s": Number(1, 1_209_600),
        "backlog_messages": Number(1, 1e9, whole=True),
        "backlog_s": Number(1, 1_209_600),
        "consumer_lag": Number(1, 1e12, whole=True),
        "sink_behind_s": Number(1, 1_209_600),
    },
}
"""Of the signals that are surveyed: what goes to `Rule.options`. An SQS message lives 14 days at the most."""


def keys_of(signal: str) -> tuple[str, ...]:
    """The keys that a rule of a signal may have."""
    if signal == DRIFT:
        own: tuple[str, ...] = ("of", "notice", *_TESTED)
    elif signal in LIMITED:
        own = (*LIMITS, *_TESTED)
    elif signal == "traffic_stopped":
        own = ("severity", "mean_days_between_false_pages")
    else:
        own = ("severity",)
    found = (*SHARED, *own, *OPTIONS.get(signal, ()))
    return tuple(key for key in found if key != "dimensions" or signal not in OWN_DIMENSIONS)


EVERY: Final = tuple(dict.fromkeys(key for signal in SIGNALS for key in keys_of(signal)))
"""All keys there are."""
