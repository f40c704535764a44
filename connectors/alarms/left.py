"""`left_unexplained`: what an embedded instance that was killed had landed and not explained: its broker forgot it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast, get_type_hints

from connectors.alarms.explaining import CAUSES, wanted
from connectors.clickhouse.literals import text
from schemas.alarms import Alarm

if TYPE_CHECKING:
    from connectors.clickhouse.client import Client

MOST: Final = 1000
_MS: Final = frozenset({"time", "opened_time", "silenced_until", "written_time"})


def left_unexplained(client: Client) -> list[Alarm]:
    """Transitions of revision 0 that are wanted, of incidents that are open; the latest first.

    Raises:
        clickhouse_connect.driver.exceptions.Error: as ClickHouse answers.
    """
    names = list(get_type_hints(Alarm))
    causes = ", ".join(text(cause) for cause in sorted(CAUSES))
    rows = client.query(
        f"SELECT {', '.join(map(_column, names))} FROM alarm_rows AS r FINAL"  # noqa: S608 - names and constants
        f" WHERE r.revision = 0 AND r.state = 'firing' AND r.cause IN ({causes})"
        " AND (r.alarm_key, r.incident) IN (SELECT alarm_key, incident FROM incidents WHERE resolved_time IS NULL)"
        f" ORDER BY r.time DESC LIMIT {MOST}"
    ).result_rows
    found = [_alarm(dict(zip(names, row, strict=True))) for row in rows]
    return [alarm for alarm in found if wanted(alarm)]


def _column(name: str) -> str:
    if name in _MS:
        return f"toUnixTimestamp64Milli(r.{name})"
    # Bytes that are no UTF-8.
    return "hex(r.machine)" if name == "machine" else f"r.{name}"


def _alarm(fields: dict[str, Any]) -> Alarm:
    return cast("Alarm", {**fields, "machine": bytes.fromhex(fields["machine"])})
