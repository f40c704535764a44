"""What an embedded instance, whose Kafka forgets, finds in ClickHouse of mails that were sent on, or are to be."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from connectors.clickhouse.literals import text
from connectors.clickhouse.sql import run_sql
from connectors.errors import ClickHouseError
from schemas.forwards import FINAL, MailForward

if TYPE_CHECKING:
    from collections.abc import Iterator

    from connectors.clickhouse.sql import Target
    from schemas.mail import InboundMail

_LANDED_S: Final = 20.0
_LOOK_S: Final = 0.1
_ROWS: Final = """
SELECT lower(hex(mail_id)) AS mail_id, attempt, toUnixTimestamp64Milli(time) AS time, outcome
FROM mail_forward_rows FINAL ORDER BY time
"""
_MAILS: Final = """
SELECT mail_id, toUnixTimestamp64Milli(received_time) AS received_at, to_tenant AS tenant, ses_id, subject, object,
    kind, verdicts, if(has(paths, 'file') AND length(paths) = 1, 'file', '') AS path, recipients
FROM mails
WHERE received_time > fromUnixTimestamp64Milli(toInt64({since}))
    AND mail_id NOT IN (SELECT lower(hex(mail_id)) FROM mail_forward_rows WHERE outcome IN ({final}))
ORDER BY received_time
"""


def rows_of(target: Target) -> list[MailForward]:
    """The last row of every attempt; of each only what a ledger wants.

    Raises:
        ClickHouseError: it does not answer.
    """
    return [
        cast("MailForward", {**row, "mail_id": bytes.fromhex(row["mail_id"]), "time": int(row["time"])})
        for row in _lines(_ROWS, target)
    ]


def mails_of(target: Target, since_ms: int) -> list[InboundMail]:
    """Mails received since, that nothing final is known of; of each only what a forwarder wants.

    Raises:
        ClickHouseError: it does not answer.
    """
    query = _MAILS.format(since=int(since_ms), final=", ".join(map(text, sorted(FINAL))))
    found = []
    for row in _lines(query, target):
        # An alias like the column's name would take its place in WHERE.
        received, mail_id = int(row.pop("received_at")), bytes.fromhex(row["mail_id"])
        found.append(cast("InboundMail", {**row, "mail_id": mail_id, "received_time": received}))
    return found


def landed(target: Target, row: MailForward) -> bool:
    """Whether a row is in ClickHouse; waits for that a while."""
    query = (
        f"SELECT count() FROM mail_forward_rows WHERE mail_id = unhex({text(row['mail_id'].hex())})"  # noqa: S608 - quoted
        f" AND attempt = {text(row['attempt'])} AND time >= fromUnixTimestamp64Milli(toInt64({row['time']}))"
    )
    deadline = time.monotonic() + _LANDED_S
    while time.monotonic() < deadline:
        with contextlib.suppress(ClickHouseError):
            if int(b"".join(run_sql(query, "TSV", target))) > 0:
                return True
        time.sleep(_LOOK_S)
    return False


def _lines(query: str, target: Target) -> Iterator[dict[str, Any]]:
    for line in b"".join(run_sql(query, "JSONEachRow", target)).splitlines():
        yield msgspec.json.decode(line, type=dict[str, Any])
