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

from kafka import ConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka import errors as kafka_errors

from connectors import kafka as kafka_clients
from connectors.clickhouse.inserts import TARGETS
from connectors.clickhouse.landing import Arrival, Landed, Lander, Limits, Retry, Stopped, receive
from connectors.clickhouse.latency import Latencies, event_times
from schemas import topics
from schemas.blocks import SINGLE_OBJECT, Framing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from connectors.clickhouse.client import Client
    from connectors.settings import Kafka

LOG: Final = logging.getLogger(__name__)
_SESSION_MS: Final = 10_000
"""Below it Apache Kafka's default (6 s) refuses; much above it a killed sink's partitions wait for nobody."""
_SHORTEST_SESSION_MS: Final = 2000
_LATENCIES: Final = 1024
_COMMIT_MS: Final = 5000
GONE_ON: Final = (
    kafka_errors.CommitFailedError,
    kafka_errors.RebalanceInProgressError,
    kafka_errors.IllegalGenerationError,
    kafka_errors.UnknownMemberIdError,
)
_PAY_AGAIN_S: Final = 1.0


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
    """Consumes `ses.events`, `ses.rates` and `ses.dead-letter` as one member of the sink's group."""

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
        self._owed: dict[TopicPartition, int] = {}
        self._landed: dict[TopicPartition, int] = {}
        self._pay_again = 0.0
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
            consumer = KafkaConsumer(**consumer_options(self._kafka))
            inserter = ThreadPoolExecutor(1, thread_name_prefix="clickhouse-insert")
            try:
                consumer.subscribe(list(TARGETS), listener=_Listener(self))
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
        now = time.monotonic()
        if self._owed and now >= self._pay_again:
            self._pay(consumer)
        if now - self._measured >= 1:
            self._measured = now
            self.numbers.lag = self._lag(consumer)
        self._throttle(consumer)

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
            self._owed |= batch.next_offsets
            self._pay(consumer)

    def _observe(self, batch: _Batch) -> None:
        """Of one block alone: the sink does not decode rows otherwise, and it shall not be slower for being watched."""
        blocks = [each for each in batch.arrivals if each.topic == topics.EVENTS and each.block]
        if not blocks:
            return
        oldest = min(blocks, key=lambda each: each.timestamp).block
        if oldest is not None and oldest.count:
            self.numbers.event_latencies.observe(self._clock() - event_times(oldest))

    def _pay(self, consumer: Any) -> None:
        """Commit what has landed. A broker that is away is asked again a little later."""
        offsets = {where: OffsetAndMetadata(offset, "", -1) for where, offset in self._owed.items()}
        self._pay_again = time.monotonic() + _PAY_AGAIN_S
        try:
            consumer.commit(offsets, timeout_ms=_COMMIT_MS)
        except kafka_errors.KafkaError as error:
            if isinstance(error, GONE_ON):
                # The group went on without us; the rebalance is noticed at the next poll.
                self._owed.clear()
            elif not getattr(error, "retriable", False):
                raise
            LOG.warning("Kafka did not take a commit, what has landed may come again: %s", error)
            return
        self._landed |= self._owed
        self._owed = {}
        self.numbers.commits += 1

    def _throttle(self, consumer: Any) -> None:
        """Pause all partitions while too much waits; poll goes on, for the heart-beats' sake."""
        waiting = self._batch.size + (self._flying[0].size if self._flying else 0)
        if waiting >= self._policy.max_bytes:
            consumer.pause(*consumer.assignment())
        elif waiting < self._policy.max_bytes // 2 and consumer.paused():
            consumer.resume(*consumer.paused())

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
                landed = self._landed.get(where)
                start = consumer.position(where, timeout_ms=100) or 0 if landed is None else landed
                total += max(0, end - start)
        return total

    def _rebalanced(self) -> None:
        """Forget what has not landed: who owns the partitions now reads it again."""
        self._generation += 1
        self._batch = _Batch(generation=self._generation)
        self._owed = {}
        self._landed = {}

    def _own(self) -> None:
        self.ready.set()


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Tells the sink about rebalances; called inside `poll`, in the consumer's thread."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        if revoked:
            self._sink._rebalanced()  # noqa: SLF001 - a part of the sink

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:  # noqa: ARG002
        self._sink._own()  # noqa: SLF001


def consumer_options(kafka: Kafka) -> dict[str, Any]:
    """The sink's consumer: manual commits, earliest where nothing is committed."""
    rebalance = kafka.rebalance_timeout_ms
    return kafka_clients.client_options(kafka) | {
        "group_id": topics.SINK_GROUP,
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        # kafka-python joins with it as the group's rebalance timeout.
        "max_poll_interval_ms": rebalance,
        "session_timeout_ms": min(_SESSION_MS, max(rebalance, _SHORTEST_SESSION_MS)),
        "heartbeat_interval_ms": min(3000, rebalance // 3),
        "max_poll_records": 500,
        "fetch_max_bytes": 32 * 1024 * 1024,
        "max_partition_fetch_bytes": 4 * 1024 * 1024,
        "fetch_max_wait_ms": 200,
        # A consumer that joins before it knows of the topics assigns none, and on a busy machine kafka-python was seen
        # to ask for them only when their metadata are this old: five minutes by default, in which nothing is read.
        "metadata_max_age_ms": 5000,
    }
