"""What is planned for campaigns of the world, as alarms are to tell it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from connectors.simulator.expected import hours_of
from connectors.simulator.truth import HOUR_MS, Key, Truth

Ending = Literal["fires", "ends", "quiet", "no data"]
"""`ends`: fires, and is over within the simulated time."""

_CLEAN_TRIALS: Final = 130
"""Without a hit they show a rate below 5 %, beyond doubt: 0.95 ** 130 is a thousandth."""
_ROOM_H: Final = 14
"""Hours within which an incident that is proven to be over ends."""


@dataclass(frozen=True, slots=True)
class Story:
    """One campaign's."""

    campaign: str
    signal: str
    ending: Ending
    told: str
    """For people."""
    drivers: tuple[Key, ...] = ()
    """Each of them explains the excess, all of it: the strongest that is named has to be one of them."""

    @property
    def key(self) -> Key:
        """Dimension and value."""
        return "campaign", self.campaign


STORIES: Final = (
    Story(
        "black-friday",
        "complaint_rate",
        "fires",
        "a purchased list, mailed part-way",
        (("feedback_b", "purchased-list"), ("provider", "yahoo")),
    ),
    Story("winback-2019-list", "hard_bounce_rate", "ends", "addresses of 2019, cleaned later"),
    Story("loyalty-pilot", "complaint_rate", "quiet", "one complaint among few"),
    Story("android-beta", "complaint_rate", "no data", "all at Gmail"),
)


def has_ended(truth: Truth, story: Story, now_ms: int) -> bool:
    """Whether so much went well after the last hit, so long ago, that an incident has to be over."""
    hours = hours_of(truth, story.key, story.signal)
    last = max((each.hour for each in hours if each.hits), default=0)
    clean = 0
    for each in hours:
        clean += each.trials if each.hour > last else 0
        if clean >= _CLEAN_TRIALS:
            return each.hour + _ROOM_H <= now_ms // HOUR_MS
    return False
