"""Several workers of one group, each a process, on topics of their own; what they are given is known in full.

For tests on the embedded broker and on Apache Kafka, and for `bench/workers.py`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

from pipelines.worker.config import TopicNames, changelogs
from schemas.blocks import decode, encode
from schemas.partitioning import of_message

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from random import Random

PARTITIONS: Final = 4
TOPICS: Final = (
    *("events", "counts", "recounts", "rates", "dead_letters", "alarms", "alarm_orders"),
    *("inbound", "outbound", "threads"),
)
NOON: Final = 1_760_011_200_000
DEADLINE_S: Final = 180
PER_BLOCK: Final = 10

SCRIPT: Final = """
import json, logging, sys
from pathlib import Path
from pipelines.worker.config import TopicNames, WorkerConfig
from pipelines.worker.run import run_worker

logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
logging.getLogger("pipelines.worker.recovery").setLevel(logging.INFO)
told = json.loads(sys.argv[1])
deaf = told.pop("deaf", None)
if deaf is not None:
    from pipelines.worker.consumer import Consumer

    read = Consumer.getmany

    async def getmany(self, timeout):
        async for tp, message in read(self, timeout):
            if tp.partition != deaf:
                yield tp, message

    Consumer.getmany = getmany
topics = TopicNames(**told.pop("topics"))
sys.exit(run_worker(WorkerConfig(data=Path(told.pop("data")), topics=topics, **told), None))
"""
"""A worker; told to be deaf to a partition, it loses what it reads of it, as Faust did after rebalances."""


@dataclass(eq=False)
class Worker:
    """A process and what it says."""

    process: subprocess.Popen[bytes]
    log: Path

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def reads(self) -> int:
        """How many partitions of what agents read (five topics) it has since the last rebalance."""
        found = re.findall(r"Reading (\d+) partitions", self.said())
        return int(found[-1]) if found else 0

    def end(self, number: signal.Signals) -> int:
        """Send it the signal; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(45)


@dataclass(eq=False)
class Crew:
    """A group, its topics, and the counts that its rows must come to."""

    broker: str
    folder: Path
    workers: list[Worker] = field(default_factory=list)
    wanted: Counter[tuple[str, str]] = field(default_factory=Counter)
    known: set[int] = field(default_factory=set)
    rows: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.group = f"crew-{uuid4().hex[:8]}"
        self.names = TopicNames(**{name: f"{self.group}-{name}" for name in TOPICS})
        self.producer = KafkaProducer(bootstrap_servers=self.broker, acks="all", batch_size=0)
        self.admin = KafkaAdminClient(bootstrap_servers=self.broker)
        self.topics = [getattr(self.names, name) for name in TOPICS]
        self.admin.create_topics(
            [NewTopic(name, num_partitions=PARTITIONS, replication_factor=1) for name in self.topics]
        )
        self.admin.wait_for_topics(self.topics, timeout_ms=60_000)  # Kafka creates them in the background
        self.consumer = KafkaConsumer(bootstrap_servers=self.broker, auto_offset_reset="earliest")
        self.consumer.assign([TopicPartition(self.names.rates, number) for number in range(PARTITIONS)])

    def hire(self, **other: Any) -> Worker:
        told = {
            "brokers": self.broker,
            "partitions": PARTITIONS,
            "data": str(self.folder),
            "group": self.group,
            "topics": {name: getattr(self.names, name) for name in TOPICS},
            "replication": 1,
            "rebalance_timeout_s": 2.0,
            "batch_bytes": 0,
        }
        log = self.folder / f"{self.group}-{len(self.workers)}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-c", SCRIPT, json.dumps(told | other)],
                stderr=file,
                stdout=subprocess.DEVNULL,
            )
        self.workers.append(Worker(process, log))
        return self.workers[-1]

    def write(self, numbers: Sequence[int]) -> None:
        """Write the events of these numbers, in blocks; what is written again must not count again."""
        parts: dict[int, list[dict[str, Any]]] = {}
        for number in numbers:
            row = event(number)
            parts.setdefault(of_message(row["message_id"], PARTITIONS), []).append(row)
        for partition, rows in parts.items():
            for start in range(0, len(rows), PER_BLOCK):
                block = encode("ses_event", rows[start : start + PER_BLOCK])
                self.producer.send(self.names.events, block, partition=partition)
        self.producer.flush()
        for number in set(numbers) - self.known:
            self.wanted.update(keys(number))
        self.known.update(numbers)

    def until(self, reached: Callable[[], bool], what: str, limit_s: float = DEADLINE_S) -> float:
        """Wait for it; the seconds that took."""
        began = time.monotonic()
        while not reached():
            if time.monotonic() - began > limit_s:
                logs = "\n".join(f"== {worker.log}\n{worker.said()[-2500:]}" for worker in self.workers)
                raise TimeoutError(
                    f"{what} did not come to be; wanted {self.wanted}, got {self.sends()}: {logs}"
                )
            time.sleep(0.05)
        return time.monotonic() - began

    def until_shared(self, *workers: Worker) -> float:
        """Wait until these workers read every partition between them, and each some."""

        def shared() -> bool:
            counts = [worker.reads() for worker in workers]
            return sum(counts) == 5 * PARTITIONS and all(counts)

        return self.until(shared, f"{len(workers)} workers that share the partitions")

    def until_counted(self) -> float:
        """Wait until the newest rows are what was written, each event once."""
        return self.until(lambda: self.sends() == self.wanted, "the right rows")

    def sends(self) -> dict[tuple[str, str], int]:
        """The sends of the newest version of each (dimension, value)."""
        for records in self.consumer.poll(50).values():
            for record in records:
                for row in decode(record.value):
                    key = row["dimension"], row["value"]
                    self.rows[key] = max(self.rows.get(key, (0, 0)), (int(row["version"]), int(row["sends"])))
        return {key: sends for key, (_, sends) in self.rows.items()}

    def close(self) -> None:
        for worker in self.workers:
            worker.process.kill()
            worker.process.wait()
        self.consumer.close()
        self.producer.close()
        mine = {*self.topics, *changelogs(self.group)}
        there = {entry["name"] for entry in self.admin.describe_topics()}
        self.admin.delete_topics(sorted(mine & there))
        self.admin.close()


def event(number: int) -> dict[str, Any]:
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
    }


def keys(number: int) -> list[tuple[str, str]]:
    """The (dimension, value) pairs that an event counts for."""
    campaign = f"c{number % 3}"
    return [
        ("account", "1"),
        ("provider", "gmail"),
        ("campaign", campaign),
        ("provider_campaign", f"gmail:{campaign}"),
    ]


@contextmanager
def traffic(crew: Crew, random: Random, pause_s: float = 0.1) -> Iterator[None]:
    """New events all the while, and every so often some that were written before."""
    stop = threading.Event()

    def flow() -> None:
        first = len(crew.known)
        while not stop.wait(pause_s):
            again = [random.randrange(first) for _ in range(30)] if first and random.random() < 0.3 else []
            crew.write([*range(first, first + 40), *again])
            first += 40

    thread = threading.Thread(target=flow)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
