"""What `ses-streams report` says of alarms: incidents that are open, those that ended lately, and pages that failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from connectors.reports.figures import ask, table
from schemas.alarms import RATE_SIGNALS, SEVERITIES, UNITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from connectors.clickhouse.sql import Target

_MOST: Final = 20
_LONGEST: Final = 100
_WORST_FIRST: Final = f"indexOf([{', '.join(repr(each) for each in SEVERITIES)}], severity) DESC"
_COLUMNS: Final = (
    "severity, state, signal, alarm_key, formatDateTime(opened_time, '%Y-%m-%d %H:%i'), rate, rate_low, rate_high,"
    " limit, driver, acknowledged_by, silenced_until > now64(3),"
    " ifNull(formatDateTime(resolved_time, '%Y-%m-%d %H:%i'), '')"
)
# Event time: a replay has its own last day.
_NEWEST: Final = """
greatest(
    (SELECT max(time) FROM alarm_rows), (SELECT max(event_time) FROM event_rows WHERE event_time <= now64(3)))
"""
_OPEN: Final = f"""
SELECT {_COLUMNS} FROM incidents WHERE resolved_time IS NULL AND severity != 'notice'
ORDER BY {_WORST_FIRST}, opened_time, alarm_key
"""  # noqa: S608 - constants
_RESOLVED: Final = f"""
SELECT {_COLUMNS} FROM incidents WHERE resolved_time > {_NEWEST} - INTERVAL 24 HOUR AND severity != 'notice'
ORDER BY {_WORST_FIRST}, resolved_time DESC, alarm_key
"""  # noqa: S608 - constants
_UNDELIVERED: Final = """
SELECT target, countIf(outcome = 'failed'), countIf(outcome = 'retrying'), argMax(detail, time)
FROM alarm_actions
WHERE outcome IN ('failed', 'retrying') AND action IN ('page', 'update', 'resolve') AND time > now64(3) - INTERVAL 7 DAY
GROUP BY target ORDER BY target
"""


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident."""

    severity: str
    state: str
    signal: str
    alarm_key: str
    opened: str
    """Event time, minutes, UTC; as is `resolved`."""
    rate: float | None
    """In the unit of the signal, as are its 95 % limits and the limit."""
    rate_low: float | None
    rate_high: float | None
    limit: float | None
    driver: str
    """What stands out most; empty: nothing, or not known."""
    acknowledged_by: str
    silenced: bool
    resolved: str
    """Empty: it is open."""


@dataclass(frozen=True, slots=True)
class Undelivered:
    """Messages of a route in the last seven days."""

    route: str
    failed: int
    """Given up."""
    retrying: int
    detail: str
    """Why the last was not taken."""


@dataclass(frozen=True, slots=True)
class Alarms:
    """The section."""

    open: tuple[Incident, ...]
    """The worst first; without those of severity `notice`, which are told among the notices."""
    resolved: tuple[Incident, ...]
    """Of the last 24 h of event time."""
    undelivered: tuple[Undelivered, ...]


def alarms(target: Target) -> Alarms:
    """Ask ClickHouse.

    Raises:
        ClickHouseError: it does not answer.
    """
    undelivered = ask(target, _UNDELIVERED)
    return Alarms(
        open=tuple(map(_incident, ask(target, _OPEN))),
        resolved=tuple(map(_incident, ask(target, _RESOLVED))),
        undelivered=tuple(
            Undelivered(str(route), int(failed), int(retrying), str(detail))
            for route, failed, retrying, detail in undelivered
        ),
    )


def render(found: Alarms) -> list[str]:
    """Sections of plain text."""
    sections = [_table("open alarms", "state", found.open)] if found.open else ["no open alarms"]
    if found.resolved:
        sections.append(_table("resolved in 24 h", "until (UTC)", found.resolved))
    if found.undelivered:
        header = ("pages of alarms by", "given up", "retrying", "because")
        rows = [
            (each.route, f"{each.failed:,}", f"{each.retrying:,}", " ".join(each.detail.split())[:_LONGEST])
            for each in found.undelivered
        ]
        sections.append(table([header, *rows]))
    return sections


def shown(signal: str, value: float | None) -> str:
    """What was measured, in the unit of the signal."""
    if value is None:
        return "-"
    if signal in RATE_SIGNALS:
        return f"{value:.3%}"
    return f"{value:,.4g} {UNITS.get(signal, '')}".rstrip()


def _table(title: str, fourth: str, incidents: Sequence[Incident]) -> str:
    rows = [(title, "severity", "since (UTC)", fourth, "rate (95 %)", "limit", "driver")]
    rows += [
        (
            each.alarm_key,
            each.severity,
            each.opened,
            each.resolved or _state(each),
            _measured(each),
            shown(each.signal, each.limit),
            each.driver,
        )
        for each in incidents[:_MOST]
    ]
    more = len(incidents) - _MOST
    return table(rows) + (f"\nand {more:,} more" if more > 0 else "")


def _measured(incident: Incident) -> str:
    text = shown(incident.signal, incident.rate)
    if incident.rate_low is None or incident.rate_high is None:
        return text
    return f"{text} ({shown(incident.signal, incident.rate_low)} to {shown(incident.signal, incident.rate_high)})"


def _state(incident: Incident) -> str:
    words = [incident.state]
    if incident.acknowledged_by:
        words.append(f"acknowledged by {incident.acknowledged_by}")
    if incident.silenced:
        words.append("silenced")
    return ", ".join(words)


def _incident(row: Sequence[Any]) -> Incident:
    severity, state, signal, key, opened, rate, low, high, limit, driver, by, silenced, resolved = row
    return Incident(
        severity=str(severity),
        state=str(state),
        signal=str(signal),
        alarm_key=str(key),
        opened=str(opened),
        rate=rate,
        rate_low=low,
        rate_high=high,
        limit=limit,
        driver=str(driver),
        acknowledged_by=str(by),
        silenced=bool(silenced),
        resolved=str(resolved),
    )
