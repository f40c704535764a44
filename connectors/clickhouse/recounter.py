"""The recounter: answers requests for a recount, as one member of its group; runs in a thread beside the sink.

The thread only polls, gathers and commits; a pass (wait, count, answer) runs in a thread of its own, one at a
time, while the next requests gather. So heart-beats go on however long a query takes or ClickHouse is away,
and what waits is bounded: beyond `Policy.most_keys` the partitions are paused.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from kafka import KafkaConsumer

from connectors import kafka as kafka_clients
from connectors.aside import aside, ends_within
from connectors.bridge.producer import KafkaBlocks
from connectors.clickhouse import requests
from connectors.clickhouse.answers import Answers, Row, key_of_row, same_counters
from connectors.clickhouse.landing import Landed, Limits, Retry, Stopped
from connectors.clickhouse.outlet import Outlet
from connectors.clickhouse.patience import Patience
from connectors.clickhouse.requests import Gathered
from connectors.kafka_commits import Commits, Rebalances, consumer_options, subscribe, throttle
from schemas import topics
from schemas.blocks import SINGLE_OBJECT, Framing
from schemas.counters import OTHER_VALUE
from schemas.dead_letters import dead_letter

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from concurrent.futures import Future

    from connectors.clickhouse.client import Client
    from connectors.clickhouse.recount import KeyHour
    from connectors.settings import Kafka

LOG: Final = logging.getLogger(__name__)
_PASSED_POLL_S: Final = 0.1
"""Between looks at how far a group is; the sink gathers for half a second itself."""
_LANDED: Final = ((topics.SINK_GROUP, topics.EVENTS), (topics.SINK_GROUP, topics.RATES))
"""The rates too, for an answer says which version is stored."""
_COME_THROUGH: Final = (
    (topics.WORKER_GROUP, topics.EVENTS),
    (topics.WORKER_GROUP, topics.COUNTS),
    (topics.SINK_GROUP, topics.RATES),
    (topics.SINK_GROUP, topics.EVENTS),
)
"""Every event that a count has seen is then in the rows of its own values, if they have any."""
_VERIFICATIONS: Final = 3
"""Of answers for `(other)` that were others than before. Where more is counted to it meanwhile it is asked for again
anyway; a value that got a row of its own meanwhile is seen by the first."""


@dataclass(frozen=True, slots=True)
class Policy:
    """When a pass begins, and how much it takes."""

    gather_s: float = 2.0
    """How long the first request waits for company: each pass reads its hours whole, so a trickle of late events
    must not read them again and again."""
    rest: float = 1.0
    """A pass begins so many times as long after the last one as that took to count: recounting takes at most half
    of a core or two from the inserts and queries beside it, however large the archive that is replayed."""
    most_keys: int = 200_000
    """Key-hours in a pass, give or take those of one poll; beyond it the consumer is paused. Some 60 MB."""
    stop_s: float = 3.0
    """How long a stop waits for the pass that runs; it is repeated after the next start."""
    retry: Retry = field(default_factory=Retry)


EMBEDDED: Final = Policy(gather_s=0.3)
"""A person waits for `replay --once`, and the hours are few."""


@dataclass(slots=True)
class Numbers:
    """What the recounter has done since it started."""

    records: int = 0
    """Kafka records of requests."""
    passes: int = 0
    answers: int = 0
    """Key-hours counted."""
    kept: int = 0
    """Key-hours that stay as they are, for the events that they count are gone."""
    letters: int = 0
    waiting: int = 0
    """Key-hours gathered for the next pass."""
    seconds: float = 0.0
    """The last pass took to count."""
    trouble: str = ""
    """What ClickHouse or Kafka says while a pass cannot go on."""


class Recounter:
    """Consumes `ses.recounts`, produces answers to `ses.counts`."""

    def __init__(
        self,
        kafka: Kafka,
        connect: Callable[[], Client],
        *,
        policy: Policy | None = None,
        framing: Framing = SINGLE_OBJECT,
    ) -> None:
        """Connects nowhere yet.

        Args:
            kafka: where.
            connect: opens a client for this alone (see `answers.connect`); called in another thread.
            policy: when.
            framing: how blocks name their schema.
        """
        self._kafka = kafka
        self._connect = connect
        self._client: Client = None
        self._answers: Answers | None = None
        self._policy = policy or Policy()
        self._framing = framing
        self._halt = threading.Event()
        self._patience = Patience(self._halt, self._policy.retry)
        self._limits = Limits()
        self._gathered = Gathered()
        self._flying: tuple[Gathered, Future[float]] | None = None
        self._generation = 0
        self._commits = Commits()
        self._earliest = 0.0
        self._said: set[str] = set()
        self.numbers = Numbers()
        self.ready = threading.Event()
        """Set once partitions are assigned."""

    def run(self, stop: threading.Event) -> None:
        """Answer until told to stop.

        Raises:
            BrokerError: Kafka does not answer, or refuses.
            ClickHouseError: more records were no requests than the limits allow.
        """
        with kafka_clients.sentences(self._kafka):
            consumer = KafkaConsumer(**consumer_options(self._kafka, topics.RECOUNT_GROUP) | _OPTIONS)
            try:
                subscribe(
                    consumer, [topics.RECOUNTS], Rebalances(consumer, self._rebalanced, self.ready.set), stop
                )
                with closing(
                    Outlet(KafkaBlocks(self._kafka), self._kafka.partitions, self._framing)
                ) as outlet:
                    while not stop.is_set():
                        self._turn(consumer, outlet)
                    self._end(consumer)
            finally:
                self._halt.set()
                consumer.close(autocommit=False)

    def _turn(self, consumer: Any, outlet: Outlet) -> None:
        """Poll once; begin a pass and commit what is due."""
        self._take(consumer.poll(timeout_ms=50 if self._flying else 100))
        self._settle(consumer)
        now = time.monotonic()
        if self._flying is None and self._due(now):
            self._start(outlet)
        self._commits.pay_due(consumer)
        throttle(consumer, len(self._gathered.keys), self._policy.most_keys)

    def _take(self, polled: dict[Any, list[Any]]) -> None:
        gathered = self._gathered
        for where, records in polled.items():
            if not gathered.records:
                gathered.since, gathered.generation = time.monotonic(), self._generation
            for record in records:
                keys, problem = requests.read(record.value, self._framing)
                gathered.keys.update(keys)
                if problem:
                    gathered.letters.append(_letter(record, problem))
            gathered.records += len(records)
            gathered.next_offsets[where] = records[-1].offset + 1
            self.numbers.records += len(records)
        self.numbers.waiting = len(gathered.keys)

    def _due(self, now: float) -> bool:
        gathered = self._gathered
        full = len(gathered.keys) >= self._policy.most_keys
        waited = full or now - gathered.since >= self._policy.gather_s
        return bool(gathered.records) and waited and now >= self._earliest

    def _start(self, outlet: Outlet) -> None:
        gathered, self._gathered = self._gathered, Gathered()
        self._flying = (gathered, aside("recount-pass", lambda: self._pass(gathered, outlet)))

    def _pass(self, gathered: Gathered, outlet: Outlet) -> float:
        """Answer all that was gathered; the result is how many seconds counting took.

        1. All blocks that any of the requests came from are in `ses.events`: its end is taken now.
        2. The sink has committed beyond that end, so ClickHouse has them; then beyond that of `ses.rates`.
        3. The key-hours are counted, and the answers are on the broker (all replicas).
        4. What `(other)` is depends on which values have rows; the answers for it are right once they stay the same
           when everything has come through.
        """
        self._patience(lambda: self._await_passed(_LANDED))
        began = time.monotonic()
        outlet.send_letters(gathered.letters)
        others = self._answer(gathered.keys, outlet, {})
        took = time.monotonic() - began
        for _ in range(_VERIFICATIONS):
            if not others:
                break
            self._patience(lambda: self._await_passed(_COME_THROUGH))
            others = self._answer(others, outlet, others)
        return took

    def _answer(
        self, keys: Collection[KeyHour], outlet: Outlet, known: Mapping[KeyHour, Row]
    ) -> dict[KeyHour, Row]:
        """Count and send what is not as it is known already; those answers among them that are for `(other)`."""
        others: dict[KeyHour, Row] = {}
        if not keys:
            return others
        if self._client is None:
            self._client = self._patience(self._connect)
        if self._answers is None:
            self._answers = Answers(self._client, self._patience)
        gone = self._answers.gone(keys)
        self._say(gone, outlet)
        for rows in self._answers([key for key in keys if key not in gone]):
            changed = [row for row in rows if not same_counters(row, known.get(key_of_row(row)))]
            outlet.send_answers(changed)
            self.numbers.answers += len(changed)
            others |= {key_of_row(row): row for row in changed if row["value"] == OTHER_VALUE}
        return others

    def _say(self, gone: Collection[KeyHour], outlet: Outlet) -> None:
        """That key-hours stay as they are: a dead letter for each month that they are of, once in a life."""
        self.numbers.kept += len(gone)
        months = {datetime.fromtimestamp(hour, UTC).strftime("%Y-%m") for _, _, hour in gone} - self._said
        outlet.send_letters([_beyond(month) for month in sorted(months)])
        self._said |= months

    def _await_passed(self, stages: Sequence[tuple[str, str]]) -> None:
        """Wait until groups have passed the ends of topics, one stage after the other, each taken when it begins.

        Raises:
            Stopped: told to stop meanwhile.
        """
        with closing(kafka_clients.Positions(self._kafka)) as positions:
            for group, topic in stages:
                ends = positions.end_offsets(topic)
                while not _passed(positions.committed(group, topic), ends):
                    if self._halt.wait(_PASSED_POLL_S):
                        raise Stopped

    def _settle(self, consumer: Any) -> None:
        """Commit a pass that has ended, the only place where offsets are committed.

        1. Every answer of the pass, and every dead letter, is on the broker: `_pass` has returned.
        2. The limits of rejections are kept, else the process stops here and the requests come again.
        3. The group has not rebalanced since the first request was polled, else another member may have read on
           from the old offsets and answers again; of two answers the later one is right.
        4. The next offset of every partition is committed.
        """
        self.numbers.trouble = self._patience.trouble
        if self._flying is None or not self._flying[1].done():
            return
        gathered, future = self._flying
        self._flying = None
        took = future.result()
        letters = len(gathered.letters)
        self._limits.check(
            Landed(rows=len(gathered.keys), letters=letters, longest_run=letters), time.monotonic()
        )
        self._earliest = time.monotonic() + took * self._policy.rest
        self.numbers.passes += 1
        self.numbers.letters += letters
        self.numbers.seconds = took
        LOG.info("recounted %d key-hours in %.1f s", len(gathered.keys), took)
        if gathered.generation == self._generation:
            self._commits.owe(gathered.next_offsets)
            self._commits.pay(consumer)

    def _end(self, consumer: Any) -> None:
        """Wait a little for the pass that runs; what is not answered is asked again after the next start."""
        self._halt.set()
        if self._flying is not None:
            ends_within(self._flying[1], self._policy.stop_s)
        try:
            self._settle(consumer)
        except Stopped:
            LOG.info("stopped before a recount was done: it is done after the next start")
        if self._client is not None and self._flying is None:
            self._client.close()

    def _rebalanced(self) -> None:
        """Forget what is not answered: who owns the partitions now reads it again."""
        self._generation += 1
        self._gathered = Gathered()
        self._commits.forget()


_OPTIONS: Final[dict[str, Any]] = {
    # Each may hold hundreds of requests: a poll must not go far beyond what a pass takes.
    "max_poll_records": 50,
}


def _passed(committed: kafka_clients.Offsets, ends: kafka_clients.Offsets) -> bool:
    return all(committed.get(partition, 0) >= end for partition, end in ends.items())


def _beyond(month: str) -> Any:
    """What tells people of events that come too late to be counted."""
    LOG.warning(
        "events sent in %s came later than events are kept: the rates of then stay as they are", month
    )
    return dead_letter(
        time=int(time.time() * 1000),
        stage="recount",
        cause="beyond_retention",
        detail=f"events came of messages sent in {month}, which is longer ago than events are kept (retention.events):"
        " the rates of those hours stay as they are, for they cannot be counted again; to have an archive counted,"
        " set retention.events to 0, run `ses-streams migrate` (or start `up` anew), and replay it",
        source=f"rates://{month}",
        payload=b"",
    )


def _letter(record: Any, problem: str) -> Any:
    source = f"kafka://{record.topic}/{record.partition}/{record.offset}"
    LOG.error("rejected %s: %s", source, problem)
    return dead_letter(
        time=max(record.timestamp, 0),
        stage="recount",
        cause="unreadable_request",
        detail=problem,
        source=source,
        payload=record.value or b"",
    )
