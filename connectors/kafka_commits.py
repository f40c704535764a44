"""`Commits`, `subscribe`, `throttle`, `Rebalances` and `consumer_options`: what our plain consumers have in common.

Each polls in one thread, gathers, works in another, and commits once the work is safe. Offsets are *owed* from then
until Kafka has taken them.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final

from kafka import ConsumerRebalanceListener, OffsetAndMetadata
from kafka import errors as kafka_errors

from connectors.kafka import client_options

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from kafka import TopicPartition

    from connectors.settings import Kafka

LOG: Final = logging.getLogger(__name__)
_SESSION_MS: Final = 10_000
"""Below it Apache Kafka's default (6 s) refuses; much above it a killed member's partitions wait for nobody."""
_SHORTEST_SESSION_MS: Final = 2000
_COMMIT_MS: Final = 5000
_PAY_AGAIN_S: Final = 1.0
_KNOWN_S: Final = 5.0
_KNOWN_AGAIN_S: Final = 0.1
_GONE_ON: Final = (
    kafka_errors.CommitFailedError,
    kafka_errors.RebalanceInProgressError,
    kafka_errors.IllegalGenerationError,
    kafka_errors.UnknownMemberIdError,
)


class Commits:
    """Offsets that are owed to Kafka, and paid; for the consumer's thread alone."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._owed: dict[TopicPartition, int] = {}
        self._again = 0.0
        self.paid: dict[TopicPartition, int] = {}
        """The next offset of each partition that Kafka has taken since the last rebalance."""
        self.count = 0
        """Commits that Kafka has taken."""

    def owe(self, next_offsets: Mapping[TopicPartition, int]) -> None:
        """Everything before these offsets is done, and may be committed."""
        self._owed |= next_offsets

    def pay(self, consumer: Any) -> None:
        """Commit what is owed, waiting for Kafka's answer; nothing owed: do nothing.

        A broker that is away is asked again by `pay_due`. Where the group has gone on without us the offsets are
        forgotten: whoever owns the partitions now repeats the work.

        Raises:
            KafkaError: what no other attempt would cure.
        """
        if not self._owed:
            return
        offsets = {where: OffsetAndMetadata(offset, "", -1) for where, offset in self._owed.items()}
        self._again = self._clock() + _PAY_AGAIN_S
        try:
            consumer.commit(offsets, timeout_ms=_COMMIT_MS)
        except kafka_errors.KafkaError as error:
            if isinstance(error, _GONE_ON):
                # The rebalance is noticed at the next poll.
                self._owed.clear()
            elif not getattr(error, "retriable", False):
                raise
            LOG.warning("Kafka did not take a commit, what was done may come again: %s", error)
            return
        self.paid |= self._owed
        self._owed = {}
        self.count += 1

    def pay_due(self, consumer: Any) -> None:
        """`pay` what is still owed, a second after the last attempt; to be called at every poll.

        Raises:
            KafkaError: as `pay`.
        """
        if self._owed and self._clock() >= self._again:
            self.pay(consumer)

    def forget(self) -> None:
        """The group rebalances: nothing is owed by us any more."""
        self._owed = {}
        self.paid = {}


class Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]
    """Listens for a consumer; called inside `poll`, in the consumer's thread."""

    def __init__(self, consumer: Any, revoked: Callable[[], None], assigned: Callable[[], None]) -> None:
        """Calls back.

        Args:
            consumer: whose listener it is.
            revoked: partitions that were ours may be another's: forget what is not committed.
            assigned: the group has settled, maybe without any partition for us.
        """
        self._consumer = consumer
        self._revoked = revoked
        self._assigned = assigned

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """For kafka-python.

        It keeps the position of a partition that stays ours through a rebalance. What was read up to there and is not
        committed has just been forgotten, so each begins anew at what is committed, as after a lost membership.
        """
        if revoked:
            self._revoked()
            self._consumer._subscription.assign_from_subscribed([])  # noqa: SLF001 - it has no other way

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:  # noqa: ARG002
        """For kafka-python."""
        self._assigned()


def subscribe(consumer: Any, names: Sequence[str], listener: Rebalances, stop: threading.Event) -> None:
    """Join the group of a consumer, to read some topics.

    Not before their metadata are known, or a few seconds have gone by since a broker answered without them: a member
    that leads its group and does not know the topics yet assigns none, and where it learns of them while it joins
    kafka-python (3.0.12) was seen never to join again (as KAFKA-3949 was in Java's), nor to send heart-beats. So a
    broker that is away is waited for here, until it answers or `stop` is set.
    """
    # Its `partitions_for_topic` waits for the answer of a broker however long that takes; this asks, and looks.
    cluster = consumer._cluster  # noqa: SLF001 - it has no other way
    cluster.need_all_topic_metadata = True
    deadline = float("inf")
    asked = cluster.request_update()
    while not all(cluster.partitions_for_topic(name) for name in names) and time.monotonic() < deadline:
        if asked.is_done:
            if asked.succeeded():
                deadline = min(deadline, time.monotonic() + _KNOWN_S)
            asked = cluster.request_update()
        if stop.wait(_KNOWN_AGAIN_S):
            break
    # It also ends asking for all topics.
    consumer.subscribe(list(names), listener=listener)


def throttle(consumer: Any, waiting: int, most: int) -> None:
    """Pause all partitions while too much waits, until half of it is done.

    Poll must go on meanwhile, for the heart-beats' sake.
    """
    if waiting >= most:
        consumer.pause(*consumer.assignment())
    elif waiting < most // 2 and consumer.paused():
        consumer.resume(*consumer.paused())


def consumer_options(kafka: Kafka, group: str) -> dict[str, Any]:
    """A consumer of a group of ours: manual commits, earliest where nothing is committed."""
    rebalance = kafka.rebalance_timeout_ms
    return client_options(kafka) | {
        "group_id": group,
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
