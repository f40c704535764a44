"""What `rate_rows` should hold, counted in SQL from `event_rows` by the rules of `pipelines.counting.count`.

Said twice on purpose: the one streams and remembers, the other sees everything at once, and each is the
other's test.

The values of a dimension beyond its cap are counted to `(other)`. Which those are is the worker's choice, and
SQL reads it from `rate_rows`: in a cohort hour of which there is a row for `(other)`, a value that has no row
of its own is one of them.

What received reports (DSN, ARF) say is counted apart, by the rule of `pipelines.counting.reported`: for each value, of
each bounced recipient and each complaint, only where SES's own events do not say it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from connectors.clickhouse.literals import text, tuples
from schemas.counters import COUNTERS, DIMENSIONS, OTHER_VALUE, PAIR_SEPARATOR, TAG_PREFIX
from schemas.events import EVENT_TYPES, REPORTS, SUPPRESSED_SUBTYPES, UNTAGGED_DIMENSIONS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

HOUR_S: Final = 3600
Hours = tuple[int, int]
"""Cohort hours from (inclusive) until (exclusive), in seconds."""
KeyHour = tuple[str, str, int]
"""Dimension, value, cohort hour in seconds."""

_PAIRS: Final = {"feedback_ab": ("feedback_a", "feedback_b"), "provider_campaign": ("provider", "campaign")}
_SUPPRESSED: Final = ", ".join(f"'{name}'" for name in SUPPRESSED_SUBTYPES)

# one: there is a recipient; first: counted once for each event, with its first recipient if it has any.
RULES: Final = {
    "sends": "one AND event_type = 'Send'",
    "deliveries": "one AND event_type = 'Delivery'",
    "eligible": "one AND event_type = 'Delivery' AND reports",
    "complaints": f"first AND event_type = 'Complaint' AND complaint_subtype NOT IN ({_SUPPRESSED})"
    " AND complaint_type != 'not-spam'",
    "hard_bounces": "one AND event_type = 'Bounce' AND bounce_type = 'Permanent'"
    f" AND bounce_subtype NOT IN ({_SUPPRESSED})",
    "soft_bounces": "one AND event_type = 'Bounce' AND bounce_type IN ('Transient', 'Undetermined')"
    " AND NOT out_of_office",
    "suppressed": f"one AND ((event_type = 'Bounce' AND bounce_subtype IN ({_SUPPRESSED}))"
    f" OR (event_type = 'Complaint' AND complaint_subtype IN ({_SUPPRESSED})))",
    "rejects": "first AND event_type = 'Reject'",
    "rendering_failures": "first AND event_type = 'Rendering Failure'",
    "delays": "one AND event_type = 'DeliveryDelay'",
    "opens": "first AND event_type = 'Open' AND NOT machine_open",
    "clicks": "first AND event_type = 'Click'",
    "machine_opens": "first AND event_type = 'Open' AND machine_open",
    "unsubscribes": "first AND event_type = 'Subscription' AND unsubscribed",
    "blocks": "one AND event_type IN ('Bounce', 'DeliveryDelay') AND blocked",
}
"""By counter, a condition on an event and a recipient of it; says what `event_rows` calls so, and `one`, `first`,
`reports`, `blocked`."""
_ORIGINS: Final = ", ".join(f"'{origin}'" for origin in REPORTS)
_SAYS: Final = f"(event_type = 'Bounce' AND one OR {RULES['complaints']})"
REPORTED: Final = f"(origin IN ({_ORIGINS}) AND {_SAYS})"
"""A condition as in `RULES`: what a received report says."""
OWN: Final = (
    f"(origin NOT IN ({_ORIGINS}) AND ({RULES['hard_bounces']} OR {RULES['soft_bounces']}"
    f" OR event_type = 'Bounce' AND {RULES['suppressed']} OR {RULES['complaints']}))"
)
"""What SES says itself, so that a report of the same does not count."""
THING: Final = "(event_type, message_id, if(event_type = 'Bounce', lower(address), ''))"
"""What either speaks of, in its cohort hour; says `address` of the recipient's."""
REPORTED_MESSAGES: Final = f"SELECT message_id FROM event_rows WHERE origin IN ({_ORIGINS})"  # noqa: S608 - constants
OF_REPORTS: Final = ("complaints", "hard_bounces", "soft_bounces", "suppressed", "blocks")
"""Counters that received reports can add to."""
TYPES: Final = {
    name: tuple(each for each in EVENT_TYPES if f"'{each}'" in rule) for name, rule in RULES.items()
}
"""By counter, the types of event that can count to it."""
COUNTS_SOMETHING: Final = f"{' + '.join(COUNTERS)} > 0"
"""A condition on a row of counters: one that counts nothing is as good as none."""


