"""What ClickHouse knows before and after a replay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from connectors.clickhouse.sql import Target

_SQL: Final = (
    "SELECT (SELECT count() FROM events WHERE origin NOT IN ('dsn', 'arf')) AS events,"
    " (SELECT uniqExactIf(mail_id, mail) FROM mail_rows) AS mails,"
    " (SELECT count() FROM dead_letters WHERE stage IN ('count', 'rate', 'sink')) AS later_letters"
)


def known(target: Target) -> dict[str, int]:
    """Distinct `events` that SES told of, `mails`, and dead letters of the stages behind the bridge."""
    from connectors.clickhouse.sql import run_sql

    (row,) = b"".join(run_sql(_SQL, "JSONEachRow", target)).splitlines()
    return {name: int(value) for name, value in msgspec.json.decode(row).items()}
