"""What is asked of ClickHouse to explain an alarm: SQL over `event_rows`, counting by the rules of `recount`.

Copies of an event are merged by its id, here and not by FINAL: of what is asked for only the key's own events need
merging, and `max` is what the table merges by. Every query reads the columns it needs of the hours it is given.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from connectors.clickhouse.literals import text, tuples
from connectors.clickhouse.recount import OF_REPORTS, OWN, REPORTED, REPORTED_MESSAGES, RULES, THING, TYPES
from schemas.counters import COUNTERS, PAIR_SEPARATOR, TAG_PREFIX
from schemas.events import UNTAGGED_DIMENSIONS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from connectors.alarms.subject import Subject
    from pipelines.alarms.signals import Share

WHOLE: Final = ""
"""The factor of the row that counts everything."""
FACTORS: Final = (
    *("provider", "campaign", "feedback_b", "configuration_set", "from_domain", "outgoing_ip", "region"),
    *("tenant", "account", "template"),
)
"""Columns whose values may drive an alarm; of equal ones the first is named."""
MOST_VALUES: Final = 100
"""Of a factor that are looked at: those with the most hits."""
NEWEST: Final = 1000
"""Hits that are read themselves."""
_ATTEMPTS: Final = ("deliveries", "hard_bounces", "soft_bounces", "delays")
"""What became of a send: unlike that it names the outgoing IP."""
_OWN_TAGS: Final = "ses:"
"""Tags that SES adds; columns hold what they say."""
_DETAILS: Final = ("bounce_type", "bounce_subtype", "complaint_type", "complaint_subtype", "out_of_office")
_PAIR: Final = "(domain, provider, reports_complaints, blocked)"


def heights_sql(subject: Subject) -> str:
    """Hours (seconds), latest first, with how many copies of events were sent in each, and of the key in each.

    Looking into every event's tags would take longer than what is saved: of a tag's value they are said to be none.
    """
    own = "0" if subject.dimension.startswith(TAG_PREFIX) else _of_key(subject)
    return (
        "SELECT intDiv(toUnixTimestamp64Milli(e.sent_time), 3600000) * 3600 AS h, count(),"  # noqa: S608 - numbers
        f" countIf({own}) FROM event_rows AS e WHERE {_within(subject, 'e.sent_time')}"
        " GROUP BY h ORDER BY h DESC"
    )


def factors_sql(subject: Subject) -> str:
    """Of each factor the values with the most hits, and the `WHOLE`.

    Columns: factor, value, hits, trials, attempts; of the factor's values together their number, hits, trials,
    attempts.
    """
    share = subject.share
    columns = [name for name in FACTORS if name != "provider"]
    pairs = ", ".join(f"('{name}', toString({name}))" for name in FACTORS)
    grouped = ", ".join(FACTORS)
    attempts = _attempts(share)
    return f"""
SELECT factor.1, factor.2, hits, trials, attempts,
    count() OVER alike, sum(hits) OVER alike, sum(trials) OVER alike, sum(attempts) OVER alike
FROM
(
    SELECT factor, toInt64(sum(h)) AS hits, toInt64(sum(n)) AS trials, toInt64(sum(a)) AS attempts
    FROM
    (
        SELECT {grouped}, countIf({RULES[share.hits]}) AS h, {_trials(share)} AS n,
            {" + ".join(f"countIf({RULES[name]})" for name in attempts) or "0"} AS a
        FROM ({_recipients(subject, (share.hits, *share.trials, *share.without, *attempts), columns)})
        GROUP BY {grouped}
    )
    ARRAY JOIN [('{WHOLE}', '*'), {pairs}] AS factor
    WHERE factor.2 != ''
    GROUP BY factor
)
WINDOW alike AS (PARTITION BY factor.1)
ORDER BY hits DESC, trials, factor
LIMIT {MOST_VALUES} BY factor.1
"""  # noqa: S608 - constants, numbers and quoted text


def candidates_sql(subject: Subject) -> str:
    """Factor, value and hits of what has too many values to count them all: tags, domains of recipients."""
    share = subject.share
    return f"""
SELECT pair.1, pair.2, count() AS hits
FROM ({_recipients(subject, (share.hits,), ["tags"])})
ARRAY JOIN {_pairs()} AS pair
WHERE {RULES[share.hits]} AND pair.2 != ''
GROUP BY pair
HAVING hits > 1
ORDER BY hits DESC, pair
LIMIT {MOST_VALUES}
"""  # noqa: S608 - constants, numbers and quoted text


def counted_sql(subject: Subject, candidates: Iterable[tuple[str, str]]) -> str:
    """Factor, value, hits, trials of some of those."""
    share = subject.share
    counters = (share.hits, *share.trials, *share.without)
    return f"""
