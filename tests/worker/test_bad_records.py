"""What is not as it should be: deltas and states of other releases, clocks, poison among the good."""

from __future__ import annotations

import random
from io import BytesIO
from typing import Any

import msgspec
import numpy as np
import pytest
from counting_model import HOUR_S, NOON_S, World
from fastavro import schemaless_writer
from storms import Fleet, event

from pipelines.worker.errors import WorkerError
from schemas import topics
from schemas.avro import released
from schemas.blocks import decode, encode
from schemas.counters import COUNTERS
from schemas.partitioning import of_key

ACCOUNT = ("account", "1", NOON_S)


def drained(world: World) -> None:
    with Fleet(world, most=1) as fleet:
        fleet.drain()


def sends(world: World) -> int:
    return world.clickhouse.shown()[ACCOUNT][COUNTERS.index("sends")]


@pytest.mark.parametrize("topic", [topics.EVENTS, topics.COUNTS])
def test_a_block_of_an_unknown_schema_is_a_dead_letter_and_the_rest_goes_on(topic: str) -> None:
    world = World(random.Random(2))
    world.write_events([event(0)], [1])
    unknown = b"\xc3\x01" + b"\x07" * 8 + b"\x02later\0"
    for p in range(world.partitions):
        world.logs[topic, p].append((None, unknown))
    world.write_events([event(3)], [1])
    drained(world)
    letters = [(row["cause"], row["payload"]) for row in world.clickhouse.letters.values()]
    assert letters == [("unknown_schema", unknown)] * world.partitions
    assert sends(world) == 2


def first_release(rows: list[dict[str, Any]], record: str) -> bytes:
    """A block as the first release wrote it."""
    schema = released(record)[0]
    out = BytesIO(b"\xc3\x01" + schema.fingerprint)
    out.seek(0, 2)
    schemaless_writer(out, schema.array, rows)
    return out.getvalue()


def test_deltas_of_the_first_release_are_of_open_hours() -> None:
    world = World(random.Random(2))
    row = {"source_partition": 0, "source_offset": 0, "dimension": "account", "value": "1", "hour": NOON_S}
    block = first_release([row | dict.fromkeys(COUNTERS, 0) | {"sends": 5}], "count_delta")
    world.logs[topics.COUNTS, of_key("account", "1", 2)] += [(None, block)] * 2
    drained(world)
    assert sends(world) == 5
    assert not any(world.logs[topics.RECOUNTS, p] for p in range(2))


def test_state_of_the_first_release_is_taken_over() -> None:
    """One state of all hours a value, ids without hours: nothing counts twice, and new events add."""
    world = World(random.Random(2), dimensions=("account", "provider"))
    drained(world)
    old = [event(0), event(3)]
    world.write_events(old, [2, 2])
    ((partition, _),) = [(p, log) for (topic, p), log in world.logs.items() if topic == topics.EVENTS and log]
    world.committed[topics.WORKER_GROUP, topics.EVENTS, partition] = 1
    keys = np.frombuffer(b"".join(row["event_id"] for row in old), dtype="<u8")[::2] | np.uint64(1)
    world.logs["seen-changelog", partition].append(((0).to_bytes(8, "big"), keys.tobytes()))
    for dimension, value in (("account", "1"), ("provider", "gmail")):
        state = msgspec.msgpack.encode([1, 77, 1, partition, 0, NOON_S // 3600, 1, 2])
        place = of_key(dimension, value, 2)
        world.logs["counters-changelog", place].append((f"{dimension}\0{value}".encode(), state))
        row = {"dimension": dimension, "value": value, "hour": NOON_S, "version": 77, "sends": 2}
        world.logs[topics.RATES, place].append((None, encode("rate_row", [row])))
    drained(world)
    world.write_events([event(0), event(6), event(9)], [1, 2, 2])
    drained(world)
    drained(world)
    assert sends(world) == 4
    assert world.clickhouse.shown() == world.clickhouse.truth()


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        ("counters", b"account\x001", msgspec.msgpack.encode([9, 1, 0])),
        ("counters", b"account\x001", b"\xff\xff"),
        ("counters", b"\x09later", b"x"),
        ("seen", b"\x01z", b"x" * 16),
    ],
)
def test_state_of_a_later_release_stops_the_worker_with_a_sentence(
    table: str, key: bytes, value: bytes
) -> None:
    world = World(random.Random(2))
    world.write_events([event(0)], [1])
    for p in range(world.partitions):
        world.logs[f"{table}-changelog", p].append((key, value))
    stopped: BaseException | None = None
    try:
        with Fleet(world, most=1) as fleet:
            stopped = fleet.workers[0].app.lost
            fleet.drain()
    except WorkerError as error:
        stopped = error
    assert isinstance(stopped, WorkerError)
    assert "release" in str(stopped)


@pytest.mark.parametrize("days", [-3, 3])
def test_a_sender_whose_clock_is_days_off_spoils_no_other_hour(days: int) -> None:
    """Its events count in the hours they name; those of others stay right, whatever closes."""
    world = World(random.Random(2))
    off = [
        event(
            n, sent_time=(NOON_S + days * 24 * HOUR_S) * 1000, event_time=(NOON_S + days * 24 * HOUR_S) * 1000
        )
        for n in (20, 21, 22)
    ]
    good = [event(n) for n in range(6)]
    world.write_events([*good[:3], *off, *good, *off], [1] * 15)
    drained(world)
    assert world.clickhouse.shown() == world.clickhouse.truth()
    assert sends(world) == 6


def test_no_row_says_a_rate_beyond_one() -> None:
    """More complaints than deliveries: limits stay limits."""
    world = World(random.Random(2))
    sent = [
        event(
            0, event_type="Delivery", recipients=[{**event(0)["recipients"][0], "reports_complaints": True}]
        )
    ]
    world.write_events([*sent, *(event(n, event_type="Complaint") for n in (3, 6, 9))], [9] * 4)
    drained(world)
    logs = (log for (topic, _), log in world.logs.items() if topic == topics.RATES)
    rows = [row for log in logs for _, value in log for row in decode(value or b"")]
    limits = [row[name] for row in rows for name in row if name.endswith(("_low", "_high"))]
    found = [limit for limit in limits if limit is not None]
    assert found
    assert all(0 <= limit <= 1 for limit in found)
