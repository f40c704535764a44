"""Alarms and rules as tables for people."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from connectors.notify.text import text
from pipelines.alarms.rule_keys import LIMITED, OWN_DIMENSIONS
from pipelines.alarms.rules import OWN
from pipelines.alarms.transition import evidence_of
from schemas.alarms import RATE_SIGNALS, UNITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from connectors.alarms.current import Current
    from pipelines.alarms.rules import Rule, Rules
    from schemas.alarms import Alarm

_SHARES: Final = frozenset(RATE_SIGNALS)
_TIME: Final = "%Y-%m-%d %H:%M"
_DIGITS: Final = 2
_LONGEST: Final = 40


def of_rules(rules: Rules) -> str:
    """What is in force: a rule a line, and below it what only some have."""
    rows: list[tuple[str, ...]] = [
        (
            "rule",
            "signal",
            "dimensions",
            "notice",
            "warning",
            "critical",
            "false pages",
            "looks back",
            "quiet",
            "hold",
            "from",
        )
    ]
    for rule in rules.in_force:
        of = f" of {rule.of}" if rule.of else ""
        source = rules.source(rule.name)
        rows.append(
            (
                rule.name,
                f"{rule.signal}{of}",
                ", ".join(rule.dimensions),
                *(_limit(rule, severity) for severity in ("notice", "warning", "critical")),
                _mean(rule),
                f"{rule.slow_hours} h" if rule.signal in LIMITED else "-",
                f"{rule.quiet_hours:g} h",
                f"{rule.hold_hours:g} h",
                "own" if source.file == OWN else f"{source.file}:{source.line}",
            )
        )
    lines = aligned(rows).splitlines()
    found = lines[:1]
    for rule, line in zip(rules.in_force, lines[1:], strict=True):
        found += [line, *(f"    {each}" for each in _particulars(rule))]
    return "\n".join(found)


def of_current(found: Sequence[Current], now_ms: int) -> str:
    """An alarm a line."""
    rows = [("state", "severity", "since (UTC)", "rate", "limit", "e-value", "who", "alarm")]
    for each in found:
        last = each.last
        since = last["opened_time"] if each.is_open else last["time"]
        rows.append(
            (
                last["state"],
                last["severity"] or "-",
                moment(since),
                _measured(last, last["rate"]),
                _measured(last, last["limit"]),
                _e_value(last),
                _who(each, now_ms),
                last["alarm_key"],
            )
        )
    return aligned(rows)


def of_history(alarms: Sequence[Alarm]) -> str:
    """All transitions of a key, then the evidence of the last one that has any."""
    rows = [("seq", "time (UTC)", "state", "severity", "cause", "incident", "rate", "limit", "e-value", "by")]
    notes = []
    for each in alarms:
        rows.append(
            (
                str(each["seq"]),
                moment(each["time"]),
                each["state"],
                each["severity"] or "-",
                _cause(each),
                str(each["incident"] or "-"),
                _measured(each, each["rate"]),
                _measured(each, each["limit"]),
                _e_value(each),
                each["operator"] or "-",
            )
        )
        if note := evidence_of(each).get("note"):
            notes.append(f"{each['seq']}: {note}")
    lines = [aligned(rows)]
    if notes:
        lines += ["", "Notes:", *(f"  {each}" for each in notes)]
    told = [each for each in alarms if "order_id" not in (known := evidence_of(each)) and known]
    if told:
        last = told[-1]
        lines += ["", f"Evidence of {last['seq']}:", text("update", last, evidence_of(last))]
    return "\n".join(lines)


def quantity(signal: str, value: float | None) -> str:
    """In the unit of a signal."""
    if value is None:
        return "-"
    if signal in _SHARES:
        return f"{_short(100 * value)} %"
    return f"{_short(value)} {UNITS.get(signal, '')}".rstrip()


def moment(ms: int) -> str:
    """A time, UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime(_TIME) if ms else "-"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns to the left, two blanks apart."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _limit(rule: Rule, severity: str) -> str:
    if rule.limits:
        return quantity(rule.signal, dict(rule.limits).get(severity))  # type: ignore[call-overload]
    return "yes" if rule.severity == severity else "-"


def _mean(rule: Rule) -> str:
    return "-" if rule.signal in OWN_DIMENSIONS else f"1 in {rule.mean_days:g} d"


def _particulars(rule: Rule) -> list[str]:
    found = []
    if not rule.values:
        found.append("values: none yet, so it is for nothing")
    elif rule.values != ("*",):
        found.append(f"values: {', '.join(rule.values)}")
    if rule.except_values:
        found.append(f"except: {', '.join(rule.except_values)}")
    if rule.options:
        found.append(", ".join(f"{name} {value:g}" for name, value in rule.options.items()))
    return found


def _measured(alarm: Alarm, value: float | None) -> str:
    return quantity(alarm["signal"], value)


def _e_value(alarm: Alarm) -> str:
    return "-" if alarm["e_value"] is None else f"{alarm['e_value']:.3g}"


def _cause(alarm: Alarm) -> str:
    until = alarm["silenced_until"]
    return f"silenced until {moment(until)}" if alarm["cause"] == "silenced" else alarm["cause"]


def _who(each: Current, now_ms: int) -> str:
    found = []
    if each.acknowledged_by:
        found.append(each.acknowledged_by)
    if each.last["silenced_until"] > now_ms:
        found.append(f"silent until {moment(each.last['silenced_until'])}")
    return ", ".join(found)[:_LONGEST] or "-"


def _short(value: float) -> str:
    """Two digits or all of the whole ones, without an exponent."""
    if value == 0 or abs(value) >= 10 ** (_DIGITS - 1):
        return f"{value:,.1f}".removesuffix(".0")
    places = min(8, _DIGITS - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{places}f}".rstrip("0").rstrip(".")