SELECT pair.1, pair.2, toInt64(countIf({RULES[share.hits]})), toInt64({_trials(share)})
FROM ({_recipients(subject, counters, ["tags"])})
ARRAY JOIN arrayFilter(pair -> pair IN ({tuples(candidates)}), {_pairs()}) AS pair
GROUP BY pair
"""  # noqa: S608 - constants, numbers and quoted text


def links_sql(subject: Subject) -> str:
    """Link, messages in which it was clicked that were complained of, and all in which it was; `WHOLE`: any link."""
    complained = _recipients(subject, (subject.share.hits,), ["message_id"])
    return f"""
SELECT arrayJoin([link, '{WHOLE}']) AS l, toInt64(uniqExactIf(message_id, hit)) AS hits, toInt64(uniqExact(message_id))
FROM
(
    SELECT message_id, cutQueryStringAndFragment(link) AS link, message_id IN
        (SELECT message_id FROM ({complained}) WHERE {RULES[subject.share.hits]}) AS hit
    FROM event_rows AS e
    PREWHERE {_within(subject, "e.sent_time")} AND e.event_type = 'Click' AND {_of_key(subject)}
    WHERE link != ''
)
GROUP BY l
ORDER BY hits DESC, l
LIMIT {MOST_VALUES}
"""  # noqa: S608 - constants, numbers and quoted text


def newest_sql(subject: Subject) -> str:
    """Message id, SMTP reply and reason of the newest hits; newest first."""
    share = subject.share
    return f"""
SELECT message_id, if(reply = '', smtp_reply, reply), reason
FROM ({_recipients(subject, (share.hits,), ["event_time", "message_id", "smtp_reply", "reason"], replies=True)})
WHERE {RULES[share.hits]}
ORDER BY event_time DESC, message_id
LIMIT {NEWEST}
"""  # noqa: S608 - constants, numbers and quoted text


def shown_sql(subject: Subject, factor: str) -> str:
    """For people: hits and trials by the values of a factor, from the view `events`."""
    share = subject.share
    attempts = _attempts(share) if factor == "outgoing_ip" else ()
    trials = " + ".join(f"countIf({RULES[name]})" for name in attempts) or _trials(share)
    names = (share.hits, *share.trials, *share.without, *attempts)
    types = sorted({each for name in names for each in TYPES[name]})
    repeats = (
        "\n        AND event_id NOT IN (SELECT event_id FROM repeated_reports)"
        if set(names) & set(OF_REPORTS)
        else ""
    )
    provider = _provider_of(subject)
    return f"""SELECT {_shown(factor)} AS value, countIf({RULES[share.hits]}) AS hits, {trials} AS trials,
    hits / trials AS rate
FROM
(
    SELECT *, n > 0 AS one, n <= 1 AS first, r.domain AS domain, r.provider AS provider,
        r.reports_complaints AS reports, r.blocked AS blocked
    FROM (SELECT * FROM events AS e WHERE {_of_key(subject)}
        AND event_type IN ({", ".join(map(text, types))})
        AND sent_time >= '{_utc(subject.since)}' AND sent_time < '{_utc(subject.until)}'{repeats})
    LEFT ARRAY JOIN recipients AS r, arrayEnumerate(recipients) AS n
)
WHERE {f"provider = {text(provider)}" if provider else "value != ''"}
GROUP BY value
ORDER BY hits DESC, value
LIMIT 50"""  # noqa: S608 - constants, numbers and quoted text


def account_sql(account: str, since: int, until: int) -> str:
    """The raw counters of an account, hour by hour (seconds)."""
    return (
        f"SELECT toUnixTimestamp(hour), {', '.join(COUNTERS)} FROM rate_rows FINAL"  # noqa: S608 - numbers and quoted text
        f" WHERE dimension = 'account' AND value = {text(account)}"
        f" AND hour >= toDateTime64({since}, 0, 'UTC') AND hour < toDateTime64({until}, 0, 'UTC')"
    )


def _recipients(
    subject: Subject, counters: Iterable[str], columns: Iterable[str], *, replies: bool = False
) -> str:
    """Each recipient of each event of the key that the counters may count, with what their rules look at."""
    names = tuple(counters)
    types = sorted({each for name in names for each in TYPES[name]})
    rules = " ".join(RULES[name] for name in names)
    wanted = dict.fromkeys([*columns, *(name for name in _DETAILS if name in rules)])
    reply = ", e.recipients.smtp_reply" if replies else ""
    merged = ", ".join(f"max({_merged(name)}) AS {name}" for name in wanted)
    repeats = f" AND e.event_id NOT IN ({_repeats(subject)})" if set(names) & set(OF_REPORTS) else ""
    provider = _provider_of(subject)
    return f"""
SELECT {", ".join(wanted)}, event_type, n > 0 AS one, n <= 1 AS first,
    r.1 AS domain, r.2 AS provider, r.3 AS reports, r.4 AS blocked{", r.5 AS reply" if replies else ""}