def recount_sql(
    hours: Sequence[Hours] | None = None,
    dimensions: Sequence[str] = DIMENSIONS,
    keys: Collection[KeyHour] | None = None,
    kept: Collection[KeyHour] | None = (),
) -> str:
    """A query of dimension, value, hour (seconds, Int64) and the raw counters, from the merged events.

    Rows that count nothing are left out.

    Args:
        hours: only these cohort hours; none given: those of the keys, else all.
        dimensions: what to count for: `settings.counting.dimensions`.
        keys: only these; for an hour of which `(other)` is asked, there is an `(other)`.
        kept: values that are not of `(other)` though they have no row yet; None: nothing is of `(other)`.
    """
    if hours is None and keys is not None:
        hours = ranges_of({hour for _, _, hour in keys})
    columns = _columns(dimensions)
    selected = "".join(f", {expression} AS {name}" for name, expression in columns.items())
    grouped = "".join(f", {name}" for name in columns)
    counters = ", ".join(f"countIf({RULES[name]}) AS {name}" for name in COUNTERS)
    sums = ", ".join(f"sum({name}) AS t_{name}" for name in COUNTERS)
    wanted = f"WHERE (dimension, value, hour) IN ({tuples(keys) or 'NULL'})" if keys is not None else ""
    return f"""
SELECT dimension, value, hour, {", ".join(f"toInt64(t_{name}) AS {name}" for name in COUNTERS)}
FROM
(
    SELECT dimension, value, hour, {sums}
    FROM
    (
        SELECT d.1 AS dimension, {_counted_to(hours, keys or (), kept)} AS value, hour, {", ".join(COUNTERS)}
        FROM
        (
            SELECT d, hour, {", ".join(COUNTERS)}
            FROM
            (
                SELECT hour, tagged{grouped}, {counters}
                FROM ({_recipients(selected, between("sent_time", hours))})
                WHERE NOT {REPORTED}
                GROUP BY hour, tagged{grouped}
            )
            {_by_dimension(dimensions)}
            UNION ALL
            {_reported(selected, hours, dimensions)}
        )
    )
    {wanted}
    GROUP BY dimension, value, hour
)
WHERE {" + ".join(f"t_{name}" for name in COUNTERS)} > 0
"""  # noqa: S608 - constants, numbers and quoted text


def _recipients(selected: str, where: str) -> str:
    """Each recipient of each event, with what `RULES` look at."""
    return f"""
    SELECT *, intDiv(toUnixTimestamp64Milli(sent_time), 3600000) * {HOUR_S} AS hour,
        n > 0 AS one, n <= 1 AS first, recipient.address AS address,
        recipient.reports_complaints AS reports, recipient.blocked AS blocked{selected}
    FROM (SELECT * FROM event_rows FINAL {where}) AS e
    LEFT ARRAY JOIN recipients AS recipient, arrayEnumerate(recipients) AS n
"""  # noqa: S608 - constants, numbers and quoted text


def _by_dimension(dimensions: Sequence[str]) -> str:
    """For each row and dimension it counts in a row; `d`: dimension and value."""
    untagged = ", ".join(f"'{name}'" for name in UNTAGGED_DIMENSIONS)
    pairs = ", ".join(f"({text(name)}, {_value(name, dimensions)})" for name in dimensions)
    return f"ARRAY JOIN [{pairs}] AS d WHERE d.2 != '' AND (tagged OR d.1 IN ({untagged}))"


def _reported(selected: str, hours: Sequence[Hours] | None, dimensions: Sequence[str]) -> str:
    """What reports add: `d`, hour and counters. Looks at no more than messages that there are reports of."""
    within = between("sent_time", hours)
    messages = REPORTED_MESSAGES + within.replace("WHERE", " AND (", 1) + (")" if within else "")
    # Equal in all copies of an event, so it may be asked before they are merged.
    where = f"PREWHERE event_type IN ('Bounce', 'Complaint') AND message_id IN ({messages}) {within}"
    most = ", ".join(f"max({REPORTED} AND {RULES[name]}) AS m_{name}" for name in OF_REPORTS)
    counted = dict.fromkeys(COUNTERS, "0") | {name: f"m_{name}" for name in OF_REPORTS}
    counted["soft_bounces"] = "m_soft_bounces AND NOT m_hard_bounces"
    return f"""
    SELECT d, hour, {", ".join(f"toUInt64({rule}) AS {name}" for name, rule in counted.items())}
    FROM
    (
        SELECT d, hour, {THING} AS thing, max({OWN}) AS said, {most}
        FROM ({_recipients(selected, where)})
        {_by_dimension(dimensions)}
        GROUP BY d, hour, thing
    )
    WHERE NOT said
"""  # noqa: S608 - constants, numbers and quoted text


