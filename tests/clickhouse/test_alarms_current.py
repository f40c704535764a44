"""What `alarms list` and `show` ask, on real ClickHouse; and orders through a real broker."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from kafka import KafkaConsumer, TopicPartition

from connectors import kafka as kafka_clients
from connectors.alarms.current import current, done, history, near_names, unknown
from connectors.alarms.orders import await_done, send
from connectors.alarms.tables import of_current, of_history
from connectors.errors import ClickHouseError
from pipelines.alarms.machine import HOUR_MS, Machine, advance, obey
from pipelines.alarms.reading import Reading
from pipelines.alarms.rules import defaults
from pipelines.alarms.transition import decode_orders, partition_of, row
from schemas import topics
from schemas.alarms import Alarm, AlarmOrder, alarm_key
from schemas.blocks import SINGLE_OBJECT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from connectors.clickhouse.sql import Through
    from connectors.settings import Kafka

pytestmark = pytest.mark.embedded
START = 490_000 * HOUR_MS
"""2025-11-24 16:00 UTC."""
RULE = defaults().by_name["complaint_rate"]


def order(key: str, kind: str, number: int, operator: str = "ann", **more: Any) -> AlarmOrder:
    fields: dict[str, Any] = {"order_id": f"o{number}", "time": START, "until": 0, "note": ""}
    return AlarmOrder(alarm_key=key, order=kind, operator=operator, **{**fields, **more})


def told(value: str, steps: Sequence[Reading | AlarmOrder]) -> list[Alarm]:
    """The rows that a campaign's machine makes."""
    machine, rows, clock = Machine(), [], START
    for step in steps:
        if isinstance(step, Reading):
            clock = step.time
            machine, transition = advance(machine, RULE, step)
        else:
            machine, transition = obey(machine, RULE, step, clock)
        if transition is not None:
            rows.append(row(transition, RULE.name, "campaign", value, clock + 5))
    return rows


def reading(hours: int, proven: Any, **more: Any) -> Reading:
    time = START + hours * HOUR_MS
    facts = {"hits": 9, "trials": 2000, "hit": "complaints", "trial": "eligible deliveries"}
    usual = {"last_hit": time, "rate": 0.0045, "limit": 0.001, "e_value": 12345.6, "facts": facts}
    return Reading(time, proven, **(usual | more))


SPRING, AUTUMN, ODD = (
    alarm_key("complaint_rate", "campaign", name) for name in ("spring", "autumn", "it's \\ a:b")
)
MACHINES = {
    "spring": [
        reading(0, "warning"),
        order(SPRING, "ack", 1, note="looking"),
        order(SPRING, "silence", 2, "bob", until=START + 100 * HOUR_MS),
        reading(3, "critical", limit=0.003),
    ],
    "autumn": [reading(1, "critical"), order(AUTUMN, "ack", 3), order(AUTUMN, "reset", 4)],
    "it's \\ a:b": [reading(2, "warning")],
}


@pytest.fixture
def landed(insert: Callable[..., None]) -> None:
    rows = [each for name, steps in MACHINES.items() for each in told(name, steps)]
    insert(topics.ALARMS, rows)
    richer = {**rows[0], "revision": 1, "evidence": json.dumps({"hits": 9, "summary": "Link x is bad."})}
    insert(topics.ALARMS, [richer, *rows[1:]])


@pytest.mark.usefixtures("landed")
def test_the_open_ones_come_first_and_the_worst_of_them(target: Through) -> None:
    found = current(target)
    assert [each.last["alarm_key"] for each in found] == [SPRING, ODD, AUTUMN]
    assert [each.is_open for each in found] == [True, True, False]
    assert [each.acknowledged_by for each in found] == ["ann", "", ""], "an incident's, not the key's"
    first = found[0].last
    assert (first["severity"], first["seq"], first["incident"]) == ("critical", 4, 1)
    assert (first["opened_time"], first["time"]) == (START, START + 3 * HOUR_MS)
    assert current(target, ODD)[0].last["value"] == "it's \\ a:b"
    assert current(target, "complaint_rate:campaign:none") == []
    text = of_current(found, START + 50 * HOUR_MS).splitlines()
    assert text[1].split("  ")[0] == "firing"
    for cell in (
        "critical",
        "2025-11-24 16:00",
        "0.45 %",
        "0.3 %",
        "1.23e+04",
        "ann, silent until 2025-11-28 20:00",
    ):
        assert f"  {cell}" in text[1]
    assert text[1].endswith(SPRING)
    assert "silent" not in of_current(found, START + 200 * HOUR_MS)


@pytest.mark.usefixtures("landed")
def test_all_of_one_alarm_with_the_best_evidence(target: Through) -> None:
    found = history(target, SPRING)
    assert [each["cause"] for each in found] == ["evidence", "acknowledged", "silenced", "escalated"]
    assert json.loads(found[0]["evidence"])["summary"] == "Link x is bad.", "of two revisions the higher one"
    text = of_history(found)
    assert "silenced until 2025-11-28 20:00" in text
    assert "  2: looking" in text
    assert "Evidence of 4:" in text
    assert "9 complaints in 2,000 eligible deliveries" in text
    assert f"Alarm {SPRING}, rule complaint_rate" in text


@pytest.mark.usefixtures("landed")
def test_an_order_is_seen_to_be_done(target: Through) -> None:
    found = done(target, SPRING, "o2")
    assert found is not None
    assert (found["cause"], found["operator"]) == ("silenced", "bob")
    assert done(target, SPRING, "o3") is None, "of another key"
    assert await_done(lambda: done(target, SPRING, "o1"), 0) is not None
    assert await_done(lambda: None, 0) is None


@pytest.mark.usefixtures("landed")
def test_an_unknown_key_names_those_that_are_like_it(target: Through) -> None:
    with pytest.raises(ClickHouseError) as caught:
        history(target, "spring")
    assert str(caught.value) == f"there is no alarm spring; did you mean {SPRING}?"
    assert SPRING in str(unknown(target, "complaint_rat:campain:sprng"))
    assert "alarms list --all" in str(unknown(target, "zzz"))
    assert near_names("", ["a", "b"]) == []


def test_nothing_has_ever_opened(target: Through) -> None:
    assert current(target) == []
    with pytest.raises(ClickHouseError, match="there is no alarm x"):
        history(target, "x")


def test_an_order_goes_to_the_partition_of_its_key(kafka: Kafka) -> None:
    wanted = [
        order(key, "reset", index, note="ü") for index, key in enumerate((SPRING, AUTUMN, ODD, f"{ODD}2"))
    ]
    for each in wanted:
        send(each, kafka, SINGLE_OBJECT)
    consumer = KafkaConsumer(
        **kafka_clients.client_options(kafka), group_id=None, auto_offset_reset="earliest"
    )
    try:
        places = [TopicPartition(topics.ALARM_ORDERS, number) for number in range(2)]
        consumer.assign(places)
        got: list[tuple[int, AlarmOrder]] = []
        for _ in range(60):
            for place, records in consumer.poll(timeout_ms=1000).items():
                got += [(place.partition, each) for record in records for each in decode_orders(record.value)]
            if len(got) == len(wanted):
                break
    finally:
        consumer.close()
    assert sorted(each["order_id"] for _, each in got) == ["o0", "o1", "o2", "o3"]
    assert {number for number, _ in got} == {0, 1}
    for number, each in got:
        assert each in wanted
        assert number == partition_of(each["alarm_key"], 2)
