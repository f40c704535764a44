"""Answers to requests for a recount: `RecountRow`s, counted in SQL from the events that have landed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from connectors.clickhouse.client import Client, error_code, is_embedded, open_client
from connectors.clickhouse.horizon import Horizon, horizon
from connectors.clickhouse.literals import text, tuples
from connectors.clickhouse.recount import (
    COUNTS_SOMETHING,
    HOUR_S,
    KeyHour,
    between,
    chunks,
    ranges_of,
    recount_sql,
)
from schemas.counters import COUNTERS, OTHER_VALUE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

EVENTS_AT_ONCE: Final = 2_000_000
"""Copies of events that one query counts, unless an hour alone has more: a second or two of two cores, beside
inserts that must go on."""
KEYS_IN_SQL: Final = 1000
"""Beyond it hours are counted whole and the keys picked from the result: each literal takes 80 µs to parse."""
MEMORY_LIMIT: Final = 4 * 1024**3
"""Bytes a query may take: embedded it shares the process with the sink's inserts."""
_QUERY_SIZE: Final = 64 * 1024 * 1024
_SETTINGS: Final = {"max_memory_usage": MEMORY_LIMIT, "max_query_size": _QUERY_SIZE, "max_threads": 2}
_MEMORY_LIMIT_EXCEEDED: Final = 241
_ZEROS: Final = (0,) * len(COUNTERS)


Row = dict[str, Any]
"""A `RecountRow`."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What ClickHouse has of a key-hour."""

    stored: int
    """Version of the row of rates; 0: none."""
    counts: bool
    """Whether that row counts anything."""
    counters: tuple[int, ...]


def connect(dsn: str) -> Client:
    """A client for recounting: queries of many keys are long.

    Raises:
        ClickHouseError: as `open_client`.
    """
    client = open_client(dsn)
    if is_embedded(dsn):
        # There a query's own settings come too late for its parser, and `SET` holds as long as the handle.
        client.command(f"SET max_query_size = {_QUERY_SIZE}")
    return client


