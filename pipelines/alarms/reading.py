"""`Reading`: what a test says of one alarm key at one instant of event time; all that the state machine looks at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from schemas.alarms import Severity


@dataclass(frozen=True, slots=True)
class Reading:
    """At `time`."""

    time: int
    """Event time, ms."""
    proven: Severity | None = None
    """The worst severity whose limit is proven to be exceeded; None: none is."""
    relapsed: bool = False
    """While recovering: evidence, since the recovery began, that it is not over. Weaker than `proven`, for it opens
    no incident."""
    clean_since: int | None = None
    """Cohort hour (seconds) since which it is proven to be within the limits again; None: it is not."""
    last_hit: int = 0
    """End of the latest cohort hour with a hit, or event time of the latest hit where that is known, ms; 0: none.
    Without any for long an incident is over, for want of traffic or of trouble."""
    rate: float | None = None
    """Over the hours that the evidence is strongest for; None: no data."""
    limit: float | None = None
    """Of the severity proven, else of the least."""
    e_value: float | None = None
    """Against the limit named; None: the signal has none."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What else goes into the evidence, JSON-able."""
