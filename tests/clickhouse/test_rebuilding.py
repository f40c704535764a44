"""The changelogs that `rebuild` writes, read as the worker reads them."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from connectors import rebuilding
from connectors.clickhouse import door
from connectors.clickhouse.memory import ClickHouseMemory
from connectors.clickhouse.sql import Through
from pipelines.alarms.machine import Machine, pack
from pipelines.alarms.transition import partition_of
from pipelines.counting import rate
from pipelines.counting.caps import Caps
from pipelines.counting.days import Days, key_of
from pipelines.worker import seen_records
from pipelines.worker.alarm_table import Machines
from pipelines.worker.config import WorkerConfig
from schemas import topics
from schemas.alarms import parts_of
from schemas.partitioning import of_key, of_message

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.embedded

SENT = 1_767_225_600
CONFIG = WorkerConfig(brokers="", partitions=3, data=Path("none"), open_hours=24, retention_days=3)
NOW_US = (SENT + 40 * 86_400) * 1_000_000


@pytest.fixture
def memory(engine: Path, database: str, client: Any) -> Iterator[ClickHouseMemory]:
    opened = door.serve(engine, database)
    yield ClickHouseMemory(Through(opened.address, opened.token))
    opened.stop()


def test_ids_of_open_hours_by_partition(
    memory: ClickHouseMemory, insert: Any, event: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "FULL_KEYS", 4)
    monkeypatch.setattr(rebuilding, "_HELD_KEYS", 10)
    rows = [
        event(n << 64, arrival_id=n, sent_time=(SENT + n * 3600) * 1000, event_time=(SENT + n * 3600) * 1000)
        for n in range(1, 61)
    ]
    insert(topics.EVENTS, rows)
    records = list(rebuilding.seen(memory, CONFIG, NOW_US // 1_000_000))
    assert len({(partition, key) for partition, key, _ in records}) == len(records)
    marks, ids = {}, defaultdict(set)
    for partition, key, value in records:
        parsed = seen_records.parse(key, value)
        if isinstance(parsed, seen_records.Watermark):
            marks[partition] = parsed.hour
        else:
            assert isinstance(parsed, seen_records.Ids)
            assert parsed.keys is not None
            assert parsed.keys.size <= 4
            ids[partition, parsed.bucket] |= set(parsed.keys.tolist())
    latest = SENT // 3600 + 60
    assert marks == dict.fromkeys(range(3), latest)
    wanted = defaultdict(set)
    for row in rows:
        hour = row["sent_time"] // 3_600_000
        if hour > latest - 24:
            key = int.from_bytes(row["event_id"][:8], "little") & ~1 | 1
            wanted[of_message(row["message_id"], 3), hour // 12].add(key)
    assert ids == wanted


def test_states_of_retained_days_and_what_is_beyond_the_cap(memory: ClickHouseMemory, insert: Any) -> None:
    row = {"dimension": "campaign", "version": 70, "sends": 5}
    days = [SENT - n * 86_400 for n in range(6)]
    insert(topics.RATES, [row | {"value": value, "hour": day} for value in ("a", "b") for day in days])
    insert(topics.RATES, [row | {"value": "(other)", "hour": days[1]}])
    found = {partition: Days() for partition in range(3)}
    for partition, key, value in rebuilding.counters(memory, CONFIG, NOW_US):
        found[partition].apply(key, value)

    def state_of(value: str, hour: int) -> rate.State | None:
        name = key_of("campaign", value)
        day = rate.day_of(hour)
        packed = found[of_key("campaign", value, 3)].get(name, day)
        return None if packed is None else rate.unpack(packed, day)

    state = state_of("a", days[2])
    assert state is not None
    assert (state.counters(days[2]) or [])[0] == 5
    assert (state.marks, state.version) == ({}, 70)
    assert state_of("a", days[4]) is None
    assert state_of("(other)", days[1]) is not None
    assert {days.watermark for days in found.values()} == {SENT}
    # Whoever is new in the hour that has an `(other)`, or before, belongs to it; later there is room.
    place = found[0]
    refused, new = Caps(10, place.caps).decide(
        "campaign",
        [("new", days[1], 1), ("b", days[1] - 3600, 1), ("new", days[0], 1)],
        place,
        lambda _, __: False,
        SENT,
    )
    assert refused == {("new", days[1]), ("b", days[1] - 3600)}
    assert new == {"new": days[1] + 3600}


def transition(key: str, seq: int, signal: str = "complaint_rate", **facts: Any) -> dict[str, Any]:
    machine = Machine(seq=seq, state="firing", severity="warning", incident=1, changed=seq, signal=signal)
    row = {"alarm_key": key, "seq": seq, "signal": signal, "machine": pack(machine)}
    _, dimension, value = parts_of(key)
    return (
        row
        | {"dimension": dimension, "value": value, "time": seq, "state": "firing", "severity": "warning"}
        | facts
    )


def test_alarms_go_on_from_their_last_transition(memory: ClickHouseMemory, insert: Any) -> None:
    """Of one the last has landed, of another it is on its way; of signals of others nothing is kept."""
    old, new = "complaint_rate:campaign:old", "complaint_rate:campaign:new"
    rows = [transition(old, 1), transition(old, 2), transition(old, 2, revision=1), transition(new, 1)]
    insert(topics.ALARMS, [*rows, transition("pipeline:pipeline:sink", 9, "pipeline")])
    told: Any = [
        transition(old, 1),
        transition(new, 2),
        transition("traffic_stopped:account:1", 4, "traffic_stopped"),
    ]
    found = {partition: Machines() for partition in range(3)}
    for partition, key, value in rebuilding.alarms(memory.machines(), told, CONFIG, {0: SENT, 1: SENT}):
        found[partition].apply(key, value)
    held = {
        key: (partition, each.machine.seq)
        for partition in found
        for key, each in found[partition].held.items()
    }
    assert held == {key: (partition_of(key, 3), 2) for key in (old, new)}
    assert found[0].looked == found[1].looked == (SENT + 3600) * 1000
    assert not any(each.unsent for each in found.values())
