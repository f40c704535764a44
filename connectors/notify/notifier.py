"""The notifier: consumes `ses.alarms` as one member of its group, and has routes deliver what is to be told.

The consumer's thread polls, decides (`Desk`) and commits; each route has a thread of its own. An offset is committed
once the alarm keys of all records before it are settled: each route was told, or cannot be, or need not be.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from kafka import KafkaConsumer

from connectors import kafka as kafka_clients
from connectors.aside import aside
from connectors.kafka_commits import Commits, Rebalances, consumer_options, subscribe
from connectors.notify.actions import ActionLog
from connectors.notify.attempts import Policy as DeskPolicy
from connectors.notify.companions import Company
from connectors.notify.desk import Desk
from connectors.notify.offsets import Unsettled
from connectors.notify.past import Past, from_topics
from pipelines.alarms.transition import decode
from schemas import topics
from schemas.blocks import SINGLE_OBJECT, BlockError, Framing
from schemas.dead_letters import dead_letter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from connectors.notify.channels import RepeatingChannel
    from connectors.notify.companions import Companion
    from connectors.notify.numbers import Numbers, RouteFailure
    from connectors.notify.settings import Notify, Route
    from connectors.settings import Kafka
    from schemas.alarms import Alarm

LOG: Final = logging.getLogger(__name__)
_DRY_RUN: Final = "-dry-run"
_FLUSH_S: Final = 5.0
_TICK_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Policy:
    """How long is waited for what."""

    desk: DeskPolicy = field(default_factory=DeskPolicy)
    stop_s: float = 15.0
    """How long a stop waits for what routes are delivering just now."""
    part_s: float = 1.0
    """The same for a rebalance, and for the companions then: whoever takes over would do it again. At most a tenth of
    the rebalance, for the group waits."""
    companions_s: float = 5.0
    """How long companions may take to stop."""


class NoLog:
    """Where nothing is written down: of a dry run."""

    def write(self, row: Any) -> int:  # noqa: ARG002
        """Forget it."""
        return 0

    def written(self, number: int) -> bool:  # noqa: ARG002
        """As far as it ever will be."""
        return True

    def outstanding(self, alarm_key: str) -> int:  # noqa: ARG002
        """None."""
        return 0

    def tend(self) -> None:
        """Nothing to do."""


class Notifier:
    """Delivers alarms. `run` once."""

    def __init__(
        self,
        kafka: Kafka,
        limits: Notify,
        channels: Sequence[tuple[Route, RepeatingChannel]],
        *,
        framing: Framing = SINGLE_OBJECT,
        past: Callable[[], Past] = Past,
        dry_run: bool = False,
        policy: Policy | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Connects nowhere yet.

        Args:
            kafka: where.
            limits: ages and patience.
            channels: the routes, each with a channel of its own.
            framing: how blocks name their schema.
            past: what is known besides what the topics hold; asked whenever partitions are taken over.
            dry_run: whether to stand apart from the others: nothing is committed or written down.
            policy: how long is waited.
            clock: seconds since the epoch.
        """
        self._kafka = kafka
        self._limits = limits
        self._channels = channels
        self._framing = framing
        self._past = past
        self._dry_run = dry_run
        self._policy = policy or Policy()
        self._clock = clock
        self._company = Company(())
        self._commits = Commits()
        self._unsettled = Unsettled()
        self._assigned_anew = False
        self._taking_over: Future[list[Past]] | None = None
        self._log: ActionLog | None = None
        self._desk: Desk | None = None
        self.ready = threading.Event()
        """Set once partitions are assigned, and what was told of their alarms is known."""

    def accompany(self, companions: Sequence[Companion]) -> None:
        """Have these run beside it, where partition 0 is; to be called before `run`."""
        self._company = Company(companions)

    @property
    def numbers(self) -> Numbers | None:
        """What was done; None before `run`."""
        return self._desk.numbers if self._desk else None

    @property
    def routes(self) -> tuple[str, ...]:
        """Names of the routes."""
        return tuple(route.name for route, _ in self._channels)

    @property
    def companions(self) -> Sequence[Companion]:
        """What runs beside."""
        return self._company.companions

    @property
    def companion_failures(self) -> dict[str, int]:
        """How often each companion has failed."""
        return self._company.failures

    @property
    def actions_end(self) -> dict[int, int]:
        """By partition, the offset after the last action written."""
        return dict(self._log.ends) if self._log else {}

    def failures(self) -> tuple[RouteFailure, ...]:
        """The routes that do not deliver at present; may be called by any thread."""
        return self._desk.failures() if self._desk else ()

    def run(self, stop: threading.Event) -> None:
        """Deliver until told to stop; what routes are delivering by then is waited for a while.

        Raises:
            BrokerError: Kafka does not answer, or refuses.
            ClickHouseError: where the past is asked of it, and it does not answer.
        """
        self._log = None if self._dry_run else ActionLog(self._kafka, self._framing)
        self._desk = desk = Desk(
            self._limits,
            self._channels,
            self._log or NoLog(),
            clock=self._clock,
            monotonic=time.monotonic,
            policy=self._policy.desk,
        )
        group = topics.NOTIFY_GROUP + _DRY_RUN * self._dry_run
        with kafka_clients.sentences(self._kafka):
            consumer = KafkaConsumer(**consumer_options(self._kafka, group))
            try:
                subscribe(
                    consumer, [topics.ALARMS], Rebalances(consumer, self._revoked, self._assigned), stop
                )
                while not stop.is_set():
                    self._turn(consumer, desk)
                self._drain(consumer, desk)
            finally:
                self._company.stop(self._policy.companions_s)
                desk.close()
                consumer.close(autocommit=False)
                if self._log is not None:
                    self._log.close()

    def _turn(self, consumer: Any, desk: Desk) -> None:
        """Poll once, decide, and commit what is settled."""
        polled = consumer.poll(timeout_ms=100)
        if self._assigned_anew:
            self._begin_to_take_over(consumer)
        for where, records in polled.items():
            for record in records:
                self._take(desk, where, record)
        if self._taking_over is not None:
            self._take_over(consumer, desk)
        if self._taking_over is None:
            desk.step()
        self._settle(consumer, desk)
        self._commits.pay_due(consumer)

    def _begin_to_take_over(self, consumer: Any) -> None:
        """Ask, in a thread, for what is known of the partitions that are ours now: polls must go on meanwhile."""
        self._assigned_anew = False
        ours = sorted({where.partition for where in consumer.assignment()})
        consumer.pause(*consumer.assignment())
        self._taking_over = aside(
            "past",
            lambda: [self._past(), from_topics(self._kafka, ours, self._framing)] if ours else [],
        )

    def _take_over(self, consumer: Any, desk: Desk) -> None:
        """Begin, once that is known. Nobody is told anything before."""
        if self._taking_over is None or not self._taking_over.done():
            return
        for past in self._taking_over.result():
            desk.remember(past.actions)
            for alarm in past.alarms:
                desk.learn(alarm)
        self._taking_over = None
        ours = consumer.assignment()
        consumer.resume(*ours)
        if any(where.partition == 0 for where in ours):
            self._company.start()
        self.ready.set()

    def _take(self, desk: Desk, where: Any, record: Any) -> None:
        alarms: list[Alarm] = []
        if record.value is not None:  # a tombstone says nothing
            try:
                alarms = decode(record.value, self._framing)
            except BlockError as error:
                self._reject(record, error)
        for alarm in alarms:
            desk.learn(alarm)
        self._unsettled.read(where, record.offset, [alarm["alarm_key"] for alarm in alarms])

    def _reject(self, record: Any, error: BlockError) -> None:
        source = f"kafka://{record.topic}/{record.partition}/{record.offset}"
        LOG.error("rejected %s: %s", source, error)
        if self._log is not None:
            self._log.letter(
                dead_letter(
                    time=max(record.timestamp, 0),
                    stage="notify",
                    cause="unreadable_alarm",
                    detail=f"{type(error).__name__}: {error}",
                    source=source,
                    payload=record.value or b"",
                )
            )

    def _settle(self, consumer: Any, desk: Desk) -> None:
        """Commit, the only place where offsets are committed.

        1. Every route was told what there is to tell of the alarm keys before an offset, or it is known to be in vain.
        2. That is on the broker as rows of `ses.alarm-actions`.
        3. The group has not rebalanced since the record was read.
        4. The next offset of every partition that has gone on is committed.

        A crash before 4 repeats transitions, which changes nothing; one before 2 repeats a message, under the same key.
        """
        settled = self._unsettled.settled(desk.settled)
        if settled and not self._dry_run:
            self._commits.owe(settled)
            self._commits.pay(consumer)

    def _drain(self, consumer: Any, desk: Desk) -> None:
        """Wait for what routes are delivering, begin nothing new, and commit what that settles."""
        if self._taking_over is not None:
            return  # nothing is known, so nothing was begun
        self._await_routes(desk, self._policy.stop_s)
        if self._log is not None and not self._log.flush(_FLUSH_S):
            LOG.warning("Kafka did not take what was done: some of it may be told again, under the same key")
        desk.step(begin=False)
        self._settle(consumer, desk)

    def _await_routes(self, desk: Desk, patience_s: float) -> None:
        deadline = time.monotonic() + patience_s
        desk.step(begin=False)
        while desk.flying and time.monotonic() < deadline:
            time.sleep(_TICK_S)
            desk.step(begin=False)

    def _revoked(self) -> None:
        """Others go on with our partitions; called inside `poll`, as is `_assigned`."""
        patience_s = min(self._policy.part_s, self._kafka.rebalance_timeout_ms / 10_000)
        if self._desk is not None:
            self._await_routes(self._desk, patience_s)
            if self._log is not None:
                self._log.flush(patience_s)
            self._desk.forget()
        self._company.stop(patience_s)
        self._taking_over = None
        self._unsettled.forget()
        self._commits.forget()

    def _assigned(self) -> None:
        self._assigned_anew = True
