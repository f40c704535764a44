"""`repair`: make `rate_rows` say what `event_rows` holds.

After an unclean stop of an embedded instance the two can differ: rows of rates land without the events they
count (those come again from their source), or the other way round. Only cohort hours that something landed in
since the last clean stop can be off, so only those are recounted: seconds, however long the history.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from connectors.clickhouse.inserts import TARGETS, insert_blocks
from connectors.clickhouse.recount import Hours, between, recount_sql
from pipelines.counting.rate import KeyHour, rows
from schemas import topics
from schemas.blocks import encode, open_block
from schemas.counters import COUNTERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from connectors.clickhouse.client import Client

LOG: Final = logging.getLogger(__name__)
_HOUR: Final = 3600
_RANGES: Final = 100
"""Of hours in one query at the most; neighbours further apart are joined until there are no more."""
_MARGIN: Final = "INTERVAL 10 MINUTE"
"""A clock set back a little between a stop and a start must not hide what landed."""
_ROWS_AT_ONCE: Final = 20_000


@dataclass(frozen=True, slots=True)
class Repaired:
    """What a repair found."""

    hours: int | None
    """Cohort hours recounted; None: all, as no clean stop is on record."""
    rows: int
    """Rows of rates that were off, and are right now."""


def repair(client: Client, now_us: int, *, everything: bool = False) -> Repaired:
    """Recount what may be off and correct it. Nobody else may be writing.

    Args:
        client: of a migrated database.
        now_us: microseconds since the epoch: corrected rows get at least this version, like the worker's.
        everything: recount all hours, whatever is on record.
    """
    (began,) = client.query("SELECT now64(3, 'UTC')").first_row
    hours = None if everything else _touched(client)
    ranges = None if hours is None else _ranges(hours)
    wrong = [] if ranges == [] else client.query(differences_sql(ranges)).result_rows
    for start in range(0, len(wrong), _ROWS_AT_ONCE):
        _correct(client, wrong[start : start + _ROWS_AT_ONCE], now_us)
    client.insert("clean_stops", [[began]], column_names=["time"])
    if wrong:
        LOG.warning("%d rows of rates did not agree with the events: corrected", len(wrong))
    return Repaired(None if hours is None else len(hours), len(wrong))


def mark_clean_stop(client: Client) -> None:
    """Record that rates and events agree: everything has landed, nothing is under way."""
    client.command("INSERT INTO clean_stops (time) SELECT now64(3, 'UTC')")


def differences_sql(hours: Sequence[Hours] | None = None) -> str:
    """A query of the rows of rates that are off: dimension, value, hour, stored version, right counters.

    A stored row that should not be comes with zeros; one that is missing has version 0.
    """
    right = ", ".join(f"sum(w_{name}) AS {name}" for name in COUNTERS)
    wanted = ", ".join(f"{name} AS w_{name}, 0 AS h_{name}" for name in COUNTERS)
    held = ", ".join(f"0 AS w_{name}, {name} AS h_{name}" for name in COUNTERS)
    off = " OR ".join(f"sum(w_{name}) != sum(h_{name})" for name in COUNTERS)
    return f"""
SELECT dimension, value, hour, max(version) AS stored, {right}
FROM
(
    SELECT toString(dimension) AS dimension, value, hour, toInt64(0) AS version, {wanted}
    FROM ({recount_sql(hours)})
    UNION ALL
    SELECT toString(dimension) AS dimension, value, toUnixTimestamp64Second(hour_) AS hour, version, {held}
    FROM (SELECT * EXCEPT hour, hour AS hour_ FROM rate_rows FINAL {between("hour", hours)})
)
GROUP BY dimension, value, hour
HAVING {off}
ORDER BY dimension, value, hour
"""  # noqa: S608 - all from constants and numbers


def _touched(client: Client) -> list[int] | None:
    """Hours that something landed in since rates and events last agreed; None when that is not known."""
    known, since = client.query("SELECT count(), toString(max(time)) FROM clean_stops").first_row
    if not known:
        return None
    after = f"landed >= toDateTime64('{since}', 3, 'UTC') - {_MARGIN}"
    query = (
        "SELECT DISTINCT intDiv(toUnixTimestamp64Milli(sent_time), 3600000) * 3600 AS h FROM event_rows"  # noqa: S608 - a time of ours
        f" WHERE {after} UNION DISTINCT"
        f" SELECT DISTINCT toUnixTimestamp64Second(hour) AS h FROM rate_rows WHERE {after}"
    )
    found = client.query(query)
    return sorted(int(row[0]) for row in found.result_rows)


def _ranges(hours: Sequence[int]) -> list[Hours]:
    """Few ranges that cover all the hours."""
    gap = _HOUR
    while True:
        ranges: list[Hours] = []
        for hour in hours:
            if ranges and hour - ranges[-1][1] < gap:
                ranges[-1] = (ranges[-1][0], hour + _HOUR)
            else:
                ranges.append((hour, hour + _HOUR))
        if len(ranges) <= _RANGES:
            return ranges
        gap *= 4


def _correct(client: Client, wrong: Sequence[Sequence[Any]], now_us: int) -> None:
    target = TARGETS[topics.RATES]
    cells = [
        KeyHour(dimension, value, int(hour), max(now_us, int(stored) + 1), [int(each) for each in counters])
        for dimension, value, hour, stored, *counters in wrong
    ]
    insert_blocks(client, target, [open_block(encode(target.record, rows(cells)))])
