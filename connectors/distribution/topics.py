"""`Feed` and `KafkaBook`: received mail and the rows of `mail.forwards`, from Kafka and to it.

Nobody shares the work, so nobody is a member of a group: whoever holds the companion reads all partitions. How far
`mail.inbound` is read is committed under a group of its own. For a moment two may do so; that repeats mails, and what
is done of a mail twice is ruled by the rows of `mail.forwards`.
"""

from __future__ import annotations

import contextlib
import logging
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, cast
from zlib import crc32

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from connectors.bridge.producer import CLOSE_S, producer_options
from connectors.errors import BrokerError
from connectors.kafka import await_broker, client_options, sentences
from connectors.kafka_commits import Commits, consumer_options
from connectors.notify.offsets import Unsettled
from schemas import topics
from schemas.blocks import SINGLE_OBJECT, BlockError, Framing, decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from connectors.settings import Kafka
    from schemas.forwards import MailForward
    from schemas.mail import InboundMail

LOG: Final = logging.getLogger(__name__)
_WRITE_S: Final = 30.0
_POLL_MS: Final = 250
_BUSY_MS: Final = 50
_SOON_MS: Final = 20
_MOST_WAITING: Final = 500


class Feed:
    """Reads `mail.inbound`; for one thread."""

    def __init__(self, kafka: Kafka, framing: Framing = SINGLE_OBJECT, *, from_start: bool = False) -> None:
        """Connect, and go on where it was left.

        Args:
            kafka: where.
            framing: how blocks name their schema.
            from_start: where nothing was ever committed, whether to begin with the first mail there is. Else with
                the next one: whoever has just switched it on does not want yesterday's mail sent.

        Raises:
            BrokerError: Kafka does not answer, or has not our topics.
        """
        self._kafka = kafka
        self._framing = framing
        self._commits = Commits()
        self._unsettled = Unsettled()
        await_broker(kafka)
        with sentences(kafka):
            self._consumer: Any = KafkaConsumer(**consumer_options(kafka, topics.DISTRIBUTION_GROUP))
            try:
                self._begin(from_start=from_start)
            except BaseException:
                self.close()
                raise

    def poll(self, take: Callable[[InboundMail], bool], settled: Callable[[str], bool], waiting: int) -> None:
        """Pass on mails that have come, and commit what is settled.

        Args:
            take: takes a mail; whether it is one to wait for.
            settled: whether nothing more is to be done about a mail, by its id in hex.
            waiting: mails that are not settled; with too many no more are read.

        Raises:
            BrokerError: Kafka does not answer.
        """
        with sentences(self._kafka):
            self._throttle(waiting)
            polled = self._consumer.poll(timeout_ms=_BUSY_MS if waiting else _POLL_MS)
            for where, records in polled.items():
                for record in records:
                    self._unsettled.read(where, record.offset, self._taken(record.value, take))
            if done := self._unsettled.settled(settled):
                self._commits.owe(done)
                self._commits.pay(self._consumer)
            self._commits.pay_due(self._consumer)

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close(autocommit=False)

    def _begin(self, *, from_start: bool) -> None:
        places = [TopicPartition(topics.INBOUND, each) for each in range(self._kafka.partitions)]
        self._consumer.assign(places)
        fresh = [place for place in places if self._consumer.committed(place) is None]
        if fresh and from_start:
            self._consumer.seek_to_beginning(*fresh)
        elif fresh:
            self._consumer.seek_to_end(*fresh)
            # Committed at once: what comes from now on is to be found after a crash.
            self._commits.owe({place: self._consumer.position(place) for place in fresh})
            self._commits.pay(self._consumer)

    def _throttle(self, waiting: int) -> None:
        if waiting >= _MOST_WAITING:
            self._consumer.pause(*self._consumer.assignment())
        elif waiting < _MOST_WAITING // 2 and self._consumer.paused():
            self._consumer.resume(*self._consumer.paused())

    def _taken(self, value: bytes | None, take: Callable[[InboundMail], bool]) -> list[str]:
        # What is no block is somebody's mistake that the sink tells of.
        with contextlib.suppress(BlockError):
            mails = cast("list[InboundMail]", _rows(value or b"", self._framing))
            return [mail["mail_id"].hex() for mail in mails if take(mail)]
        return []


