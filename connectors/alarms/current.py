"""What has become of alarms, as view `alarms` has it: the state of each key, and all transitions of one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

import msgspec

from connectors.clickhouse.literals import text
from connectors.clickhouse.sql import run_sql
from connectors.errors import ClickHouseError
from schemas.alarms import SEVERITIES, Alarm

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from connectors.clickhouse.sql import Target

OPEN: Final = ("firing", "recovering")
"""States with an open incident."""
_COLUMNS: Final = (
    "alarm_key, seq, toUnixTimestamp64Milli(time), state, severity, signal, dimension, value, rate, limit, e_value,"
    " evidence, rule, incident, ifNull(toUnixTimestamp64Milli(opened_time), 0), cause, operator,"
    " ifNull(toUnixTimestamp64Milli(silenced_until), 0), toUnixTimestamp64Milli(written_time)"
)
_NAMES: Final = (
    *(
        "alarm_key",
        "seq",
        "time",
        "state",
        "severity",
        "signal",
        "dimension",
        "value",
        "rate",
        "limit",
        "e_value",
    ),
    *("evidence", "rule", "incident", "opened_time", "cause", "operator", "silenced_until", "written_time"),
)
_WHOLE: Final = frozenset({"seq", "time", "incident", "opened_time", "silenced_until", "written_time"})
_MOST_NEAR: Final = 3


@dataclass(frozen=True, slots=True)
class Current:
    """An alarm key as it is now."""

    last: Alarm
    """Its last transition. `revision` and `machine` are not of the view, and empty here."""
    acknowledged_by: str = ""
    """Of the incident that is open; empty: nobody."""

    @property
    def is_open(self) -> bool:
        """Whether an incident is open."""
        return self.last["state"] in OPEN


def current(target: Target, key: str = "") -> list[Current]:
    """All alarm keys, or one: the open ones first, of these the worst, of equals the youngest.

    Raises:
        ClickHouseError: it does not answer.
    """
    where = f"WHERE alarm_key = {text(key)}" if key else ""
    rows = _ask(target, f"SELECT {_COLUMNS} FROM alarms {where} ORDER BY seq DESC LIMIT 1 BY alarm_key")  # noqa: S608
    found = [Current(_alarm(row)) for row in rows]
    if any(each.is_open for each in found):
        acks = _ask(
            target,
            "SELECT alarm_key, incident, argMax(operator, seq) FROM alarms WHERE cause = 'acknowledged'"
            " GROUP BY alarm_key, incident",
        )
        by = {(str(name), int(incident)): str(operator) for name, incident, operator in acks}
        found = [_acknowledged(each, by) for each in found]
    return sorted(found, key=_urgency)


def history(target: Target, key: str) -> list[Alarm]:
    """All transitions of a key, the first one first.

    Raises:
        ClickHouseError: it does not answer, or knows no such key.
    """
    rows = _ask(target, f"SELECT {_COLUMNS} FROM alarms WHERE alarm_key = {text(key)} ORDER BY seq")  # noqa: S608
    if not rows:
        raise unknown(target, key)
    return [_alarm(row) for row in rows]


def unknown(target: Target, key: str) -> ClickHouseError:
    """The error for a key that nothing ever happened to; names some that are like it."""
    known = [str(row[0]) for row in _ask(target, "SELECT DISTINCT alarm_key FROM alarms")]
    if near := near_names(key, known):
        return ClickHouseError(f"there is no alarm {key}; did you mean {' or '.join(near)}?")
    return ClickHouseError(
        f"there is no alarm {key}: see `ses-streams alarms list --all` for those there are"
    )


def near_names(key: str, known: Iterable[str]) -> list[str]:
    """Keys that have what was given in them, else those spelt much like it."""
    names = sorted(known)
    within = [name for name in names if key.lower() in name.lower()] if key else []
    return (within or get_close_matches(key, names, n=_MOST_NEAR, cutoff=0.6))[:_MOST_NEAR]


def done(target: Target, key: str, order_id: str) -> Alarm | None:
    """The transition that an order made; None: it has not come yet.

    Raises:
        ClickHouseError: it does not answer.
    """
    rows = _ask(
        target,
        f"SELECT {_COLUMNS} FROM alarms WHERE alarm_key = {text(key)}"  # noqa: S608 - a literal
        f" AND JSONExtractString(evidence, 'order_id') = {text(order_id)} ORDER BY seq LIMIT 1",
    )
    return _alarm(rows[0]) if rows else None


def _acknowledged(each: Current, by: Mapping[tuple[str, int], str]) -> Current:
    """With who acknowledged the incident that is open."""
    if not each.is_open:
        return each
    return replace(each, acknowledged_by=by.get((each.last["alarm_key"], each.last["incident"]), ""))


def _urgency(each: Current) -> tuple[bool, int, int, str]:
    severity = each.last["severity"]
    rank = next((index for index, name in enumerate(SEVERITIES) if name == severity), -1)
    return not each.is_open, -rank if each.is_open else 0, -each.last["time"], each.last["alarm_key"]


def _ask(target: Target, sql: str) -> list[list[Any]]:
    answer = b"".join(run_sql(sql, "JSONCompactEachRow", target))
    return [msgspec.json.decode(line) for line in answer.splitlines() if line]


def _alarm(row: list[Any]) -> Alarm:
    """64-bit numbers may come as text, as the server is set up."""
    fields = {name: int(value) if name in _WHOLE else value for name, value in zip(_NAMES, row, strict=True)}
    return Alarm(**{"revision": 0, "machine": b"", **fields})  # type: ignore[typeddict-item]
