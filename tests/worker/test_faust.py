"""The real Faust app in a process of its own, on a broker."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

from pipelines.worker.config import RejectLimits, TopicNames, WorkerConfig, changelogs
from pipelines.worker.errors import BrokerUnreachable, TopicsError
from pipelines.worker.topics import prepare
from schemas.blocks import decode, encode
from schemas.partitioning import of_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

pytestmark = [pytest.mark.sockets, pytest.mark.embedded]

PARTITIONS = 4
TOPICS = (
    *("events", "counts", "recounts", "rates", "dead_letters", "alarms", "alarm_orders"),
    *("inbound", "outbound", "threads"),
)
NOON = 1_760_011_200_000
HOUR = NOON // 1000

SCRIPT = """
import json, logging, sys
from pathlib import Path
import numpy as np
from pipelines.worker.config import TopicNames, WorkerConfig
from pipelines.worker.run import run_worker

class Remembered:
    def __init__(self, given): self.given = given
    def watermark(self): return self.given["hour"]
    def seen(self, since):
        keys = np.array(self.given["seen"], dtype=np.uint64)
        yield np.full(keys.size, self.given["hour"]), keys
    def machines(self): return iter(())
    def sent(self, days): return iter(())
    def citing(self, days): return iter(())
    def received(self, days): return iter(())
    def members(self): return iter(())
    def told(self): return iter(())
    def counters(self, *_): yield from ((d, v, h, tuple(c)) for d, v, h, c in self.given["counters"])
    def last_version(self): return self.given["last_version"]

logging.basicConfig(level=logging.WARNING)
told = json.loads(sys.argv[1])
topics = TopicNames(**told.pop("topics"))
memory = told.pop("memory")
config = WorkerConfig(data=Path(told.pop("data")), topics=topics, **told)
sys.exit(run_worker(config, None if memory is None else Remembered(memory)))
"""


class Stage:
    """Topics and a group of a test's own."""

    def __init__(self, broker: str, data: Path) -> None:
        self.broker, self.data = broker, data
        self.group = f"worker-{uuid4().hex[:8]}"
        self.names = TopicNames(**{name: f"{self.group}-{name}" for name in TOPICS})
        self.producer = KafkaProducer(bootstrap_servers=broker, acks="all")
        self.admin = KafkaAdminClient(bootstrap_servers=broker)
        self.create(*(getattr(self.names, name) for name in TOPICS))

    def create(self, *names: str, partitions: int = PARTITIONS) -> None:
        self.admin.create_topics(
            [NewTopic(name, num_partitions=partitions, replication_factor=1) for name in names]
        )
        self.admin.wait_for_topics(names, timeout_ms=60_000)  # Kafka creates them in the background

    def config(self, **other: Any) -> WorkerConfig:
        return WorkerConfig(
            **{"brokers": self.broker, "partitions": PARTITIONS, "data": self.data, "group": self.group}
            | {"topics": self.names, "replication": 1, "rebalance_timeout_s": 2.0}
            | other
        )

    @contextmanager
    def worker(self, memory: dict[str, Any] | None = None) -> Iterator[subprocess.Popen[bytes]]:
        names = self.names
        told = {
            "brokers": self.broker,
            "partitions": PARTITIONS,
            "data": str(self.data),
            "group": self.group,
            "topics": {name: getattr(names, name) for name in TOPICS},
            "replication": 1,
            "rebalance_timeout_s": 2.0,
            "count_batch": 4,
            "memory": memory,
        }
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, json.dumps(told)],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def write(self, blocks: Sequence[tuple[int, bytes]]) -> None:
        for partition, data in blocks:
            self.producer.send(self.names.events, data, partition=partition)
        self.producer.flush()

    def read(
        self, topic: str, until: Callable[[list[dict[str, Any]]], bool], limit_s: float = 120
    ) -> list[dict[str, Any]]:
        """Rows of a topic from its beginning, until they satisfy."""
        consumer = KafkaConsumer(bootstrap_servers=self.broker, auto_offset_reset="earliest")
        rows: list[dict[str, Any]] = []
        try:
            consumer.assign([TopicPartition(topic, number) for number in range(PARTITIONS)])
            deadline = time.monotonic() + limit_s
            while not until(rows):
                if time.monotonic() > deadline:
                    pytest.fail(f"{topic} has only {len(rows)} rows: {rows[-3:]}")
                for records in consumer.poll(200).values():
                    rows += [row for record in records for row in decode(record.value)]
        finally:
            consumer.close()
        return rows

    def close(self) -> None:
        names = self.names
        mine = [names.events, names.counts, names.rates, names.dead_letters, *changelogs(self.group)]
        there = {entry["name"] for entry in self.admin.describe_topics()}
        self.admin.delete_topics([name for name in mine if name in there])
        self.admin.close()
        self.producer.close()


@pytest.fixture
def stage(broker: str, tmp_path: Path) -> Iterator[Stage]:
    made = Stage(broker, tmp_path)
    yield made
    made.close()


