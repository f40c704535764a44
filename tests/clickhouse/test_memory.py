"""What a worker starts from: bounded by open hours, retained days and the dimensions that are counted for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from connectors.clickhouse.memory import ClickHouseMemory
from connectors.clickhouse.sql import Through
from schemas import topics
from schemas.partitioning import of_message

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.embedded

HOUR_MS = 3_600_000
SENT = 1_767_225_600_000


@pytest.fixture
def memory(engine: Path, database: str, client: Any) -> Iterator[Any]:
    from connectors.clickhouse import door

    opened = door.serve(engine, database)
    yield lambda *dimensions: ClickHouseMemory(Through(opened.address, opened.token), *dimensions)
    opened.stop()


def test_ids_of_closed_hours_stay_where_they_are(memory: Any, insert: Any, event: Any) -> None:
    rows = [
        event(n << 64, arrival_id=n, message_id=f"m{n // 2}", sent_time=SENT + n * HOUR_MS)
        for n in range(1, 40)
    ]
    insert(topics.EVENTS, rows)
    since = SENT // HOUR_MS + 30
    found = [
        (int(partition), int(hour), int(key))
        for portion in memory().seen_by_partition(7, since)
        for partition, hour, key in zip(*portion, strict=True)
    ]
    assert sorted(found) == sorted(
        (
            of_message(row["message_id"], 7),
            row["sent_time"] // HOUR_MS,
            int.from_bytes(row["event_id"][:8], "little") & ~1 | 1,
        )
        for row in rows[29:]
    )
    hours = np.concatenate([hours for hours, _ in memory().seen(since)])
    assert sorted(hours.tolist()) == list(range(since, since + 10))


def test_an_event_of_the_future_says_nothing_of_how_far_the_stream_is(
    memory: Any, insert: Any, event: Any
) -> None:
    later = int(time.time() * 1000) + 1000 * HOUR_MS
    insert(topics.EVENTS, [event(1), event(2, event_time=later)])
    assert memory().watermark() == (SENT + 1000) // HOUR_MS


def test_counters_of_retained_days_and_counted_dimensions(memory: Any, insert: Any) -> None:
    row = {"value": "a", "version": 1, "sends": 1}
    days = [SENT // 1000 - n * 86_400 for n in range(20)]
    insert(
        topics.RATES,
        [row | {"dimension": name, "hour": day} for day in days for name in ("campaign", "tag:it's")],
    )
    rows = list(memory(["tag:it's", "region"]).counters(3))
    assert {(dimension, hour) for dimension, _, hour, _ in rows} == {("tag:it's", day) for day in days[:4]}
    assert len(list(memory(["campaign", "tag:it's"]).counters(400))) == 40