FROM
(
    SELECT max(e.event_type) AS event_type, max(arrayZip(e.recipients.domain, e.recipients.provider,
        e.recipients.reports_complaints, e.recipients.blocked{reply})) AS rs, {merged}
    FROM event_rows AS e
    PREWHERE {_within(subject, "e.sent_time")} AND e.event_type IN ({", ".join(map(text, types))})
        AND {_of_key(subject)}{repeats}
    GROUP BY e.event_id
)
LEFT ARRAY JOIN rs AS r, arrayEnumerate(rs) AS n
{f"WHERE provider = {text(provider)}" if provider else ""}
"""  # noqa: S608 - constants, numbers and quoted text


def _repeats(subject: Subject) -> str:
    """Ids of received reports that do not count for the key: of what SES said itself, or another report.

    There are few, and few events of the messages that they are about: an index of messages leads to these.
    """
    within = _within(subject, "sent_time")
    merged = ", ".join(f"max({name}) AS {name}" for name in (*_DETAILS, "recipients"))
    provider = _provider_of(subject)
    return f"""
    SELECT event_id FROM
    (
        SELECT event_id, {REPORTED} AS report, max({OWN}) OVER (PARTITION BY hour, {THING}) AS said,
            row_number() OVER (PARTITION BY hour, {THING}, report
                ORDER BY {RULES["hard_bounces"]} DESC, blocked DESC, event_id) AS number
        FROM
        (
            SELECT *, r.address AS address, r.blocked AS blocked, n > 0 AS one, n <= 1 AS first
            FROM
            (
                SELECT e.event_id AS event_id, max(e.event_type) AS event_type, max(e.message_id) AS message_id,
                    min(e.origin) AS origin, toStartOfHour(any(e.sent_time)) AS hour, {merged.replace("max(", "max(e.")}
                FROM event_rows AS e
                PREWHERE {_within(subject, "e.sent_time")} AND e.event_type IN ('Bounce', 'Complaint')
                    AND e.message_id IN ({REPORTED_MESSAGES} AND {within}) AND {_of_key(subject)}
                GROUP BY e.event_id
            )
            LEFT ARRAY JOIN recipients AS r, arrayEnumerate(recipients) AS n
            {f"WHERE r.provider = {text(provider)}" if provider else ""}
        )
    )
    WHERE report AND (said OR number > 1)
"""  # noqa: S608 - constants, numbers and quoted text


def _merged(name: str) -> str:
    if name == "tags":
        return "arrayZip(e.tags.name, arrayMap(each -> each[1], e.tags.values))"
    return f"e.{name}"


def _shown(factor: str) -> str:
    if factor.startswith(TAG_PREFIX):
        name = text(factor.removeprefix(TAG_PREFIX))
        return f"arrayFirst(tag -> tag.name = {name}, tags).values[1]"
    return {"recipient_domain": "domain"}.get(factor, factor if factor in FACTORS else "provider")


def _utc(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%d %H:%M:%S}"


def _pairs() -> str:
    return (
        "arrayConcat([('recipient_domain', domain)], arrayMap(tag -> "
        f"(concat('{TAG_PREFIX}', tag.1), tag.2), arrayFilter(tag -> NOT startsWith(tag.1, '{_OWN_TAGS}'), tags)))"
    )


def _trials(share: Share) -> str:
    plus = " + ".join(f"countIf({RULES[name]})" for name in share.trials)
    return " - ".join([plus, *(f"countIf({RULES[name]})" for name in share.without)])


def _attempts(share: Share) -> tuple[str, ...]:
    return _ATTEMPTS if "sends" in share.trials else ()


def _within(subject: Subject, column: str) -> str:
    return (
        f"{column} >= toDateTime64({subject.since}, 3, 'UTC')"
        f" AND {column} < toDateTime64({subject.until}, 3, 'UTC')"
    )


def _provider_of(subject: Subject) -> str:
    """The only provider whose recipients count; empty: all of them."""
    if subject.dimension == "provider":
        return subject.value
    if subject.dimension == "provider_campaign":
        return subject.value.partition(PAIR_SEPARATOR)[0]
    return ""


def _of_key(subject: Subject) -> str:
    """A condition on the events (of the table `e`) that count for the key."""
    dimension, value = subject.dimension, text(subject.value)
    tagged = "" if dimension in UNTAGGED_DIMENSIONS else "e.tagged AND "
    if dimension.startswith(TAG_PREFIX):
        name = text(dimension.removeprefix(TAG_PREFIX))
        return f"{tagged}arrayFirst(tag -> tag.name = {name}, e.tags).values[1] = {value}"
    if dimension == "feedback_ab":
        pair = f"concat(e.feedback_a, '{PAIR_SEPARATOR}', e.feedback_b) = {value}"
        return f"{tagged}e.feedback_a != '' AND e.feedback_b != '' AND {pair}"
    provider = _provider_of(subject)
    has = f"has(e.recipients.provider, {text(provider)})" if provider else ""
    if dimension == "provider_campaign":
        return f"{tagged}e.campaign = {text(subject.value.partition(PAIR_SEPARATOR)[2])} AND {has}"
    return f"{tagged}{has or f'e.{dimension} = {value}'}"