class KafkaBook:
    """Writes rows of `mail.forwards`, and reads all there are; for one thread. See `Book`."""

    def __init__(
        self,
        kafka: Kafka,
        learn: Callable[[MailForward], None],
        framing: Framing = SINGLE_OBJECT,
        landed: Callable[[MailForward], bool] = lambda _: True,
    ) -> None:
        """Connect; nothing is read yet.

        Args:
            kafka: where.
            learn: takes each row, in the order of its partition.
            framing: how blocks name their schema.
            landed: where Kafka forgets, whether a row is in ClickHouse; waits for that a while.

        Raises:
            BrokerError: Kafka does not answer, or has not our topics.
        """
        self._kafka = kafka
        self._learn = learn
        self._framing = framing
        self._landed = landed
        self._places = [TopicPartition(topics.FORWARDS, each) for each in range(kafka.partitions)]
        await_broker(kafka)
        with sentences(kafka):
            self._producer: Any = KafkaProducer(**producer_options(kafka))
            try:
                self._consumer: Any = KafkaConsumer(
                    enable_auto_commit=False,
                    auto_offset_reset="earliest",
                    metrics_enabled=False,
                    fetch_max_wait_ms=_SOON_MS,
                    **client_options(kafka),
                )
            except BaseException:
                self._producer.close(timeout=0)
                raise

    def catch_up(self, stopped: Callable[[], bool]) -> None:
        """Take all rows there are, or until told to stop.

        Raises:
            BrokerError: Kafka does not answer, or has not our topics.
        """
        with sentences(self._kafka):
            self._consumer.assign(self._places)
            self._consumer.seek_to_beginning(*self._places)
            ends = self._consumer.end_offsets(self._places)
            while not stopped() and any(self._consumer.position(each) < ends[each] for each in self._places):
                self._read(_POLL_MS)

    def poll(self) -> None:
        """Take what has come.

        Raises:
            BrokerError: Kafka does not answer.
        """
        with sentences(self._kafka):
            self._read(0)

    def record(self, row: MailForward) -> None:
        """Write a row, wait for Kafka to have it, and read up to it.

        Raises:
            BrokerError: Kafka does not take it, or gives it not back; it may have it all the same.
        """
        deadline = time.monotonic() + _WRITE_S
        with sentences(self._kafka):
            stored = self._producer.send(
                topics.FORWARDS,
                key=f"{row['mail_id'].hex()}:{row['attempt']}".encode(),
                value=encode("mail_forward", [row], self._framing),
                partition=crc32(row["mail_id"]) % self._kafka.partitions,
            ).get(timeout=_WRITE_S)
            place = TopicPartition(topics.FORWARDS, stored.partition)
            while self._consumer.position(place) <= stored.offset:
                if time.monotonic() > deadline:
                    raise BrokerError("Kafka does not give back what it has taken: see that its brokers run")
                self._read(_SOON_MS)
        if not self._landed(row):
            raise BrokerError(
                "what is to be done does not get into ClickHouse, so it is not done: see the sink"
            )

    def close(self) -> None:
        """Disconnect."""
        self._producer.close(timeout=CLOSE_S)
        self._consumer.close(autocommit=False)

    def _read(self, wait_ms: int) -> None:
        for records in self._consumer.poll(timeout_ms=wait_ms).values():
            for record in records:
                with contextlib.suppress(BlockError):
                    for row in cast("Iterable[MailForward]", _rows(record.value or b"", self._framing)):
                        self._learn(row)


def _rows(value: bytes, framing: Framing) -> list[dict[str, Any]]:
    """The rows of a block, with times as ms.

    Raises:
        BlockError: the bytes are not a block of a known schema.
    """
    return [{name: _in_ms(each) for name, each in row.items()} for row in decode(value, framing)]


def _in_ms(value: Any) -> Any:
    return round(value.timestamp() * 1000) if isinstance(value, datetime) else value
