"""The state of one alarm key: what happens in it, and what of that is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schemas.alarms import Severity, State


@dataclass(frozen=True, slots=True)
class Machine:
    """What is remembered of an alarm key."""

    seq: int = 0
    """Of its last transition."""
    state: State = "ok"
    severity: Severity | None = None
    """The worst of the incident; None: there is none."""
    incident: int = 0
    """`seq` of the transition that opened it; 0: none is open."""
    opened: int = 0
    """Event time, ms."""
    changed: int = 0
    """Event time of the last transition, ms: nothing is evaluated at or before it."""
    since: int = 0
    """Cohort hour (seconds) from which on evidence counts."""
    clean_since: int = 0
    """Of a recovery: the cohort hour (seconds) from which on a relapse is looked for."""
    acknowledged_by: str = ""
    silenced_until: int = 0
    """ms; 0: not silenced."""
    orders: tuple[str, ...] = ()
    """Ids of the orders done last, so that none is done twice."""
