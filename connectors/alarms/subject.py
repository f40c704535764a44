"""`Subject`: what an alarm is about, as far as SQL needs to know it to explain the alarm."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from pipelines.alarms.signals import SHARES, Share
from schemas.counters import OTHER_VALUE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from schemas.alarms import Alarm

HOUR_S: Final = 3600
_DAY_S: Final = 24 * HOUR_S
_WORDS: Final = {
    "complaint_rate": ("complaints", "eligible deliveries"),
    "hard_bounce_rate": ("hard bounces", "sends"),
    "reject_rate": ("rejects", "sends"),
    "rendering_failure_rate": ("rendering failures", "attempts to send"),
    "reputation_block": ("reputation blocks", "sends"),
}


class Unexplained(Exception):  # noqa: N818 - it says what came of it
    """An alarm that nothing can be said of; the text is a sentence for people."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Cohort hours of a (dimension, value) in which hits are too many among trials."""

    dimension: str
    value: str
    signal: str
    """A key of `SHARES`; of a drift that of what drifts."""
    limit: float
    """Share of hits that there may be; 0: none is known."""
    since: int
    """First cohort hour of the evidence, seconds."""
    until: int
    """End of the last one, seconds."""

    @property
    def share(self) -> Share:
        """What is counted."""
        return SHARES[self.signal]

    @property
    def hit(self) -> str:
        """What people call the hits."""
        return _WORDS[self.signal][0]

    @property
    def trial(self) -> str:
        """What people call the trials."""
        return _WORDS[self.signal][1]


def subject_of(alarm: Alarm, evidence: Mapping[str, Any], until: int = 0) -> Subject:
    """What an alarm of a rate signal is about.

    Args:
        alarm: a transition.
        evidence: its evidence.
        until: end of the last cohort hour that there is now, seconds, where that is later than the alarm.

    Raises:
        Unexplained: it is about none, or about more than can be named.
    """
    signal = str(evidence.get("of") or "") if alarm["signal"] == "baseline_drift" else alarm["signal"]
    if signal not in SHARES:
        raise Unexplained(f"nothing is known of what makes up {signal or alarm['signal']}")
    if alarm["value"] == OTHER_VALUE:
        raise Unexplained(
            f"{OTHER_VALUE} stands for all values of {alarm['dimension']} beyond counting.dimension_cap"
        )
    until = max(until, -(-alarm["time"] // (HOUR_S * 1000)) * HOUR_S)
    since = _hour(evidence.get("since"))
    if since is None or since >= until:
        since = until - _DAY_S
    return Subject(alarm["dimension"], alarm["value"], signal, alarm["limit"] or 0.0, since, until)


def iso(second: int) -> str:
    """A time as evidence has it."""
    return datetime.fromtimestamp(second, UTC).isoformat()


def _hour(text: object) -> int | None:
    try:
        return int(datetime.fromisoformat(str(text)).timestamp()) // HOUR_S * HOUR_S
    except ValueError:
        return None
