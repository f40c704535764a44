"""What `rate_rows` should hold, counted in SQL from `event_rows` by the rules of `pipelines.counting.count`.

Said twice on purpose: the one streams and remembers, the other sees everything at once, and each is the
other's test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from schemas.counters import COUNTERS, DIMENSIONS, PAIR_SEPARATOR
from schemas.events import SUPPRESSED_SUBTYPES, UNTAGGED_DIMENSIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

Hours = tuple[int, int]
"""Cohort hours from (inclusive) until (exclusive), in seconds."""

_PLAIN: Final = tuple(
    name for name in DIMENSIONS if name not in ("feedback_ab", "provider", "provider_campaign")
)
_SUPPRESSED: Final = ", ".join(f"'{name}'" for name in SUPPRESSED_SUBTYPES)

# one: there is a recipient; first: counted once for each event, with its first recipient if it has any.
_RULES: Final = {
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
_PAIRS: Final = {"feedback_ab": ("feedback_a", "feedback_b"), "provider_campaign": ("provider", "campaign")}


def recount_sql(hours: Sequence[Hours] | None = None) -> str:
    """A query of dimension, value, hour (seconds, Int64) and the raw counters, from the merged events.

    Rows that count nothing are left out. `hours`: only these cohort hours; none given: all.
    """
    counters = ",\n        ".join(f"countIf({_RULES[name]}) AS {name}" for name in COUNTERS)
    sums = ", ".join(f"sum({name}) AS {name}" for name in COUNTERS)
    untagged = ", ".join(f"'{name}'" for name in UNTAGGED_DIMENSIONS)
    dimensions = ", ".join(f"('{name}', {_value(name)})" for name in DIMENSIONS)
    return f"""
SELECT d.1 AS dimension, d.2 AS value, hour, {", ".join(f"toInt64(t_{name}) AS {name}" for name in COUNTERS)}
FROM
(
    SELECT d, hour, {sums.replace(" AS ", " AS t_")}
    FROM
    (
        SELECT intDiv(toUnixTimestamp64Milli(sent_time), 3600000) * 3600 AS hour, tagged, provider,
            {", ".join(_PLAIN)},
        {counters}
        FROM
        (
            SELECT *, toString(recipient.provider) AS provider, n > 0 AS one, n <= 1 AS first,
                recipient.reports_complaints AS reports, recipient.blocked AS blocked
            FROM (SELECT * FROM event_rows FINAL {between("sent_time", hours)}) AS e
            LEFT ARRAY JOIN recipients AS recipient, arrayEnumerate(recipients) AS n
        )
        GROUP BY hour, tagged, provider, {", ".join(_PLAIN)}
    )
    ARRAY JOIN [{dimensions}] AS d
    WHERE d.2 != '' AND (tagged OR d.1 IN ({untagged}))
    GROUP BY d, hour
)
WHERE {" + ".join(COUNTERS)} > 0
"""  # noqa: S608 - all from constants and numbers


def between(column: str, hours: Sequence[Hours] | None) -> str:
    """A WHERE clause that keeps a time column within ranges of hours; empty for all."""
    if hours is None:
        return ""
    ranges = (
        f"({column} >= toDateTime64({low}, 3, 'UTC') AND {column} < toDateTime64({high}, 3, 'UTC'))"
        for low, high in hours
    )
    return f"WHERE {' OR '.join(ranges) or '0'}"


def _value(dimension: str) -> str:
    if dimension in _PAIRS:
        left, right = _PAIRS[dimension]
        return f"if({left} = '' OR {right} = '', '', concat({left}, '{PAIR_SEPARATOR}', {right}))"
    return f"toString({dimension})"
