"""kill -9 of the real process at any moment: every message arrives, and what comes twice has the same key."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time
import warnings
from typing import TYPE_CHECKING, Any

import pytest

with warnings.catch_warnings():
    # kafka-python reads its schemas through deprecated functions of importlib.resources while it is imported.
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka import KafkaProducer

from connectors.kafka import Positions, client_options
from pipelines.alarms.transition import encode, partition_of, record_key
from schemas import topics

if TYPE_CHECKING:
    from pathlib import Path

    from connectors.settings import Kafka

pytestmark = [pytest.mark.sockets]
COMMAND = (sys.executable, "-P", "-m", "connectors.cli.main", "notify")


class Process:
    """`ses-streams notify` with one route."""

    def __init__(self, kafka: Kafka, url: str, folder: Path) -> None:
        self._config = folder / "settings.toml"
        self._config.write_text(f"""
[kafka]
brokers = "{kafka.brokers}"
partitions = 2
replication = 1
rebalance_timeout_ms = 2000
[notify]
evidence_wait_s = 0.0
[[notify.routes]]
name = "good"
kind = "webhook"
url = "{url}/good"
key = "whsec_c2VzLXN0cmVhbXMgdGVzdHMgc2VjcmV0IGtleQ=="
""")
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("SES_STREAMS_", "AWS_"))
        }
        self._log = (folder / "notify.log").open("ab")
        self.running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.running = subprocess.Popen(
            [*COMMAND, "--config", str(self._config)],
            env=self._environment,
            stdout=self._log,
            stderr=self._log,
        )

    def end(self, *, kill: bool) -> int:
        assert self.running is not None
        (self.running.kill if kill else self.running.terminate)()
        return self.running.wait(60)

    def close(self) -> None:
        if self.running is not None and self.running.poll() is None:
            self.end(kill=True)
        self._log.close()


def send(kafka: Kafka, rows: list[Any]) -> None:
    producer = KafkaProducer(**client_options(kafka))
    for each in rows:
        where = partition_of(each["alarm_key"], 2)
        producer.send(topics.ALARMS, encode(each), key=record_key(each["alarm_key"]), partition=where).get(30)
    producer.close()


def committed(kafka: Kafka) -> int:
    with contextlib.closing(Positions(kafka)) as positions:
        return sum(positions.committed(topics.NOTIFY_GROUP, topics.ALARMS).values())


def until(condition: Any) -> None:
    deadline = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def story(alarm: Any, value: str, seq: int, state: str) -> Any:
    now = round(time.time() * 1000)
    return alarm(seq, state, value=value, time=now, opened_time=now, written_time=now)


@pytest.mark.embedded
def test_sigterm_ends_in_good_order_and_the_next_one_goes_on(
    kafka: Kafka, receiver: Any, alarm: Any, tmp_path: Path
) -> None:
    process = Process(kafka, receiver.url, tmp_path)
    try:
        send(kafka, [story(alarm, "spring", 1, "firing")])
        process.start()
        until(lambda: receiver.kinds() == ["page"])
        until(lambda: committed(kafka) == 1)
        assert process.end(kill=False) == 0
        send(kafka, [story(alarm, "spring", 1, "firing"), story(alarm, "spring", 2, "resolved")])
        process.start()
        until(lambda: committed(kafka) == 3)
        assert receiver.kinds() == ["page", "resolve"]
    finally:
        process.close()


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_killed_at_any_moment(kafka: Kafka, receiver: Any, alarm: Any, tmp_path: Path) -> None:
    each_half = 3 * int(os.environ.get("CHAOS_SEEDS", "2"))
    chance = random.Random(4)
    process = Process(kafka, receiver.url, tmp_path)
    values = [f"v{number}" for number in range(6 * each_half)]
    rows = 0
    kills = 0
    try:
        process.start()
        for half, state in ((1, "firing"), (2, "resolved")):
            for start in range(0, len(values), 6):
                chosen = values[start : start + 6]
                batch = [story(alarm, value, half, state) for value in chosen for _ in range(2)]
                send(kafka, batch)
                rows += len(batch)
                before = len(receiver.got)
                until(lambda before=before: len(receiver.got) > before)
                time.sleep(chance.uniform(0, 0.05))
                process.end(kill=True)
                kills += 1
                process.start()
            # Else one may end before it is told, and then it is not.
            until(lambda rows=rows: committed(kafka) == rows)
    finally:
        process.close()
    assert kills == 2 * each_half
    told: dict[str, list[str]] = {}
    for _, kind, key, _ in receiver.got:
        told.setdefault(key, []).append(kind)
    assert set(told) == {f"ses-streams/complaint_rate:campaign:{value}/1" for value in values}
    for kinds in told.values():
        # Of each at least one, and all pages before all ends.
        assert sorted(kinds) == kinds
        assert set(kinds) == {"page", "resolve"}
    # A kill repeats at most what was being delivered just then: by one route, one message.
    assert len(receiver.got) <= 2 * len(values) + kills