class Answers:
    """Counts key-hours; for one thread at a time."""

    def __init__(self, client: Client, patiently: Callable[[Callable[[], Any]], Any]) -> None:
        self._client = client
        self._patiently = patiently
        self._as_of = 0
        self._horizon = Horizon()

    def gone(self, keys: Collection[KeyHour]) -> set[KeyHour]:
        """Those among key-hours whose events are gone, or go: their rows of rates are the last word."""
        self._horizon = self._patiently(lambda: horizon(self._query))
        return {key for key in keys if key[2] < self._horizon.gone}

    def __call__(self, keys: Collection[KeyHour]) -> Iterator[list[Row]]:
        """Rows of `RecountRow`, one for each key-hour, in several lists; more for `(other)`s that change with them.

        Everything that was to be counted must have landed before, and its events be there (`gone`). Where some of them
        may not be there any more, no counter falls.
        """
        by_hour: dict[int, list[KeyHour]] = {}
        for key in keys:
            by_hour.setdefault(key[2], []).append(key)
        heights = self._heights(sorted(by_hour))
        for hours in chunks([(hour, heights.get(hour, 0)) for hour in sorted(by_hour)], EVENTS_AT_ONCE):
            yield from self._answer([key for hour in hours for key in by_hour[hour]])

    def _answer(self, keys: Sequence[KeyHour]) -> Iterator[list[Row]]:
        """Count some hours in one go; in two halves where ClickHouse has not the memory for it."""
        hours = sorted({hour for _, _, hour in keys})

        def count() -> list[Row] | None:
            try:
                return self._count(keys, hours)
            except Exception as error:
                if len(hours) > 1 and error_code(error) == _MEMORY_LIMIT_EXCEEDED:
                    return None
                raise

        rows = self._patiently(count)
        if rows is not None:
            yield rows
            return
        middle = hours[len(hours) // 2]
        yield from self._answer([key for key in keys if key[2] < middle])
        yield from self._answer([key for key in keys if key[2] >= middle])

    def _count(self, keys: Sequence[KeyHour], hours: Sequence[int]) -> list[Row]:
        now = int(self._query("SELECT toUnixTimestamp64Micro(now64(6))")[0][0])
        # Of two answers the later one is right: a clock that was set back must not make it look older.
        as_of = self._as_of = max(now, self._as_of + 1)
        own = {key for key in keys if key[1] != OTHER_VALUE}
        found = self._found(own, hours)
        new = {key for key in own if key not in found or not found[key].counts}
        others = {key for key in keys if key[1] == OTHER_VALUE} | self._others_of(new)
        if others:
            found |= self._pick(others, new)
        self._add_versions(found, own | others)
        self._keep(found, {key for key in own | others if key[2] < self._horizon.doubtful})
        return [_row(key, as_of, found[key]) for key in sorted(own | others)]

    def _found(self, keys: set[KeyHour], hours: Sequence[int]) -> dict[KeyHour, _Found]:
        if len(keys) <= KEYS_IN_SQL:
            return self._pick(keys, None) if keys else {}
        dimensions = sorted({dimension for dimension, _, _ in keys})
        condition = f"dimension IN ({', '.join(map(text, dimensions))})"
        found = {}
        sql = recount_sql(ranges_of(hours), dimensions, kept=None)
        for row in self._stream(_answers_sql(sql, hours, condition)):
            if (key := (row[0], row[1], int(row[2]))) in keys:
                found[key] = _read(row)
        return found

    def _pick(self, keys: set[KeyHour], kept: Collection[KeyHour] | None) -> dict[KeyHour, _Found]:
        dimensions = sorted({dimension for dimension, _, _ in keys})
        hours = sorted({hour for _, _, hour in keys})
        if kept is not None:
            wanted = {(dimension, hour) for dimension, _, hour in keys}
            kept = [key for key in kept if (key[0], key[2]) in wanted]
        sql = recount_sql(None, dimensions, keys, kept)
        condition = f"(dimension, value, toUnixTimestamp64Second(hour)) IN ({tuples(keys)})"
        rows = self._query(_answers_sql(sql, hours, condition))
        return {(row[0], row[1], int(row[2])): _read(row) for row in rows}

    def _others_of(self, keys: Collection[KeyHour]) -> set[KeyHour]:
        """`(other)`s that have counted these keys' values, which from now on have rows of their own."""
        if not keys:
            return set()
        names = ", ".join(text(name) for name in sorted({dimension for dimension, _, _ in keys}))
        hours = ranges_of({hour for _, _, hour in keys})
        rows = self._query(
            "SELECT toString(dimension), toUnixTimestamp64Second(hour)"  # noqa: S608 - quoted text and numbers
            f" FROM (SELECT * FROM rate_rows FINAL {between('hour', hours)})"
            f" WHERE value = {text(OTHER_VALUE)} AND dimension IN ({names}) AND {COUNTS_SOMETHING}"
        )
        known = {(row[0], int(row[1])) for row in rows}
        return {(dimension, OTHER_VALUE, hour) for dimension, _, hour in keys if (dimension, hour) in known}

    def _add_versions(self, found: dict[KeyHour, _Found], keys: Collection[KeyHour]) -> None:
        """Zeros for keys that count nothing, with the version of the row they had."""
        missing = sorted(set(keys) - set(found))
        for start in range(0, len(missing), KEYS_IN_SQL):
            some = missing[start : start + KEYS_IN_SQL]
            rows = self._query(
                "SELECT toString(dimension), value, toUnixTimestamp64Second(hour) AS h, max(version)"  # noqa: S608 - quoted text and numbers
                f" FROM rate_rows WHERE (dimension, value, toUnixTimestamp64Second(hour)) IN ({tuples(some)})"
                " GROUP BY dimension, value, h"
            )
            versions = {(row[0], row[1], int(row[2])): int(row[3]) for row in rows}
            found.update((key, _Found(versions.get(key, 0), counts=False, counters=_ZEROS)) for key in some)

    def _keep(self, found: dict[KeyHour, _Found], keys: Collection[KeyHour]) -> None:
        """Of each counter the greater of what is stored and what was counted."""
        doubtful = sorted(keys)
        for start in range(0, len(doubtful), KEYS_IN_SQL):
            some = doubtful[start : start + KEYS_IN_SQL]
            rows = self._query(
                f"SELECT toString(dimension), value, toUnixTimestamp64Second(hour) AS h, {', '.join(COUNTERS)}"  # noqa: S608
                f" FROM rate_rows FINAL WHERE (dimension, value, h) IN ({tuples(some)})"
            )
            for dimension, value, hour, *stored in rows:
                key = (dimension, value, int(hour))
                most = tuple(max(pair) for pair in zip(found[key].counters, map(int, stored), strict=True))
                found[key] = replace(found[key], counters=most)

    def _heights(self, hours: Sequence[int]) -> dict[int, int]:
        sql = (
            f"SELECT intDiv(toUnixTimestamp64Milli(sent_time), 3600000) * {HOUR_S} AS h, count()"  # noqa: S608 - numbers
            f" FROM event_rows {between('sent_time', ranges_of(hours))} GROUP BY h"
        )
        return {int(hour): int(n) for hour, n in self._patiently(lambda: self._query(sql))}

    def _query(self, sql: str) -> Sequence[Sequence[Any]]:
        rows: Sequence[Sequence[Any]] = self._client.query(sql, settings=_SETTINGS).result_rows
        return rows

    def _stream(self, sql: str) -> Iterator[Sequence[Any]]:
        with self._client.query_row_block_stream(sql, settings=_SETTINGS) as blocks:
            for block in blocks:
                yield from block


def key_of_row(row: Row) -> KeyHour:
    """The key-hour that a row answers."""
    return row["dimension"], row["value"], row["hour"]


def same_counters(row: Row, other: Row | None) -> bool:
    """Whether two rows count the same."""
    return other is not None and all(row[name] == other[name] for name in COUNTERS)


def _answers_sql(recount: str, hours: Sequence[int], condition: str) -> str:
    """What `recount` finds, each with the version of the row that is stored and whether that counts anything."""
    counters = ", ".join(f"r.{name}" for name in COUNTERS)
    total = " + ".join(COUNTERS)
    return f"""
SELECT r.dimension, r.value, r.hour, s.stored, s.counting, {counters}
FROM ({recount}) AS r
LEFT JOIN
(
    SELECT toString(dimension) AS dimension, value, toUnixTimestamp64Second(hour) AS hour_s,
        max(version) AS stored, argMax({total} > 0, version) AS counting
    FROM (SELECT * FROM rate_rows {between("hour", ranges_of(hours))})
    WHERE {condition}
    GROUP BY dimension, value, hour_s
) AS s ON r.dimension = s.dimension AND r.value = s.value AND r.hour = s.hour_s
"""  # noqa: S608 - all from constants, numbers and quoted text


def _read(row: Sequence[Any]) -> _Found:
    return _Found(int(row[3]), bool(row[4]), tuple(int(each) for each in row[5:]))


def _row(key: KeyHour, as_of: int, found: _Found) -> Row:
    dimension, value, hour = key
    return {
        "dimension": dimension,
        "value": value,
        "hour": hour,
        "as_of": as_of,
        "stored": found.stored,
        **dict(zip(COUNTERS, found.counters, strict=True)),
    }
