"""What the watch asks ClickHouse about received mail. Copies of a mail are one (FINAL) where mails are counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from connectors.clickhouse.literals import text
from connectors.reports.figures import ask
from connectors.watch.asking import Newest
from pipelines.alarms.relays import HOUR_MS, Hour, Originator, name_of
from schemas.counters import OTHER_VALUE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from connectors.clickhouse.sql import Target

_UNEXPECTED: Final = "relay = 'unexpected'"
_SECONDS: Final = "toUnixTimestamp64Second(toDateTime64({}, 0))"
_RECEIVED: Final = "toUnixTimestamp64Milli(received)"
_FACTS: Final = (
    "sample_mail_ids",
    "to_tenants",
    "from_domains",
    "envelope_domains",
    "source_ips",
)
_SHOWN: Final = 5
"""Of each in the evidence; its query shows the rest."""
_NAMED: Final = 50
"""Ways to write an organisation that the query for people names."""


@dataclass(frozen=True, slots=True)
class Mails:
    """How far received mail goes."""

    newest: Newest
    unexpected_landed: int
    """When a mail of an unexpected relay landed last, ms; 0: none has."""


def newest_mail(target: Target, now: int) -> Mails | None:
    """How far mails go that were not received after `now` (ms); None: there are none.

    Raises:
        ClickHouseError: as all the functions here, when nothing answers or it refuses.
    """
    rows = ask(
        target,
        f"SELECT {_SECONDS.format('max(received)')}, {_SECONDS.format('argMax(landed, received)')}, count(),"  # noqa: S608
        f" toUnixTimestamp64Milli(maxIf(landed, {_UNEXPECTED}))"
        f" FROM mail_rows WHERE mail AND received <= {_ms(now)}",
    )
    received, landed, number, unexpected = map(int, rows[0])
    # A clock of data goes to the end of the hour named: here to that of the second of the newest mail.
    return Mails(Newest(received + 1 - 3600, landed), unexpected) if number else None


def unexpected(target: Target, since: int, now: int, most: int) -> tuple[list[Originator], bool]:
    """Organisations that mail names without being expected, the busiest first; and whether there are more.

    Args:
        target: where ClickHouse is.
        since: mails received before are not looked at, ms.
        now: mails received later are not either, ms.
        most: so many organisations, as mails write them.
    """
    within = f"{_UNEXPECTED} AND received >= {_ms(since)} AND received <= {_ms(now)}"
    rows = ask(
        target,
        f"""
SELECT org, groupArray((hour, last, mails)), sum(mails) AS every,
    {", ".join(f"arraySlice(arrayDistinct(arrayFlatten(groupArray({name}))), 1, {_SHOWN})" for name in _FACTS)}
FROM
(
    SELECT lowerUTF8(toString(originator_org)) AS org,
        intDiv({_RECEIVED}, {HOUR_MS}) * {HOUR_MS} AS hour, max({_RECEIVED}) AS last, count() AS mails,
        groupArray({_SHOWN})(lower(hex(mail_id))) AS sample_mail_ids,
        groupUniqArray({_SHOWN})(toString(tenant)) AS to_tenants,
        groupUniqArray({_SHOWN})(toString(from_domain)) AS from_domains,
        groupUniqArray({_SHOWN})(toString(envelope_domain)) AS envelope_domains,
        groupUniqArray({_SHOWN})(
            extract(arrayStringConcat(authentication_results, ' '), {_CLIENT})) AS source_ips
    FROM mail_rows FINAL
    WHERE mail AND {within} AND mail_id IN (SELECT mail_id FROM mail_rows WHERE {within})
    GROUP BY org, hour
)
GROUP BY org
ORDER BY every DESC, org
LIMIT {most + 1}""",  # noqa: S608 - numbers and constants
    )
    return [_originator(row) for row in rows[:most]], len(rows) > most


_CLIENT: Final = r"'\\bclient-ip=([0-9A-Fa-f.:]{2,45})'"
"""Of the results that SES writes."""


def query(originator: Originator) -> str:
    """For people: the mails themselves."""
    since = min((hour.begin for hour in originator.hours), default=0)
    return (
        "SELECT mail_id, received_time, originator_org, to_tenant, from_address, from_domain, envelope_domain, subject,"  # noqa: S608
        " verdicts, authentication_results, object"
        f" FROM mails WHERE {_UNEXPECTED} AND received_time >= {_ms(since)}{_of(originator)}"
        " ORDER BY received_time DESC LIMIT 100"
    )


def _of(originator: Originator) -> str:
    if originator.name == OTHER_VALUE or len(originator.claimed) > _NAMED:
        return ""
    return f" AND lowerUTF8(originator_org) IN ({', '.join(map(text, originator.claimed))})"


def _originator(row: Sequence[Any]) -> Originator:
    claimed, hours, _, *facts = row
    return Originator(
        name_of(claimed),
        (claimed,),
        tuple(Hour(int(begin), int(last), int(mails)) for begin, last, mails in hours),
        {name: tuple(filter(None, values)) for name, values in zip(_FACTS, facts, strict=True)},
    )


def _ms(time: int) -> str:
    return f"fromUnixTimestamp64Milli(toInt64({time}))"
