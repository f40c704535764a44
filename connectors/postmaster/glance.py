"""What `ses-streams report` says of Google's figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from connectors.reports.figures import ask, table

if TYPE_CHECKING:
    from connectors.clickhouse.sql import Target

_DOMAINS: Final = """
SELECT domain, toString(day),
    anyOrNullIf(value, metric = 'spam_rate') AS spam,
    anyOrNullIf(value, metric = 'auth_success_rate' AND identifier = 'spf'),
    anyOrNullIf(value, metric = 'auth_success_rate' AND identifier = 'dkim'),
    anyOrNullIf(value, metric = 'auth_success_rate' AND identifier = 'dmarc'),
    anyOrNullIf(value, metric = 'tls_encryption_rate' AND identifier = 'inbound'),
    anyOrNullIf(value, metric = 'delivery_error_rate' AND identifier = '')
FROM postmaster
WHERE metric != 'compliance'
    AND (domain, day) IN (SELECT domain, max(day) FROM postmaster WHERE metric != 'compliance' GROUP BY domain)
GROUP BY domain, day
ORDER BY spam DESC NULLS LAST, domain
LIMIT 20
"""
_HEADER: Final = (
    "Gmail's own figures",
    "day",
    "spam rate",
    "SPF",
    "DKIM",
    "DMARC",
    "TLS to Gmail",
    "delivery errors",
)
_LOOPS: Final = """
SELECT identifier, domain, toString(day), value
FROM postmaster
WHERE metric = 'feedback_loop_spam_rate' AND value > 0
    AND day > (SELECT max(day) FROM postmaster WHERE metric = 'feedback_loop_spam_rate') - 7
ORDER BY value DESC, identifier, domain, day
LIMIT 1 BY identifier
LIMIT 5
"""
_UNMET: Final = """
SELECT domain, arrayStringConcat(arraySort(groupArray(identifier)), ', ')
FROM postmaster
WHERE metric = 'compliance' AND value = 0
    AND (domain, day) IN (SELECT domain, max(day) FROM postmaster WHERE metric = 'compliance' GROUP BY domain)
GROUP BY domain
ORDER BY domain
"""
_PROBLEMS: Final = """
SELECT formatDateTime(time, '%Y-%m-%d %H:%i'), problem FROM postmaster_fetches FINAL
WHERE time = (SELECT max(time) FROM postmaster_fetches) AND problem != ''
ORDER BY domain
"""


def glance(target: Target) -> list[str]:
    """Sections of a report; none where Postmaster Tools was never asked. A missing figure is no 0.

    Raises:
        ClickHouseError: it does not answer.
    """
    sections = []
    if domains := ask(target, _DOMAINS):
        body = [(domain, day, *(_percent(each) for each in values)) for domain, day, *values in domains]
        sections.append(table([_HEADER, *body]))
    if loops := ask(target, _LOOPS):
        header = ("Gmail's feedback loop, worst day of 7", "domain", "day", "spam rate")
        body = [(name, domain, day, _percent(value)) for name, domain, day, value in loops]
        sections.append(table([header, *body]))
    said = [f"{domain} does not meet Gmail's requirements: {unmet}" for domain, unmet in ask(target, _UNMET)]
    said += [f"Postmaster Tools, asked at {time} UTC: {problem}" for time, problem in ask(target, _PROBLEMS)]
    return [*sections, "\n".join(said)] if said else sections


def _percent(value: float | None) -> str:
    return "no data" if value is None else f"{value:.3%}"
