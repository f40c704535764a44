"""Recipient domains that no provider table knows, those with the most recipients first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from connectors.clickhouse.sql import run_sql
from pipelines.intake.providers import OTHER

if TYPE_CHECKING:
    from connectors.clickhouse.sql import Target


@dataclass(frozen=True, slots=True)
class UnknownDomain:
    """A domain and how often events named it."""

    domain: str
    recipients: int


def unknown_domains(target: Target, *, days: int, least: int, limit: int) -> list[UnknownDomain]:
    """Ask ClickHouse.

    Args:
        target: where.
        days: behind the newest event that is not of the future.
        least: recipients that make a domain worth a look-up.
        limit: domains at the most.

    Raises:
        ClickHouseError: it does not answer.
    """
    # Copies of an event that are not merged yet count twice: the order does not depend on it.
    query = f"""
SELECT domain, count() AS recipients
FROM
(
    SELECT arrayJoin(recipients) AS recipient, recipient.domain AS domain
    FROM event_rows
    WHERE event_type IN ('Send', 'Delivery')
        AND sent_time > (SELECT max(sent_time) FROM event_rows WHERE NOT future) - INTERVAL {days:d} DAY
)
WHERE recipient.provider = '{OTHER}' AND domain != ''
GROUP BY domain
HAVING recipients >= {least:d}
ORDER BY recipients DESC, domain
LIMIT {limit:d}
"""  # noqa: S608 - numbers and a constant
    text = b"".join(run_sql(query, "JSONCompactEachRow", target))
    rows = (msgspec.json.decode(line) for line in text.splitlines() if line)
    return [UnknownDomain(str(domain), int(recipients)) for domain, recipients in rows]