def between(column: str, hours: Sequence[Hours] | None) -> str:
    """A WHERE clause that keeps a time column within ranges of hours; empty for all."""
    if hours is None:
        return ""
    ranges = (
        f"({column} >= toDateTime64({low}, 3, 'UTC') AND {column} < toDateTime64({high}, 3, 'UTC'))"
        for low, high in hours
    )
    return f"WHERE {' OR '.join(ranges) or '0'}"


def ranges_of(hours: Iterable[int], most: int = 100) -> list[Hours]:
    """Few ranges that cover all the hours: neighbours further apart are joined until there are no more."""
    ordered = sorted(hours)
    gap = HOUR_S
    while True:
        ranges: list[Hours] = []
        for hour in ordered:
            if ranges and hour - ranges[-1][1] < gap:
                ranges[-1] = (ranges[-1][0], hour + HOUR_S)
            else:
                ranges.append((hour, hour + HOUR_S))
        if len(ranges) <= most:
            return ranges
        gap *= 4


def chunks(heights: Sequence[tuple[int, int]], most: int) -> Iterator[list[int]]:
    """Hours that are counted together.

    Args:
        heights: hours, each with about how many events it has.
        most: events in a chunk, unless an hour alone has more.
    """
    chunk: list[int] = []
    events = 0
    for hour, height in heights:
        if chunk and events + height > most:
            yield chunk
            chunk, events = [], 0
        chunk.append(hour)
        events += height
    if chunk:
        yield chunk


def rows_with_counts(hours: Sequence[Hours] | None, condition: str = "1") -> str:
    """A query of dimension, value, hour (seconds) of the rows of rates that count something."""
    return (
        "SELECT toString(dimension), value, toUnixTimestamp64Second(hour)"  # noqa: S608 - all from constants and numbers
        f" FROM (SELECT * FROM rate_rows FINAL {between('hour', hours)})"
        f" WHERE {COUNTS_SOMETHING} AND {condition}"
    )


def _counted_to(
    hours: Sequence[Hours] | None, keys: Collection[KeyHour], kept: Collection[KeyHour] | None
) -> str:
    """The value that something is counted to: its own, or `(other)`."""
    if kept is None:
        return "d.2"
    other = text(OTHER_VALUE)
    dimensions = f"SELECT dimension FROM rate_rows WHERE value = {other}"  # noqa: S608 - a constant
    capped = f"(d.1, {other}, hour) IN ({rows_with_counts(hours, f'value = {other}')})"
    asked = {(dimension, hour) for dimension, value, hour in keys if value == OTHER_VALUE}
    if asked:
        capped = f"({capped} OR (d.1, hour) IN ({tuples(asked)}))"
        names = ", ".join(text(name) for name in sorted({dimension for dimension, _ in asked}))
        dimensions = f"{dimensions} UNION DISTINCT SELECT arrayJoin([{names}])"
    own = f"(d.1, d.2, hour) IN ({rows_with_counts(hours, f'dimension IN ({dimensions})')})"
    if kept:
        own = f"({own} OR (d.1, d.2, hour) IN ({tuples(kept)}))"
    return f"if({capped} AND NOT {own}, {other}, d.2)"


def _columns(dimensions: Sequence[str]) -> dict[str, str]:
    """The columns that the values of dimensions are made of, and what each is."""
    names: dict[str, str] = {}
    for number, dimension in enumerate(dimensions):
        if dimension.startswith(TAG_PREFIX):
            tag = text(dimension.removeprefix(TAG_PREFIX))
            names[f"tag_{number}"] = f"arrayFirst(tag -> tag.name = {tag}, tags).values[1]"
            continue
        for part in _PAIRS.get(dimension, (dimension,)):
            names[f"d_{part}"] = "toString(recipient.provider)" if part == "provider" else f"toString({part})"
    return names


def _value(dimension: str, dimensions: Sequence[str]) -> str:
    if dimension.startswith(TAG_PREFIX):
        return f"tag_{list(dimensions).index(dimension)}"
    if dimension in _PAIRS:
        left, right = (f"d_{part}" for part in _PAIRS[dimension])
        return f"if({left} = '' OR {right} = '', '', concat({left}, '{PAIR_SEPARATOR}', {right}))"
    return f"d_{dimension}"
