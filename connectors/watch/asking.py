"""What the watch asks ClickHouse. All of it reads few hours, or few columns of a day, so that it may be asked often.

Rows of `event_rows` are copies until they are merged: either `FINAL` is said, or what is computed is the same however
often a copy comes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from connectors.clickhouse.literals import text
from connectors.clickhouse.recount import HOUR_S, Hours, between, ranges_of
from connectors.reports.figures import ask
from pipelines.alarms.silence import Hour
from schemas.counters import PAIR_SEPARATOR, TAG_PREFIX
from schemas.events import UNTAGGED_DIMENSIONS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from connectors.clickhouse.sql import Target

_HOUR: Final = f"intDiv(toUnixTimestamp64Milli(sent_time), 3600000) * {HOUR_S}"
_PROVIDER: Final = "arrayJoin(arrayDistinct(recipients.provider))"
_SENT: Final = "event_type IN ('Send', 'Delivery')"
"""Where SES publishes no Send events, deliveries tell what was sent."""
_LATENCY: Final = "event_type IN ('Delivery', 'DeliveryDelay')"


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest cohort hour that is not ahead of the clock."""

    hour: int
    """Seconds."""
    landed: int
    """When the first of its events landed, s."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """Deliveries of a value and a cohort hour."""

    value: str
    hour: int
    deliveries: int
    slow: tuple[int, ...]
    """Of them slower than each of the limits asked for."""


def newest(target: Target, now: int) -> Newest | None:
    """How far the data go that are not ahead of `now` (ms); None: there are none.

    Raises:
        ClickHouseError: as all the functions here, when nothing answers or it refuses.
    """
    rows = ask(
        target,
        f"SELECT {_HOUR} FROM event_rows WHERE sent_time <= {_ms(now)} ORDER BY sent_time DESC LIMIT 1",  # noqa: S608
    )
    if not rows:
        return None
    hour = int(rows[0][0])
    landed = ask(
        target,
        "SELECT toUnixTimestamp64Second(toDateTime64(min(landed), 0)) FROM event_rows"  # noqa: S608 - numbers
        f" {_in([(hour, hour + HOUR_S)])}",
    )
    return Newest(hour, int(landed[0][0]))


def oldest(target: Target) -> int | None:
    """The first cohort hour there is, seconds."""
    rows = ask(target, f"SELECT {_HOUR} FROM event_rows ORDER BY sent_time LIMIT 1")  # noqa: S608 - a constant
    return int(rows[0][0]) if rows else None


def delivered_since(target: Target, landed: int, since: int, now: int) -> tuple[list[int], int]:
    """Cohort hours for which deliveries landed, and when the last of them did.

    Args:
        target: where ClickHouse is.
        landed: ms by ClickHouse's clock; those that landed at it are among them.
        since: first cohort hour that is of interest, seconds.
        now: what was sent later is ahead of the clock, ms.
    """
    rows = ask(
        target,
        f"SELECT {_HOUR} AS hour, toUnixTimestamp64Milli(max(landed)) FROM event_rows"  # noqa: S608 - numbers
        f" WHERE landed >= {_ms(landed)} AND {_LATENCY}"
        f" AND sent_time >= toDateTime64({since}, 3, 'UTC') AND sent_time <= {_ms(now)} GROUP BY hour ORDER BY hour",
    )
    return [int(row[0]) for row in rows], max((int(row[1]) for row in rows), default=landed)


def delivered(
    target: Target, dimension: str, hours: Collection[int], limits: Sequence[float], patterns: Sequence[str]
) -> list[Delivered]:
    """Deliveries by value and cohort hour, with how many of them were slower than each limit.

    A message that SES said it could not deliver yet, later than a limit, and of which no delivery is known, is slower
    than that limit too: it counts as a delivery now, for it can only become a slower one.

    Args:
        target: where ClickHouse is.
        dimension: whose values.
        hours: cohort hours, seconds.
        limits: seconds, least first.
        patterns: of the values; a value that none matches may be among the answers all the same.
    """
    late = ", ".join(
        f"countIf(type = 'Delivery' AND took > {each * 1000:.0f}) AS l{n}" for n, each in enumerate(limits)
    )
    waits = [f"(delivered = 0 AND waited > {each * 1000:.0f})" for each in limits]
    slow = ", ".join(f"sum(l{n} + {wait})" for n, wait in enumerate(waits))
    rows = ask(
        target,
        f"""
