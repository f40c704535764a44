"""`repair`: make `rate_rows` say what `event_rows` holds.

After an unclean stop of an embedded instance the two can differ: rows of rates land without the events they
count (those come again from their source), or the other way round. Only cohort hours that something landed in
since the last clean stop can be off, so only those are recounted: seconds, however long the history.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from connectors.clickhouse.horizon import horizon
from connectors.clickhouse.inserts import RATES, insert_blocks
from connectors.clickhouse.recount import HOUR_S, Hours, between, chunks, ranges_of, recount_sql
from pipelines.counting.rate import KeyHour, rows
from schemas.blocks import encode, open_block
from schemas.counters import COUNTERS, DIMENSIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from connectors.clickhouse.client import Client

LOG: Final = logging.getLogger(__name__)
_MARGIN: Final = "INTERVAL 10 MINUTE"
"""A clock set back a little between a stop and a start must not hide what landed."""
_ROWS_AT_ONCE: Final = 20_000
_EVENTS_AT_ONCE: Final = 4_000_000
"""Copies of events that one query recounts, unless an hour alone has more: FINAL and grouping hold about 200
bytes of each."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """What a repair found."""

    hours: int | None
    """Cohort hours that may have been off; None: all, as no clean stop is on record."""
    rows: int
    """Rows of rates that were off, and are right now."""
    looked_at: int = 0
    """Cohort hours recounted, of those that have anything."""


def repair(
    client: Client,
    now_us: int,
    *,
    everything: bool = False,
    dimensions: Sequence[str] = DIMENSIONS,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Repaired:
    """Recount what may be off and correct it. Nobody else may be writing.

    Hours whose events are gone stay as they are; where some of them may be gone, no counter falls.

    Args:
        client: of a migrated database.
        now_us: microseconds since the epoch: corrected rows get at least this version, like the worker's.
        everything: recount all hours, whatever is on record.
        dimensions: what is counted for; rows of others are taken back.
        progress: told how many hours are done, of how many.
    """
    (began,) = client.query("SELECT now64(3, 'UTC')").first_row
    touched = None if everything else _touched(client)
    known = horizon(lambda sql: client.query(sql).result_rows)
    heights = [(hour, height) for hour, height in _heights(client, touched) if hour >= known.gone]
    wrong = done = 0
    for hours in chunks(heights, _EVENTS_AT_ONCE):
        found = client.query(differences_sql(ranges_of(hours), dimensions, known.doubtful)).result_rows
        for start in range(0, len(found), _ROWS_AT_ONCE):
            _correct(client, found[start : start + _ROWS_AT_ONCE], now_us)
        wrong += len(found)
        done += len(hours)
        progress(done, len(heights))
    client.insert("clean_stops", [[began]], column_names=["time"])
    if wrong:
        LOG.warning("%d rows of rates did not agree with the events: corrected", wrong)
    return Repaired(None if touched is None else len(touched), wrong, done)


def mark_clean_stop(client: Client) -> None:
    """Record that rates and events agree: everything has landed, nothing is under way."""
    client.command("INSERT INTO clean_stops (time) SELECT now64(3, 'UTC')")


def differences_sql(
    hours: Sequence[Hours] | None = None, dimensions: Sequence[str] = DIMENSIONS, doubtful: int = 0
) -> str:
    """A query of the rows of rates that are off: dimension, value, hour, stored version, right counters.

    A stored row that should not be comes with zeros; one that is missing has version 0, unless it belongs to
    `(other)` (see `recount_sql`). In hours before `doubtful` (seconds) counters that are greater than they should be
    are not off.
    """
    right = ", ".join(
        f"if(hour < {doubtful}, greatest(sum(w_{name}), sum(h_{name})), sum(w_{name})) AS {name}"
        for name in COUNTERS
    )
    wanted = ", ".join(f"{name} AS w_{name}, 0 AS h_{name}" for name in COUNTERS)
    held = ", ".join(f"0 AS w_{name}, {name} AS h_{name}" for name in COUNTERS)
    off = " OR ".join(f"{name} != sum(h_{name})" for name in COUNTERS)
    return f"""
SELECT dimension, value, hour, max(version) AS stored, {right}
FROM
(
    SELECT toString(dimension) AS dimension, value, hour, toInt64(0) AS version, {wanted}
    FROM ({recount_sql(hours, dimensions)})
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


def _heights(client: Client, touched: Sequence[int] | None) -> list[tuple[int, int]]:
    """Hours to look at, each with about how many events it has; `touched`: only these, None for all."""
    if touched == []:
        return []
    hours = None if touched is None else ranges_of(touched)
    found = client.query(
        "SELECT h, max(n) FROM"  # noqa: S608 - numbers
        f" (SELECT intDiv(toUnixTimestamp64Milli(sent_time), 3600000) * {HOUR_S} AS h, count() AS n"
        f" FROM event_rows {between('sent_time', hours)} GROUP BY h"
        f" UNION ALL SELECT toUnixTimestamp64Second(hour) AS h, 0 AS n FROM rate_rows {between('hour', hours)}"
        " GROUP BY h) GROUP BY h ORDER BY h"
    )
    chosen = None if touched is None else set(touched)
    return [(int(hour), int(n)) for hour, n in found.result_rows if chosen is None or hour in chosen]


def _correct(client: Client, wrong: Sequence[Sequence[Any]], now_us: int) -> None:
    cells = [
        KeyHour(dimension, value, int(hour), max(now_us, int(stored) + 1), [int(each) for each in counters])
        for dimension, value, hour, stored, *counters in wrong
    ]
    insert_blocks(client, RATES, [open_block(encode(RATES.record, rows(cells)))])
