"""A broker with our topics, a clock that can be put forward, and a watch in a thread."""

from __future__ import annotations

import contextlib
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

import pytest

with warnings.catch_warnings():
    # kafka-python reads its schemas through deprecated functions of importlib.resources while it is imported.
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from connectors import kafka as kafka_clients
from connectors.settings import Kafka, Settings
from connectors.watch.rounds import Policy
from connectors.watch.watch import Watch
from pipelines.alarms.rules_file import RulesFile
from pipelines.alarms.transition import decode, encode_order, partition_of
from schemas import topics
from schemas.alarms import AlarmOrder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

POLICY = Policy(look_s=0.1, survey_s=0.1, hear_s=0.05, again_s=0.1, grace_s=0)
NOWHERE = "clickhouse://nobody@127.0.0.1:1/ses"
"""No ClickHouse answers there."""


class Clock:
    """The wall clock, and more."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


class Place:
    """A broker, and watches on it."""

    def __init__(self, kafka: Kafka, rules: Path) -> None:
        self.kafka = kafka
        self.rules = rules
        self.clock = Clock()
        self.settings = Settings(kafka=kafka)
        self.failing: list[Any] = []
        self._producer = KafkaProducer(**kafka_clients.client_options(kafka))
        self._running: list[tuple[threading.Event, threading.Thread]] = []

    def rule(self, text: str) -> None:
        self.rules.write_text(text)

    def watch(self, target: Any = NOWHERE, policy: Policy = POLICY) -> Watch:
        watch = Watch(
            self.settings,
            RulesFile(self.rules),
            target,
            failures=lambda: self.failing,
            policy=policy,
            clock=self.clock,
        )
        stop = threading.Event()
        thread = threading.Thread(target=watch.run, args=(stop,), daemon=True)
        thread.start()
        self._running.append((stop, thread))
        return watch

    def stop(self) -> None:
        for stop, _ in self._running:
            stop.set()
        for _, thread in self._running:
            thread.join(60)
            assert not thread.is_alive()
        self._running = []

    def close(self) -> None:
        self.stop()
        self._producer.close()

    def send(self, topic: str, value: bytes, partition: int = 0) -> None:
        self._producer.send(topic, value, partition=partition).get(10)

    def order(self, key: str, order: str, order_id: str, until: int = 0) -> None:
        row = AlarmOrder(
            order_id=order_id, alarm_key=key, order=order, operator="ann", time=0, until=until, note=""
        )
        self.send(topics.ALARM_ORDERS, encode_order(row), partition_of(key, self.kafka.partitions))

    def alarms(self) -> list[Any]:
        """Every transition there is by now, in the order of each key."""
        with contextlib.closing(
            KafkaConsumer(**kafka_clients.client_options(self.kafka), auto_offset_reset="earliest")
        ) as consumer:
            places = [TopicPartition(topics.ALARMS, number) for number in range(self.kafka.partitions)]
            consumer.assign(places)
            ends = consumer.end_offsets(places)
            rows: list[Any] = []
            deadline = time.monotonic() + 60
            while any(consumer.position(place) < ends[place] for place in places):
                assert time.monotonic() < deadline
                for records in consumer.poll(timeout_ms=100).values():
                    for record in records:
                        rows += [
                            row | {"kafka_key": record.key.decode(), "partition": record.partition}
                            for row in decode(record.value)
                        ]
            return rows

    def states(self, key: str) -> list[tuple[int, str, str]]:
        return [(row["seq"], row["state"], row["cause"]) for row in self.alarms() if row["alarm_key"] == key]


@pytest.fixture
def place(kafka: Kafka, tmp_path: Path) -> Iterator[Place]:
    place = Place(kafka, tmp_path / "rules.toml")
    yield place
    place.close()


@pytest.fixture
def until() -> Callable[..., Any]:
    def poll(condition: Callable[[], Any], timeout: float = 60) -> Any:
        deadline = time.monotonic() + timeout
        while not (result := condition()):
            assert time.monotonic() < deadline, "it did not come true in time"
            time.sleep(0.05)
        return result

    return poll
