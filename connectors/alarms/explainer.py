"""The explainer: adds to alarms what drives them, as one member of its group; runs in a thread beside the sink.

The thread only polls, gathers and commits; a pass (wait, ask, send) runs in a thread of its own, one at a time, while
the next transitions gather. So heart-beats go on however long ClickHouse takes or is away, and what waits is bounded.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from kafka import KafkaConsumer

from connectors import kafka as kafka_clients
from connectors.alarms.explaining import REVISION, Explaining, wanted
from connectors.alarms.growing import grown, says_something_new
from connectors.aside import aside, ends_within
from connectors.bridge.producer import KafkaBlocks
from connectors.clickhouse.landing import Retry, Stopped
from connectors.clickhouse.patience import Patience
from connectors.kafka_commits import Commits, Rebalances, consumer_options, subscribe, throttle
from pipelines.alarms.transition import decode, encode, explanation_key
from schemas import topics
from schemas.alarms import SEVERITIES, Alarm
from schemas.blocks import SINGLE_OBJECT, BlockError, Framing
from schemas.partitioning import of_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kafka import TopicPartition

    from connectors.clickhouse.client import Client
    from connectors.settings import Kafka

LOG: Final = logging.getLogger(__name__)
_LANDED_POLL_S: Final = 0.1
_REMEMBERED: Final = 10_000
"""Incidents that were looked at again and are remembered at the most."""
_LANDED: Final = (topics.EVENTS, topics.RATES)
"""What the sink must have landed: the events that are counted, and the account's counters of the forecast."""


@dataclass(frozen=True, slots=True)
class Policy:
    """When a pass begins, and how long it waits."""

    gather_s: float = 0.2
    """How long the first transition waits for company: one cause makes the alarms of a campaign, its tenant and its
    account within moments, and waiting until events have landed is then done once."""
    landed_s: float = 30.0
    """How long a pass waits for events to land, before it explains with what there is."""
    most: int = 1000
    """Transitions gathered; beyond it the consumer is paused."""
    stop_s: float = 3.0
    """How long a stop waits for the pass that runs; it is repeated after the next start."""
    again_s: float = 30.0
    """How often open incidents are looked at for what drives them now."""
    retry: Retry = field(default_factory=Retry)


EMBEDDED: Final = Policy(again_s=5.0)
"""There are few incidents, and somebody looks on."""


@dataclass(slots=True)
class Numbers:
    """What the explainer has done since it started."""

    records: int = 0
    """Kafka records of transitions."""
    explained: int = 0
    """Sent again with what drives them."""
    unexplained: int = 0
    """Sent again with why nothing is known."""
    looks: int = 0
    """Times that open incidents were looked at again."""
    anew: int = 0
    """Sent again later, for another driver leads, or one at last."""
    unlanded: int = 0
    """Passes that did not wait until all events had landed."""
    unreadable: int = 0
    """Kafka records that are no transitions: the sink makes dead letters of them."""
    waiting: int = 0
    """Transitions gathered and not yet explained."""
    lag_s: float = 0.0
    """From when the oldest of the last pass was written until it was sent again."""
    trouble: str = ""
    """What ClickHouse or Kafka says while a pass cannot go on."""


@dataclass(slots=True)
class _Gathered:
    """Transitions to explain, and how far the topic was read."""

    alarms: dict[tuple[str, int], tuple[Alarm, int]] = field(default_factory=dict)
    """By alarm key and seq, each with its partition."""
    next_offsets: dict[TopicPartition, int] = field(default_factory=dict)
    since: float = 0.0
    generation: int = 0


