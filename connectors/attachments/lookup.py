"""`found_in`: which received mails have an attachment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from connectors.attachments.store import path_of
from connectors.clickhouse.literals import text
from connectors.clickhouse.sql import run_sql

if TYPE_CHECKING:
    from connectors.clickhouse.sql import Target

_MOST: Final = 20
_QUERY: Final = """
SELECT
    mail_id, toUnixTimestamp64Milli(received_time) AS received, kind, from_domain, subject,
    attachment.1 AS name, attachment.2 AS content_type, attachment.3 AS size, attachment.5 AS key,
    count() OVER () AS total
FROM mails
ARRAY JOIN arrayFilter(each -> each.4 = {hash}, attachments) AS attachment
ORDER BY received DESC, mail_id, name
LIMIT {most}
"""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A mail that has it, and what it is called there."""

    mail_id: str
    received: int
    """Ms."""
    kind: str
    from_domain: str
    subject: str
    name: str
    content_type: str
    size: int
    key: str
    """Where it was put then; empty: it was not kept."""


@dataclass(frozen=True, slots=True)
class Sightings:
    """The newest, and how many there are."""

    newest: tuple[Sighting, ...]
    total: int


def found_in(target: Target, sha256: str) -> Sightings:
    """The mails that have a content, the newest first.

    Raises:
        ClickHouseError: it does not answer.
        ValueError: it is no SHA-256.
    """
    path_of(sha256)
    query = _QUERY.format(hash=text(sha256), most=_MOST)
    rows: list[dict[str, Any]] = [
        msgspec.json.decode(line) for line in b"".join(run_sql(query, "JSONEachRow", target)).splitlines()
    ]
    # 64-bit numbers may come as text, as the server is set up.
    newest = tuple(msgspec.convert(row, Sighting, strict=False) for row in rows)
    return Sightings(newest, int(rows[0]["total"]) if rows else 0)
