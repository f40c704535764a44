"""`retain`: give the tables the TTL that the settings want."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from connectors.clickhouse.client import Client, error_code, sentence
from connectors.clickhouse.horizon import EVENTS, clause_of
from connectors.errors import ClickHouseError

if TYPE_CHECKING:
    from connectors.clickhouse.retention_settings import Retention

TABLES: Final = {
    "events": ((EVENTS, "sent_time"), ("path_activity", "hour")),
    "rates": (("rate_rows", "hour"),),
    "mail": (("mail_rows", "received"), ("mail_forward_rows", "time")),
    "threads": (("thread_rows", "time"),),
    "outbound": (("outbound_rows", "sent_time"),),
    "reports": (("dmarc_rows", "end_time"), ("tls_rows", "end_time")),
    "dead_letters": (("dead_letter_rows", "time"),),
    "postmaster": (("postmaster_rows", "day"),),
}
"""By setting, tables and the times that their rows go by. Not those that are the program's own memory of what it
told and did (alarms, actions on them): a number given anew would name two things."""
_OURS: Final = re.compile(r"(?:(?!toInterval).)* \+ toIntervalDay\((?P<days>\d+)\)", re.DOTALL)
_NEVER: Final = "toDateTime64('2090-01-01 00:00:00', 3, 'UTC')"
_UNKNOWN: Final = "toDateTime64('1980-01-01 00:00:00', 3, 'UTC')"
"""Nothing of ours is from before: such a time stands for none."""


def retain(client: Client, retention: Retention) -> tuple[str, ...]:
    """See that each table drops rows as the settings say; changes nothing where it does already.

    A TTL that moves or recompresses is an administrator's: it is left alone where the settings keep all.

    Returns:
        A sentence for each table that was changed.

    Raises:
        ClickHouseError: ClickHouse refuses, or a table has a TTL that is not ours and that would be lost.
    """
    said = []
    for name, tables in TABLES.items():
        wanted = getattr(retention, name)
        for table, column in tables:
            if sentence := _retain(client, table, column, wanted, name):
                said.append(sentence)
    return tuple(said)


def _retain(client: Client, table: str, column: str, wanted: int, name: str) -> str:
    present = _days(client, table)
    if present is None:
        if not wanted:
            return ""
        raise ClickHouseError(
            f"{table} has a TTL of its own, which does more than drop rows: leave retention.{name} out of the settings,"
            f" or remove that with ALTER TABLE {table} REMOVE TTL"
        )
    if present == wanted:
        return ""
    if table == EVENTS and present:
        # Before it changes: from then on nothing else says what may be gone.
        client.command(f"INSERT INTO event_horizons SELECT now64(3) - INTERVAL {present} DAY")
    change = f"MODIFY TTL {expression(column, wanted)}" if wanted else "REMOVE TTL"
    try:
        client.command(f"ALTER TABLE {table} {change}")
    except Exception as error:
        if error_code(error) is None:
            raise ClickHouseError(
                f"ClickHouse stopped answering at the TTL of {table}: run it again"
            ) from error
        # Another may have done it at the same time.
        if _days(client, table) != wanted:
            raise ClickHouseError(f"ClickHouse refuses the TTL of {table}: {sentence(error)}") from error
    after = f"for {wanted} days from {column} on" if wanted else "forever"
    before = f"for {present} days" if present else "forever"
    return f"{table} keeps rows {after}; it kept them {before}"


def expression(column: str, days: int) -> str:
    """The TTL of rows. Times beyond what a DateTime can say, or that say nothing, are never."""
    return f"toDateTime(if({column} < {_UNKNOWN}, {_NEVER}, least({column}, {_NEVER}))) + INTERVAL {days} DAY"


def _days(client: Client, table: str) -> int | None:
    """After how many days a table drops rows; 0: never. None: its TTL is not ours."""
    ((engine,),) = client.query(
        f"SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = '{table}'"  # noqa: S608
    ).result_rows
    clause = clause_of(engine)
    ours = _OURS.fullmatch(clause)
    return int(ours["days"]) if ours else None if clause else 0
