"""`Rule`: what an alarm is about, and when."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; see docs/alarms.md for the file."""

    name: str
    """Unique; the first part of its alarm keys."""
    signal: str
    """One of `schemas.alarms.SIGNALS`."""
    dimensions: tuple[str, ...] = ()
    values: tuple[str, ...] = ("*",)
    """Patterns (`fnmatch`) of the values it is for."""
    except_values: tuple[str, ...] = ()
    of: str = ""
    """Of `baseline_drift`: the rate signal that drifts."""
    notice: float | None = None
    warning: float | None = None
    critical: float | None = None
    """Limits, in the unit of the signal; what has none has no such severity."""
    mean_days: float = 365.0
    """Mean time between false pages of a key, at the least."""
    fast_hours: int = 6
    slow_hours: int = 336
    quiet_hours: float = 48.0
    """An incident without hits for so long is recovering."""
    hold_hours: float = 6.0
    """A recovery that lasts so long is the end."""

    @property
    def threshold(self) -> float:
        """Evidence that makes an alarm: hours between false pages."""
        return 24.0 * self.mean_days
