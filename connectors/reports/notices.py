"""Notices: what a person should know and nobody is woken for. Each is a sentence that says what to do."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from connectors.reports.alarms import shown
from connectors.reports.figures import ask
from connectors.reports.printable import printable
from schemas.counters import OTHER_VALUE

if TYPE_CHECKING:
    from connectors.clickhouse.sql import Target

# What was stored at any time, merged or not: reading the few rows that tell costs nothing.
_OTHERS: Final = f"SELECT DISTINCT dimension FROM rate_rows WHERE value = '{OTHER_VALUE}'"  # noqa: S608 - a constant
# Cohort hours, not the clock's: an archive that is replayed has its own last day.
_CAPPED: Final = f"""
WITH (SELECT max(hour) FROM rate_rows WHERE sends > 0 AND hour <= now()) AS newest
SELECT dimension, sumIf(sends, value = '{OTHER_VALUE}') AS others, sum(sends) AS every, uniqExact(value) - 1
FROM rates
WHERE hour > newest - INTERVAL 24 HOUR AND hour <= newest AND dimension IN ({_OTHERS})
GROUP BY dimension
HAVING countIf(value = '{OTHER_VALUE}') > 0
ORDER BY others / greatest(every, 1) DESC, dimension
"""  # noqa: S608 - a constant
_REJECTED: Final = """
SELECT stage, cause, count() FROM dead_letters WHERE time > now() - INTERVAL 1 HOUR GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2
"""
# Unexpected relays have a sentence of their own, with what is so now, and whether anybody watches or not.
_EARLY: Final = """
SELECT alarm_key, signal, dimension, value, rate, limit, formatDateTime(opened_time, '%Y-%m-%d %H:%i')
FROM incidents WHERE resolved_time IS NULL AND severity = 'notice' AND signal != 'unexpected_relay'
ORDER BY opened_time DESC, alarm_key
"""
_EARLY_SHOWN: Final = 5
_FUTURE: Final = """
SELECT uniqExact(event_id), formatDateTime(max(greatest(sent_time, event_time)), '%Y-%m-%d %H:%i')
FROM event_rows WHERE future
"""
_RELAYED: Final = """
WITH (SELECT max(received_time) FROM mails WHERE received_time <= now64(3)) AS newest
SELECT originator_org, count() FROM mails
WHERE relay = 'unexpected' AND received_time > newest - INTERVAL 7 DAY
GROUP BY originator_org ORDER BY 2 DESC, 1
"""
_ORGS_SHOWN: Final = 3
_ORG_LONGEST: Final = 60


def notices(target: Target) -> tuple[str, ...]:
    """Ask ClickHouse for all of them.

    Raises:
        ClickHouseError: it does not answer.
    """
    return (*_early(target), *_capped(target), *_rejected(target), *_future(target), *_relayed(target))


def _early(target: Target) -> list[str]:
    """Alarms that wake nobody."""
    rows = ask(target, _EARLY)
    sentences = [
        f"{signal.replace('_', ' ')} of {dimension} {value} since {opened} UTC: {shown(signal, rate)} (limit"
        f" {shown(signal, limit)}), early and nobody was paged; see `ses-streams alarms show {shlex.quote(key)}`"
        for key, signal, dimension, value, rate, limit, opened in rows[:_EARLY_SHOWN]
    ]
    if len(rows) > _EARLY_SHOWN:
        sentences.append(f"{len(rows) - _EARLY_SHOWN:,} more early signs: see `ses-streams alarms list`")
    return sentences


def _capped(target: Target) -> list[str]:
    if not ask(target, _OTHERS):
        return []
    return [_capped_sentence(name, *map(int, numbers)) for name, *numbers in ask(target, _CAPPED)]


def _capped_sentence(dimension: str, others: int, every: int, values: int) -> str:
    return (
        f"{dimension} has more values than are kept: {others / max(every, 1):.1%} of the sends of the last 24 h are"
        f" counted as {OTHER_VALUE}, {values:,} values have counters of their own; raise counting.dimension_cap, or"
        f" take {dimension} out of counting.dimensions"
    )


def _rejected(target: Target) -> list[str]:
    rows = ask(target, _REJECTED)
    if not rows:
        return []
    total = sum(int(count) for _, _, count in rows)
    stage, cause, most = rows[0]
    sentence = (
        f"{total:,} records were rejected in the last hour, most of them ({int(most):,}) for {stage}: {cause}; look"
        f" at them with `ses-streams dead-letters list --stage {stage} --cause {cause}`"
    )
    return [sentence]


def _future(target: Target) -> list[str]:
    ((count, latest),) = ask(target, _FUTURE)
    if not int(count):
        return []
    sentence = (
        f"{int(count):,} events say that they are of the future (up to {latest} UTC) and count in the hours they name:"
        " look at those of the view `events` that have `future` set, and at the clock of what sent them"
    )
    return [sentence]


def _relayed(target: Target) -> list[str]:
    """Mails that say they came through Mail Manager, and from where nothing is expected."""
    rows = [(" ".join(str(org).split()), int(mails)) for org, mails in ask(target, _RELAYED)]
    if not rows:
        return []
    named = ", ".join(
        f"{printable(org[:_ORG_LONGEST]) or 'none named'} ({mails:,})" for org, mails in rows[:_ORGS_SHOWN]
    )
    more = f" and {len(rows) - _ORGS_SHOWN:,} more" if len(rows) > _ORGS_SHOWN else ""
    sentence = (
        "mails received in the last 7 days claim to come through Mail Manager of organisations that are not expected:"
        f" {named}{more}, {sum(mails for _, mails in rows):,} in all; do not trust what they say of their sender (those"
        " of the view `mails` with relay 'unexpected'), or add to inbound.expected_originators what is right; see"
        " `ses-streams alarms list`"
    )
    return [sentence]
