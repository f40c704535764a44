"""`Rule`: what an alarm is about, and when there is one."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import TYPE_CHECKING

from schemas.alarms import SEVERITIES, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping


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
    severity: Severity = "warning"
    """Of signals without limits (`traffic_stopped`, `pipeline`)."""
    mean_days: float = 365.0
    """Mean time between false pages of a key, at the least."""
    fast_hours: int = 6
    slow_hours: int = 336
    quiet_hours: float = 48.0
    """An incident without hits for so long is recovering."""
    hold_hours: float = 6.0
    """A recovery that lasts so long is the end."""
    options: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    """Of signals that are surveyed: what `pipelines.alarms.rule_keys.OPTIONS` lists, each with a value."""

    @property
    def threshold(self) -> float:
        """Evidence that makes an alarm: hours between false pages."""
        return 24.0 * self.mean_days

    @property
    def limits(self) -> tuple[tuple[Severity, float], ...]:
        """Severities with their limits, least first."""
        found = ((severity, getattr(self, severity)) for severity in SEVERITIES)
        return tuple((severity, limit) for severity, limit in found if limit is not None)

    def covers(self, value: str) -> bool:
        """Whether it is for a value of its dimensions. Upper and lower case differ."""
        return any(fnmatchcase(value, pattern) for pattern in self.values) and not any(
            fnmatchcase(value, pattern) for pattern in self.except_values
        )


@dataclass(frozen=True, slots=True)
class Source:
    """Where a rule stands."""

    file: str
    line: int
    dimension_lines: Mapping[str, int]
    """Of the dimensions that it names itself."""
    slow_hours_line: int = 0
    """0: it does not say."""
