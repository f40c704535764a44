"""Alarms through the real Faust app, in processes of their own on a broker: killed, joined, and ordered about."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest
from alarm_model import BAD, RULES, mails
from crew import PARTITIONS, Crew
from kafka import KafkaConsumer, TopicPartition

from pipelines.alarms.transition import decode, encode_order, partition_of
from schemas.blocks import encode
from schemas.partitioning import of_message

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from schemas.alarms import Alarm

pytestmark = [pytest.mark.sockets, pytest.mark.embedded]


class Alarmed:
    """A crew with rules, and what it tells."""

    def __init__(self, crew: Crew, folder: Path) -> None:
        self.crew = crew
        self.rules = folder / "rules.toml"
        self.rules.write_text(RULES)
        self.consumer = KafkaConsumer(bootstrap_servers=crew.broker, auto_offset_reset="earliest")
        self.consumer.assign([TopicPartition(crew.names.alarms, number) for number in range(PARTITIONS)])
        self.seen: dict[int, bytes] = {}

    def write(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            partition = of_message(row["message_id"], PARTITIONS)
            self.crew.producer.send(self.crew.names.events, encode("ses_event", [row]), partition=partition)
        self.crew.producer.flush()

    def order(self, what: str, number: int) -> None:
        row: Any = {"order_id": f"o{number}", "alarm_key": BAD, "order": what, "operator": "ann", "time": 0}
        block = encode_order(row | {"until": 0, "note": ""})
        self.crew.producer.send(self.crew.names.alarm_orders, block, partition=partition_of(BAD, PARTITIONS))
        self.crew.producer.flush()

    def told(self) -> list[Alarm]:
        """Transitions of the bad campaign; one number never stands for two."""
        for records in self.consumer.poll(50).values():
            for record in records:
                for row in decode(record.value):
                    assert row["alarm_key"] == BAD
                    assert self.seen.setdefault(row["seq"], record.value) == record.value
        rows = [decode(self.seen[seq])[0] for seq in sorted(self.seen)]
        assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
        return rows

    def until(self, cause: str) -> None:
        self.crew.until(
            lambda: any(row["cause"] == cause for row in self.told()), f"an alarm that is {cause}"
        )


@pytest.fixture
def alarmed(broker: str, tmp_path: Path) -> Iterator[Alarmed]:
    crew = Crew(broker, tmp_path)
    made = Alarmed(crew, tmp_path)
    yield made
    made.consumer.close()
    crew.close()


def test_an_alarm_and_an_order(alarmed: Alarmed) -> None:
    worker = alarmed.crew.hire(rules=str(alarmed.rules))
    alarmed.write([*mails(0, "bad", 12, 6), *mails(1000, "good", 30, 0)])
    alarmed.until("evidence")
    alarmed.order("ack", 1)
    alarmed.until("acknowledged")
    assert worker.end(signal.SIGTERM) == 0


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_one_incident_whoever_is_killed(alarmed: Alarmed) -> None:
    crew = alarmed.crew
    first = crew.hire(rules=str(alarmed.rules))
    trouble = [*mails(0, "bad", 12, 6), *mails(1000, "good", 30, 0)]
    alarmed.write(trouble)
    alarmed.until("evidence")
    second = crew.hire(rules=str(alarmed.rules))
    crew.until_shared(first, second)
    first.end(signal.SIGKILL)
    crew.until_shared(second)
    alarmed.write([*trouble, *mails(2000, "bad", 3, 2)])
    alarmed.order("ack", 1)
    alarmed.until("acknowledged")
    second.end(signal.SIGKILL)
    third = crew.hire(rules=str(alarmed.rules))
    alarmed.order("ack", 1)
    alarmed.order("reset", 2)
    alarmed.until("reset")
    assert third.end(signal.SIGTERM) == 0
    causes = [row["cause"] for row in alarmed.told() if row["cause"] != "escalated"]
    assert causes == ["evidence", "acknowledged", "reset"]


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_rules_change_while_nothing_comes(alarmed: Alarmed) -> None:
    """A worker that gets no records looks at them all the same."""
    worker = alarmed.crew.hire(rules=str(alarmed.rules))
    alarmed.write(mails(0, "bad", 12, 6))
    alarmed.until("evidence")
    alarmed.rules.write_text(RULES + 'except = ["bad"]\n')
    alarmed.until("rule_gone")
    assert worker.end(signal.SIGTERM) == 0
