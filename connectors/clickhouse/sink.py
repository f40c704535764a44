"""The sink: Kafka to ClickHouse in large inserts, committed after ClickHouse has them.

The consumer's thread only polls, gathers and commits; inserts run in a thread of their own, one at a time,
while the next batch gathers. So heart-beats go on however long ClickHouse is away, and what waits is bounded:
beyond `Policy.max_bytes` the partitions are paused.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from kafka import KafkaConsumer, TopicPartition

from connectors import kafka as kafka_clients
from connectors.clickhouse.inserts import TARGETS
from connectors.clickhouse.landing import Arrival, Landed, Lander, Limits, Retry, Stopped, receive
from connectors.clickhouse.latency import Latencies, event_times
from connectors.kafka_commits import Commits, Rebalances, consumer_options, subscribe, throttle
from schemas import topics
from schemas.blocks import SINGLE_OBJECT, Framing

if TYPE_CHECKING:
    from collections.abc import Callable

    from connectors.clickhouse.client import Client
    from connectors.settings import Kafka

LOG: Final = logging.getLogger(__name__)
_LATENCIES: Final = 1024


@dataclass(frozen=True, slots=True)
class Policy:
    """When a batch is inserted, and how much may wait."""

    rows: int = 50_000
    linger_s: float = 0.5
    """How long the first row of a batch waits for company. ClickHouse wants few inserts a second: with more,
    parts pile up faster than they merge."""
    max_bytes: int = 128 * 1024 * 1024
    """Gathered and not landed; beyond it the consumer is paused."""
    stop_s: float = 20.0
    """How long a stop waits for the insert that runs."""
    retry: Retry = field(default_factory=Retry)


@dataclass(slots=True)
class Numbers:
    """What the sink has done since it started."""

    records: int = 0
    rows: int = 0
    inserts: int = 0
    letters: int = 0
    commits: int = 0
    retries: int = 0
    lag: int = 0
    """Records of our partitions that have not landed."""
    trouble: str = ""
    """What ClickHouse says while it takes nothing."""
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=_LATENCIES))
    """Seconds from Kafka's timestamp of a batch's oldest record until ClickHouse had it, for each batch."""
    event_latencies: Latencies = field(default_factory=Latencies)
    """From when events happened until ClickHouse had them; of each batch, those of its oldest block."""


@dataclass(slots=True)
class _Batch:
    """Gathered records, and where each partition's next offset is."""

    arrivals: list[Arrival] = field(default_factory=list)
    next_offsets: dict[TopicPartition, int] = field(default_factory=dict)
    rows: int = 0
    size: int = 0
    since: float = 0.0
    generation: int = 0

    def add(self, where: TopicPartition, arrival: Arrival, now: float) -> None:
        if not self.arrivals:
            self.since = now
        self.arrivals.append(arrival)
        self.next_offsets[where] = arrival.offset + 1
        self.rows += arrival.rows
        self.size += len(arrival.value)