def event(number: int, **facts: Any) -> dict[str, Any]:
    return {
        "event_id": number.to_bytes(4, "little") * 4,
        "event_type": "Send",
        "event_time": NOON,
        "sent_time": NOON,
        "message_id": f"m{number}",
        "account": "1",
        "campaign": f"c{number % 3}",
        "recipients": [{"address": "x", "domain": "gmail.com", "provider": "gmail"}],
        "tagged": True,
    } | facts


def blocks_of(numbers: Sequence[int]) -> list[tuple[int, bytes]]:
    """Blocks of up to ten events, each in its partition."""
    parts: dict[int, list[dict[str, Any]]] = {}
    for number in numbers:
        row = event(number)
        parts.setdefault(of_message(row["message_id"], PARTITIONS), []).append(row)
    return [
        (partition, encode("ses_event", rows[start : start + 10]))
        for partition, rows in parts.items()
        for start in range(0, len(rows), 10)
    ]


def sends(rows: list[dict[str, Any]]) -> dict[tuple[str, str], int]:
    """The sends of the newest version of each (dimension, value)."""
    return {
        (row["dimension"], row["value"]): row["sends"]
        for row in sorted(rows, key=lambda row: int(row["version"]))
    }


def account_reaches(total: int) -> Callable[[list[dict[str, Any]]], bool]:
    return lambda rows: sends(rows).get(("account", "1")) == total


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_killed_in_the_middle_and_started_again_it_ends_with_the_same_rows(stage: Stage) -> None:
    first, second = range(600), range(300, 1200)
    with stage.worker() as worker:
        stage.write(blocks_of(first))
        stage.read(stage.names.rates, bool)
        # More is under way, the repetitions of what was counted among it, when the process dies.
        stage.write(blocks_of(second))
        worker.send_signal(signal.SIGKILL)
    stage.write([(2, b"poison"), *blocks_of(first)])
    with stage.worker() as worker:
        rows = stage.read(stage.names.rates, account_reaches(1200))
        (letter,) = stage.read(stage.names.dead_letters, bool)
        stage.write(blocks_of(range(1200, 1260)))
        rows = stage.read(stage.names.rates, account_reaches(1260))
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0
    assert sends(rows)["campaign", "c0"] == 420
    assert sends(rows)["provider_campaign", "gmail:c1"] == 420
    assert (letter["stage"], letter["payload"]) == ("count", b"poison")
    assert letter["source"].startswith(f"kafka://{stage.names.events}/2/")


def test_with_a_memory_it_goes_on_from_there_and_writes_no_changelog(stage: Stage) -> None:
    known = [int.from_bytes(event(n)["event_id"][:8], "little") & ~1 | 1 for n in range(50)]
    memory = {
        "seen": known,
        "hour": HOUR // 3600,
        "counters": [["account", "1", HOUR, [1000, *[0] * 14]]],
        "last_version": 2**60,
    }
    stage.write(blocks_of(range(80)))
    with stage.worker(memory) as worker:
        rows = stage.read(stage.names.rates, account_reaches(1030))
        worker.send_signal(signal.SIGINT)
        assert worker.wait(30) == 0
    assert all(row["version"] > 2**60 for row in rows)
    assert not set(changelogs(stage.group)) & {entry["name"] for entry in stage.admin.describe_topics()}


def test_what_failed_is_not_acknowledged_and_ends_the_process(stage: Stage) -> None:
    stage.write([(0, b"poison")] * 150)
    with stage.worker() as worker:
        _, said = worker.communicate(timeout=60)
    assert worker.returncode == 1
    assert b"100 records in a row" in said
    consumer = KafkaConsumer(bootstrap_servers=stage.broker, group_id=stage.group)
    try:
        committed = consumer.committed(TopicPartition(stage.names.events, 0)) or 0
    finally:
        consumer.close()
    assert committed <= RejectLimits().in_a_row - 1


def test_topics_are_looked_at_before_anything_starts(stage: Stage) -> None:
    missing = stage.config(topics=replace(stage.names, counts="nowhere"))
    with pytest.raises(TopicsError, match=r"no topic nowhere: run `ses-streams migrate`"):
        prepare(missing, tables=False)
    with pytest.raises(TopicsError, match=r"must have 5 partitions .* has 4"):
        prepare(stage.config(partitions=5), tables=False)
    prepare(stage.config(), tables=True)
    assert set(changelogs(stage.group)) <= {entry["name"] for entry in stage.admin.describe_topics()}
    prepare(stage.config(), tables=True)


def test_without_a_broker_it_says_so(tmp_path: Path) -> None:
    told = {"brokers": "127.0.0.1:1", "partitions": 1, "data": str(tmp_path), "connect_s": 1.0, "topics": {}}
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(told | {"memory": None})], capture_output=True, check=False
    )
    assert ended.returncode == BrokerUnreachable.exit_code
    assert b"Kafka at 127.0.0.1:1 does not answer" in ended.stderr
    assert b"Traceback" not in ended.stderr