SELECT value, hour, sum(delivered + {waits[0]}), {slow}
FROM
(
    SELECT value, hour, countIf(type = 'Delivery') AS delivered, maxIf(took, type = 'DeliveryDelay') AS waited, {late}
    FROM ({_latencies(dimension, hours)})
    WHERE value != '' {_like(patterns)}
    GROUP BY message_id, value, hour
)
GROUP BY value, hour""",  # noqa: S608 - numbers and quoted text
    )
    return [
        Delivered(row[0], int(row[1]), int(row[2]), tuple(map(int, row[3:]))) for row in rows if int(row[2])
    ]


def percentile(
    target: Target, dimension: str, value: str, hours: Collection[int], share: float
) -> float | None:
    """The exact percentile of the time from send to delivery, in seconds; None without deliveries."""
    rows = ask(
        target,
        f"SELECT count(), quantileExact({share})(took) / 1000 FROM ({_latencies(dimension, hours)})"  # noqa: S608
        f" WHERE value = {text(value)} AND type = 'Delivery'",
    )
    return float(rows[0][1]) if int(rows[0][0]) else None


def sent(
    target: Target, dimension: str, since: int, until: int, patterns: Sequence[str]
) -> Iterator[tuple[str, int, Hour]]:
    """What was sent in cohort hours from `since` until `until` (exclusive), in seconds: value, hour, sends.

    Sends are counted to within a percent or two.
    """
    for row in ask(
        target,
        f"""
SELECT {_value(dimension)} AS value, {_HOUR} AS hour,
    groupBitOr(bitShiftLeft(toUInt64(1), toMinute(sent_time))),
    greatest(uniqIf(message_id, event_type = 'Send'), uniqIf(message_id, event_type = 'Delivery'))
FROM event_rows
{_in([(since, until)])} AND {_SENT} {_tagged(dimension)}
GROUP BY value, hour
HAVING value != '' {_like(patterns)}""",  # noqa: S608 - numbers and quoted text
    ):
        yield row[0], int(row[1]), Hour(int(row[2]), int(row[3]))


def refused_by_sink(target: Target) -> int:
    """Rows that ClickHouse refused for good: they become dead letters here, not in the topic."""
    rows = ask(target, "SELECT uniqExact(dead_letter_id) FROM dead_letter_rows WHERE stage = 'sink'")
    return int(rows[0][0])


def machines(target: Target, signals: Sequence[str]) -> Iterator[tuple[str, int, bytes]]:
    """Alarm key, number and state (`machine`) of the last transition of each key of some signals."""
    wanted = ", ".join(map(text, signals))
    for row in ask(
        target,
        "SELECT alarm_key, max(seq), argMax(hex(machine), (seq, revision)) FROM alarm_rows"  # noqa: S608 - quoted text
        f" WHERE signal IN ({wanted}) GROUP BY alarm_key",
    ):
        yield row[0], int(row[1]), bytes.fromhex(row[2])


def _latencies(dimension: str, hours: Collection[int]) -> str:
    """Rows of message_id, type, value, hour and took (ms)."""
    return (
        f"SELECT message_id, event_type AS type, {_value(dimension)} AS value, {_HOUR} AS hour,"  # noqa: S608
        " greatest(toUnixTimestamp64Milli(event_time) - toUnixTimestamp64Milli(sent_time), 0) AS took"
        f" FROM event_rows FINAL {_in(ranges_of(hours))}"
        f" AND {_LATENCY} AND hour IN ({', '.join(map(str, hours)) or 'NULL'}) {_tagged(dimension)}"
    )


def _in(ranges: Sequence[Hours]) -> str:
    return f"WHERE ({between('sent_time', ranges).removeprefix('WHERE ')})"


def _ms(time: int) -> str:
    return f"fromUnixTimestamp64Milli(toInt64({time}))"


def _value(dimension: str) -> str:
    """The value an event has in a dimension; one row for each where recipients have several."""
    if dimension.startswith(TAG_PREFIX):
        return f"arrayFirst(tag -> tag.name = {text(dimension.removeprefix(TAG_PREFIX))}, tags).values[1]"
    if dimension in _PAIRS:
        left, right = _PAIRS[dimension]
        pair = f"concat(({left} AS left_part), '{PAIR_SEPARATOR}', ({right} AS right_part))"
        return f"if(left_part = '' OR right_part = '', '', {pair})"
    return _column(dimension)


def _column(name: str) -> str:
    return f"toString({_PROVIDER})" if name == "provider" else f"toString({name})"


_PAIRS: Final = {
    "feedback_ab": (_column("feedback_a"), _column("feedback_b")),
    "provider_campaign": (_column("provider"), _column("campaign")),
}


def _tagged(dimension: str) -> str:
    return "" if dimension in UNTAGGED_DIMENSIONS else "AND tagged"


def _like(patterns: Sequence[str]) -> str:
    """A condition that lets every value through that a pattern matches, and not many more."""
    if not patterns or any(pattern == "*" or "[" in pattern for pattern in patterns):
        return ""
    escaped = (
        pattern.replace("\\", "\\\\")
        .replace("%", "\\%")
        .replace("_", "\\_")
        .replace("*", "%")
        .replace("?", "_")
        for pattern in patterns
    )
    return f"AND ({' OR '.join(f'value LIKE {text(each)}' for each in escaped)})"