class Sink:
    """Consumes every topic that ends in ClickHouse (`TARGETS`) as one member of the sink's group."""

    def __init__(
        self,
        kafka: Kafka,
        client: Client,
        *,
        policy: Policy | None = None,
        framing: Framing = SINGLE_OBJECT,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._kafka = kafka
        self._policy = policy or Policy()
        self._framing = framing
        self._clock = clock
        self._halt = threading.Event()
        self._lander = Lander(client, self._halt, self._policy.retry)
        self._limits = Limits()
        self._batch = _Batch()
        self._flying: tuple[_Batch, Future[Landed]] | None = None
        self._generation = 0
        self._commits = Commits()
        self._measured = 0.0
        self.numbers = Numbers()
        self.ready = threading.Event()
        """Set once partitions are assigned."""

    def run(self, stop: threading.Event) -> None:
        """Consume until told to stop; what has been gathered by then is still landed, if ClickHouse takes it.

        Raises:
            BrokerError: Kafka does not answer, or refuses.
            ClickHouseError: more records were refused than the limits allow.
        """
        with kafka_clients.sentences(self._kafka):
            consumer = KafkaConsumer(**consumer_options(self._kafka, topics.SINK_GROUP))
            inserter = ThreadPoolExecutor(1, thread_name_prefix="clickhouse-insert")
            try:
                subscribe(
                    consumer, tuple(TARGETS), Rebalances(consumer, self._rebalanced, self.ready.set), stop
                )
                while not stop.is_set():
                    self._turn(consumer, inserter)
                self._drain(consumer, inserter)
            finally:
                self._halt.set()
                inserter.shutdown()
                consumer.close(autocommit=False)

    def _turn(self, consumer: Any, inserter: ThreadPoolExecutor) -> None:
        """Poll once; land and commit what is due."""
        polled = consumer.poll(timeout_ms=50 if self._busy else 100)
        self._take(polled)
        self._settle(consumer)
        if self._flying is None and self._due():
            self._start(inserter)
        self._commits.pay_due(consumer)
        self.numbers.commits = self._commits.count
        now = time.monotonic()
        if now - self._measured >= 1:
            self._measured = now
            self.numbers.lag = self._lag(consumer)
        waiting = self._batch.size + (self._flying[0].size if self._flying else 0)
        throttle(consumer, waiting, self._policy.max_bytes)

    @property
    def _busy(self) -> bool:
        return self._flying is not None or bool(self._batch.arrivals)

    def _take(self, polled: dict[Any, list[Any]]) -> None:
        now = time.monotonic()
        for where, records in polled.items():
            for record in records:
                arrival = receive(
                    where.topic, where.partition, record.offset, record.timestamp, record.value, self._framing
                )
                self._batch.add(where, arrival, now)
            self.numbers.records += len(records)

    def _due(self) -> bool:
        batch = self._batch
        full = batch.rows >= self._policy.rows or batch.size >= self._policy.max_bytes // 2
        return bool(batch.arrivals) and (full or time.monotonic() - batch.since >= self._policy.linger_s)

    def _start(self, inserter: ThreadPoolExecutor) -> None:
        batch, self._batch = self._batch, _Batch(generation=self._generation)
        self._flying = (batch, inserter.submit(self._lander.land, batch.arrivals))

    def _settle(self, consumer: Any) -> None:
        """Commit the batch that has landed, if it has."""
        self.numbers.retries, self.numbers.trouble = self._lander.retries, self._lander.trouble
        if self._flying is None or not self._flying[1].done():
            return
        batch, future = self._flying
        self._flying = None
        self._commit(consumer, batch, future.result())

    def _commit(self, consumer: Any, batch: _Batch, landed: Landed) -> None:
        """Commit a batch, the only place where offsets are committed.

        1. ClickHouse has every row of the batch, or its dead letter: `land` has returned.
        2. The limits of rejections are kept, else the process stops here and the batch comes again.
        3. The group has not rebalanced since the first record was polled, else another member may have read
           on from the old offsets, and the batch comes again; tables merge, so that changes nothing.
        4. The next offset of every partition of the batch is committed, waiting for Kafka's answer.

        A crash before 4 repeats the batch.
        """
        self._limits.check(landed, time.monotonic())
        numbers = self.numbers
        numbers.rows += landed.rows
        numbers.inserts += landed.inserts
        numbers.letters += landed.letters
        numbers.latencies.append(self._clock() - min(each.timestamp for each in batch.arrivals) / 1000)
        if not landed.letters:
            self._observe(batch)
        if batch.generation == self._generation:
            self._commits.owe(batch.next_offsets)
            self._commits.pay(consumer)
            numbers.commits = self._commits.count

    def _observe(self, batch: _Batch) -> None:
        """Of one block alone: the sink does not decode rows otherwise, and it shall not be slower for being watched."""
        blocks = [each for each in batch.arrivals if each.topic == topics.EVENTS and each.block]
        if not blocks:
            return
        oldest = min(blocks, key=lambda each: each.timestamp).block
        if oldest is not None and oldest.count:
            self.numbers.event_latencies.observe(self._clock() - event_times(oldest))

    def _drain(self, consumer: Any, inserter: ThreadPoolExecutor) -> None:
        """Land what has been gathered, for a while; what does not land comes again after the next start."""
        deadline = time.monotonic() + self._policy.stop_s
        if self._batch.arrivals or self._flying:
            consumer.pause(*consumer.assignment())
        while self._busy and time.monotonic() < deadline:
            self._settle(consumer)
            if self._flying is None and self._batch.arrivals:
                self._start(inserter)
            if self._flying is not None:
                consumer.poll(timeout_ms=20)
        self._halt.set()
        if self._flying is not None:
            batch, future = self._flying
            try:
                self._commit(consumer, batch, future.result())
            except Stopped:
                LOG.warning("ClickHouse did not take %d rows before the stop: they come again", batch.rows)

    def _lag(self, consumer: Any) -> int:
        total = 0
        for where in consumer.assignment():
            end = consumer.highwater(where)
            if end is not None:
                landed = self._commits.paid.get(where)
                start = consumer.position(where, timeout_ms=100) or 0 if landed is None else landed
                total += max(0, end - start)
        return total

    def _rebalanced(self) -> None:
        """Forget what has not landed: who owns the partitions now reads it again."""
        self._generation += 1
        self._batch = _Batch(generation=self._generation)
        self._commits.forget()
