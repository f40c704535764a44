"""What the watch asks ClickHouse about DMARC reports. Of copies of a row one counts (FINAL), where counts matter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from connectors.clickhouse.literals import text, tuples
from connectors.reports.figures import ask
from connectors.watch.asking import Newest
from pipelines.alarms.strangers import DAY_MS, Day, History, Source

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from connectors.clickhouse.sql import Target

_FAILING: Final = "NOT aligned AND NOT forwarded AND count > 0"
_DAYS: Final = (
    "greatest(round((toUnixTimestamp64Milli(end_time) - toUnixTimestamp64Milli(begin_time)) / 86400000), 1)"
)
_SHOWN: Final = 5
"""Addresses, reporters and domains in the evidence; its query shows the rest."""


def newest_report(target: Target, now: int) -> Newest | None:
    """How far reports go that do not end after `now` (ms); None: there are none.

    Raises:
        ClickHouseError: as all the functions here, when nothing answers or it refuses.
    """
    rows = ask(
        target,
        "SELECT max(toUnixTimestamp64Second(toDateTime64(end_time, 0))),"  # noqa: S608 - a number
        " argMax(toUnixTimestamp64Second(toDateTime64(landed, 0)), end_time), count()"
        f" FROM dmarc_rows WHERE end_time <= fromUnixTimestamp64Milli(toInt64({now}))",
    )
    end, landed, number = map(int, rows[0])
    return Newest(end - 3600, landed) if number else None


def last_landed(target: Target) -> int:
    """When a row of a report landed last, ms; 0: none has."""
    return int(ask(target, "SELECT toUnixTimestamp64Milli(max(landed)) FROM dmarc_rows")[0][0])


def failing(
    target: Target, since: int, now: int, *, least: float, wanted: Collection[tuple[str, str]], most: int
) -> tuple[list[Source], bool]:
    """Sources with failing mail, the busiest first; and whether there are more.

    Args:
        target: where ClickHouse is.
        since: reports that began before are not looked at, ms.
        now: reports that end later are not either, ms.
        least: messages in a day that make a source worth a look.
        wanted: (domain, source) that are, whatever they sent.
        most: so many sources.
    """
    chosen = f" OR (policy_domain, source) IN ({tuples(wanted)})" if wanted else ""
    rows = ask(
        target,
        f"""
SELECT policy_domain, source, groupArray((day, until, messages)), max(messages) AS worst,
    arraySlice(arrayDistinct(arrayFlatten(groupArray(ips))), 1, {_SHOWN}),
    arraySlice(arrayDistinct(arrayFlatten(groupArray(names))), 1, {_SHOWN}),
    arraySlice(arrayDistinct(arrayFlatten(groupArray(tellers))), 1, {_SHOWN}),
    sum(all), sum(quarantined), sum(rejected), argMax(published, day)
FROM
(
    SELECT policy_domain, source, intDiv(toUnixTimestamp64Milli(begin_time), {DAY_MS}) * {DAY_MS} AS day,
        toUnixTimestamp64Milli(max(end_time)) AS until, sum(count / {_DAYS}) AS messages,
        groupUniqArray({_SHOWN})(source_ip) AS ips, groupUniqArray({_SHOWN})(toString(header_from)) AS names,
        groupUniqArray({_SHOWN})(toString(reporter)) AS tellers, sum(count) AS all,
        sumIf(count, disposition = 'quarantine') AS quarantined, sumIf(count, disposition = 'reject') AS rejected,
        argMax(toString(policy.p), begin_time) AS published
    FROM dmarc_rows FINAL
    WHERE {_FAILING} AND begin_time >= {_ms(since)} AND end_time <= {_ms(now)}
    GROUP BY policy_domain, source, day
)
GROUP BY policy_domain, source
HAVING worst >= {least}{chosen}
ORDER BY worst DESC, policy_domain, source
LIMIT {most + 1}""",  # noqa: S608 - numbers and quoted text
    )
    known = _histories(target, [(row[0], row[1]) for row in rows[:most]], since)
    return [_source(row, known[row[0], row[1]]) for row in rows[:most]], len(rows) > most


def _histories(
    target: Target, keys: Collection[tuple[str, str]], since: int
) -> dict[tuple[str, str], History]:
    """What is known of sources: whoever signed, passed SPF, or had the address."""
    if not keys:
        return {}
    domains = ", ".join(sorted({text(domain) for domain, _ in keys}))
    begun = {
        row[0]: int(row[1])
        for row in ask(
            target,
            "SELECT policy_domain, toUnixTimestamp64Milli(min(begin_time)) FROM dmarc_rows"  # noqa: S608 - quoted text
            f" WHERE policy_domain IN ({domains}) AND count > 0 GROUP BY policy_domain",
        )
    }
    found = {
        (row[0], row[1]): History(int(row[2]), bool(int(row[3])), begun.get(row[0], 0))
        for row in ask(
            target,
            f"""
SELECT policy_domain, name, toUnixTimestamp64Milli(min(begin_time)), max(aligned)
FROM dmarc_rows
ARRAY JOIN arrayDistinct(arrayConcat(arrayMap(each -> toString(each), authenticated), [source_ip])) AS name
WHERE policy_domain IN ({domains}) AND count > 0 AND (policy_domain, name) IN ({tuples(keys)})
GROUP BY policy_domain, name""",  # noqa: S608 - quoted text
        )
    }
    return {key: found.get(key, History(since, aligned=False, domain_since=0)) for key in keys}


def _source(row: Iterable[Any], history: History) -> Source:
    domain, name, days, _, ips, names, tellers, total, quarantined, rejected, published = row
    found = tuple(Day(int(day), int(until), float(messages)) for day, until, messages in days)
    return Source(
        domain,
        name,
        found,
        history,
        {
            "first_seen": history.first_seen,
            "failing": int(total),
            "quarantined": int(quarantined),
            "rejected": int(rejected),
            "published_policy": published,
            "source_ips": sorted(ips),
            "header_from": sorted(names),
            "reporters": sorted(tellers),
            "sql": _shown(domain, name, min((day.begin for day in found), default=0)),
        },
    )


def _shown(domain: str, name: str, since: int) -> str:
    """For people: the records themselves."""
    return (
        "SELECT begin_time, reporter, source_ip, messages, disposition, header_from, envelope_from, authenticated,"  # noqa: S608
        " dkim_results, spf_results, mail_id"
        f" FROM dmarc_records WHERE policy_domain = {text(domain)} AND source = {text(name)} AND NOT aligned"
        f" AND begin_time >= {_ms(since // DAY_MS * DAY_MS)} ORDER BY messages DESC LIMIT 100"
    )


def _ms(time: int) -> str:
    return f"fromUnixTimestamp64Milli(toInt64({time}))"
