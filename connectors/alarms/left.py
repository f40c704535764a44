"""Transitions that landed and that nobody will send again by itself, to be explained: for the first time, or anew.

`left_unexplained`: what an embedded instance that was killed had landed and not explained, for its broker forgot it.
`explained_of_open`: what open incidents rest on, for a page that fired on the first few hits may know no driver yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast, get_type_hints

from connectors.alarms.explaining import CAUSES, wanted
from connectors.clickhouse.literals import text
from schemas.alarms import RATE_SIGNALS, Alarm

if TYPE_CHECKING:
    from connectors.clickhouse.client import Client

MOST: Final = 1000
_MS: Final = frozenset({"time", "opened_time", "silenced_until", "written_time"})


_OF_OPEN: Final = (
    "(r.alarm_key, r.incident) IN (SELECT alarm_key, incident FROM incidents WHERE resolved_time IS NULL)"
)


def left_unexplained(client: Client) -> list[Alarm]:
    """Transitions of revision 0 that are wanted, of incidents that are open; the latest first.

    Raises:
        clickhouse_connect.driver.exceptions.Error: as ClickHouse answers.
    """
    found = _transitions(client, f"r.revision = 0 AND {_OF_OPEN} ORDER BY r.time DESC LIMIT {MOST}")
    return [alarm for alarm in found if wanted(alarm)]


def explained_of_open(client: Client) -> list[Alarm]:
    """Of each incident that is open, and no mere notice, the last transition that was explained.

    Raises:
        clickhouse_connect.driver.exceptions.Error: as ClickHouse answers.
    """
    last = "ORDER BY r.seq DESC LIMIT 1 BY r.alarm_key, r.incident"
    return _transitions(
        client, f"r.severity != 'notice' AND {_OF_OPEN} {last} LIMIT {MOST}", "r.revision > 0"
    )


def _transitions(client: Client, condition: str, last: str = "1") -> list[Alarm]:
    """Firing transitions.

    Args:
        client: where.
        condition: on the rows, and what follows it.
        last: a condition on what is left.
    """
    names = list(get_type_hints(Alarm))
    causes = ", ".join(text(cause) for cause in sorted(CAUSES))
    signals = ", ".join(map(text, RATE_SIGNALS))
    rows = client.query(
        f"SELECT {', '.join(map(_column, names))} FROM (SELECT * FROM alarm_rows AS r FINAL"  # noqa: S608 - constants
        f" WHERE r.state = 'firing' AND r.cause IN ({causes}) AND r.signal IN ({signals}) AND {condition}) AS r"
        f" WHERE {last} ORDER BY r.time DESC"
    ).result_rows
    return [_alarm(dict(zip(names, row, strict=True))) for row in rows]


def _column(name: str) -> str:
    if name in _MS:
        return f"toUnixTimestamp64Milli(r.{name})"
    # Bytes that are no UTF-8.
    return "hex(r.machine)" if name == "machine" else f"r.{name}"


def _alarm(fields: dict[str, Any]) -> Alarm:
    return cast("Alarm", {**fields, "machine": bytes.fromhex(fields["machine"])})