class Explainer:
    """Consumes `ses.alarms`, and produces to it."""

    def __init__(
        self,
        kafka: Kafka,
        connect: Callable[[], Client],
        *,
        policy: Policy | None = None,
        framing: Framing = SINGLE_OBJECT,
        clock: Callable[[], float] = time.time,
        left: Iterable[Alarm] = (),
    ) -> None:
        """Connects nowhere yet.

        Args:
            kafka: where.
            connect: opens a client for this alone; called in another thread.
            policy: when.
            framing: how blocks name their schema.
            clock: seconds; for lag only.
            left: transitions that landed and that nobody will send again: see `left_unexplained`.
        """
        self._kafka = kafka
        self._policy = policy or Policy()
        self._framing = framing
        self._clock = clock
        self._halt = threading.Event()
        self._patience = Patience(self._halt, self._policy.retry, "an explanation of an alarm")
        self._explaining = Explaining(connect, self._patience)
        self._left = tuple(left)
        self._gathered = _Gathered()
        self._flying: tuple[_Gathered, Future[None]] | None = None
        self._generation = 0
        self._commits = Commits()
        self._mine: frozenset[int] = frozenset()
        self._look_again = 0.0
        self._looked: dict[tuple[str, int], int] = {}
        self.numbers = Numbers()
        self.ready = threading.Event()
        """Set once partitions are assigned."""

    def run(self, stop: threading.Event) -> None:
        """Explain until told to stop.

        Raises:
            BrokerError: Kafka does not answer, or refuses.
        """
        with kafka_clients.sentences(self._kafka):
            consumer = KafkaConsumer(**consumer_options(self._kafka, topics.EVIDENCE_GROUP))
            try:
                subscribe(
                    consumer, [topics.ALARMS], Rebalances(consumer, self._rebalanced, self.ready.set), stop
                )
                self._look_again = time.monotonic() + self._policy.again_s
                self._take_left()
                with closing(KafkaBlocks(self._kafka)) as producer:
                    while not stop.is_set():
                        self._turn(consumer, producer)
                    self._end(consumer)
            finally:
                self._halt.set()
                consumer.close(autocommit=False)

    def _turn(self, consumer: Any, producer: KafkaBlocks) -> None:
        """Poll once; begin a pass and commit what is due."""
        self._take(consumer.poll(timeout_ms=50 if self._flying else 100))
        self._settle(consumer)
        if self._flying is None and self._due():
            self._start(producer)
        elif self._flying is None and time.monotonic() >= self._look_again:
            self._mine = frozenset(where.partition for where in consumer.assignment())
            nothing = _Gathered(generation=self._generation)
            self._flying = (nothing, aside("explanations", lambda: self._again(producer)))
        self._commits.pay_due(consumer)
        throttle(consumer, len(self._gathered.alarms), self._policy.most)

    def _take(self, polled: dict[Any, list[Any]]) -> None:
        gathered = self._gathered
        for where, records in polled.items():
            if not gathered.next_offsets:
                gathered.since, gathered.generation = time.monotonic(), self._generation
            for record in records:
                for alarm in self._read(record):
                    identity = (alarm["alarm_key"], alarm["seq"])
                    if wanted(alarm):
                        gathered.alarms[identity] = (alarm, where.partition)
                    elif alarm["revision"] >= REVISION:
                        gathered.alarms.pop(identity, None)
            gathered.next_offsets[where] = records[-1].offset + 1
            self.numbers.records += len(records)
        flying = len(self._flying[0].alarms) if self._flying else 0
        self.numbers.waiting = len(gathered.alarms) + flying

    def _take_left(self) -> None:
        self._gathered.since = time.monotonic()
        for alarm in self._left:
            partition = of_key(alarm["dimension"], alarm["value"], self._kafka.partitions)
            self._gathered.alarms[alarm["alarm_key"], alarm["seq"]] = (alarm, partition)

    def _read(self, record: Any) -> list[Alarm]:
        try:
            return decode(record.value or b"", self._framing)
        except BlockError as error:
            self.numbers.unreadable += 1
            LOG.warning("kafka://%s/%d/%d: %s", record.topic, record.partition, record.offset, error)
            return []

    def _due(self) -> bool:
        """Whether enough time has passed; what needs no explanation is only committed, and need not wait."""
        gathered = self._gathered
        waited = time.monotonic() - gathered.since >= self._policy.gather_s
        return bool(gathered.next_offsets or gathered.alarms) and (
            waited or len(gathered.alarms) >= self._policy.most
        )

    def _start(self, producer: KafkaBlocks) -> None:
        gathered, self._gathered = self._gathered, _Gathered()
        if gathered.alarms:
            future = aside("explanations", lambda: self._pass(gathered, producer))
        else:
            future = Future[None]()
            future.set_result(None)
        self._flying = (gathered, future)

    def _pass(self, gathered: _Gathered, producer: KafkaBlocks) -> None:
        """Explain all that was gathered.

        1. The events that any of the alarms rests on are in `ses.events`: its end is taken now.
        2. The sink has committed beyond it, or enough time has passed.
        3. Each transition, the worst first, is explained, and on the broker (all replicas) before the next.
        """
        shortcoming = "" if self._await_landed() else "not all events had landed when it was explained"
        oldest = min(alarm["written_time"] for alarm, _ in gathered.alarms.values())
        for alarm, partition in sorted(gathered.alarms.values(), key=_urgency):
            if self._halt.is_set():
                raise Stopped  # as if ClickHouse were waited for
            row, explained = self._explaining(alarm, shortcoming)
            self._patience(partial(self._send, producer, row, partition))
            self.numbers.explained += explained
            self.numbers.unexplained += not explained
        self.numbers.lag_s = max(0.0, self._clock() - oldest / 1000)

    def _again(self, producer: KafkaBlocks) -> None:
        """Explain anew the incidents whose evidence has grown.

        Of nothing that is not told anything is kept but how many hits it was looked at with, so it may be looked at
        once more after a restart.
        """
        self._look_again = time.monotonic() + self._policy.again_s
        found = self._explaining.asking(lambda client: grown(client, self._is_mine, self._looked))
        for each in found:
            if self._halt.is_set():
                raise Stopped
            row, explained = self._explaining(each.alarm, until=each.until)
            self._looked[each.identity] = each.hits
            if explained and says_something_new(each.alarm, row):
                partition = of_key(row["dimension"], row["value"], self._kafka.partitions)
                self._patience(partial(self._send, producer, row, partition))
                self.numbers.anew += 1
        if len(self._looked) > _REMEMBERED:
            self._looked.clear()
        self.numbers.looks += 1

    def _is_mine(self, alarm: Alarm) -> bool:
        return of_key(alarm["dimension"], alarm["value"], self._kafka.partitions) in self._mine

    def _await_landed(self) -> bool:
        """Wait until the sink has passed the ends of topics as they are now; False when that takes too long.

        Raises:
            Stopped: told to stop meanwhile.
        """
        deadline = time.monotonic() + self._policy.landed_s
        with closing(kafka_clients.Positions(self._kafka)) as positions:
            ends = self._patience(lambda: {topic: positions.end_offsets(topic) for topic in _LANDED})
            for topic in _LANDED:
                while not self._patience(partial(_landed, positions, topic, ends[topic])):
                    if time.monotonic() > deadline:
                        self.numbers.unlanded += 1
                        return False
                    if self._halt.wait(_LANDED_POLL_S):
                        raise Stopped
        return True

    def _send(self, producer: KafkaBlocks, alarm: Alarm, partition: int) -> None:
        """Send a transition; returns once the broker has it.

        Raises:
            BrokerError: when it does not take it.
        """
        stored: Future[int] = Future()
        block = encode(alarm, self._framing)
        key = explanation_key(alarm["alarm_key"])
        producer.send(topics.ALARMS, partition, block, stored.set_result, stored.set_exception, key=key)
        stored.result()

    def _settle(self, consumer: Any) -> None:
        """Commit a pass that has ended, the only place where offsets are committed.

        1. Every transition of the pass is on the broker with its explanation, or with why there is none.
        2. The group has not rebalanced since the first was polled, else another member may have read on from the old
           offsets and explains them again; of two explanations either is right.
        3. The next offset of every partition is committed.
        """
        self.numbers.trouble = self._patience.trouble
        if self._flying is None or not self._flying[1].done():
            return
        gathered, future = self._flying
        self._flying = None
        future.result()
        if gathered.generation == self._generation:
            self._commits.owe(gathered.next_offsets)
            self._commits.pay(consumer)

    def _end(self, consumer: Any) -> None:
        """Wait a little for the pass that runs; what is not explained is after the next start."""
        self._halt.set()
        if self._flying is not None:
            ends_within(self._flying[1], self._policy.stop_s)
        try:
            self._settle(consumer)
        except Stopped:
            LOG.info("stopped before alarms were explained: they are after the next start")
        if self._flying is None:
            self._explaining.close()

    def _rebalanced(self) -> None:
        """Forget what is not explained: who owns the partitions now reads it again."""
        self._generation += 1
        self._gathered = _Gathered()
        self._commits.forget()


def _landed(positions: kafka_clients.Positions, topic: str, ends: kafka_clients.Offsets) -> bool:
    committed = positions.committed(topics.SINK_GROUP, topic)
    return all(committed.get(partition, 0) >= end for partition, end in ends.items())


def _urgency(gathered: tuple[Alarm, int]) -> tuple[int, int, str, int]:
    """The worst first, then the oldest."""
    alarm, _ = gathered
    worst = -SEVERITIES.index(alarm["severity"]) if alarm["severity"] in SEVERITIES else 0
    return worst, alarm["time"], alarm["alarm_key"], alarm["seq"]
