"""What ClickHouse knows before and after a replay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from connectors.clickhouse.sql import Target

_SQL: Final = (
    "SELECT (SELECT count() FROM events) AS events,"
    " (SELECT count() FROM dead_letters WHERE stage IN ('count', 'rate', 'sink')) AS later_letters"
)


def known(target: Target) -> dict[str, int]:
    """Distinct `events`, and `later_letters`: dead letters of the stages behind the bridge."""
    from connectors.clickhouse.sql import run_sql

    (row,) = b"".join(run_sql(_SQL, "JSONEachRow", target)).splitlines()
    return {name: int(value) for name, value in msgspec.json.decode(row).items()}
