"""`Ears`: what the watch hears from Kafka, orders of operators and dead letters as they are written."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, Final

from kafka import KafkaConsumer, TopicPartition

from connectors.kafka import await_broker, sentences
from connectors.kafka_commits import Commits, consumer_options
from pipelines.alarms.transition import decode_orders
from schemas import topics
from schemas.blocks import SINGLE_OBJECT, BlockError, Framing, open_block

if TYPE_CHECKING:
    from collections.abc import Callable

    from connectors.settings import Kafka
    from schemas.alarms import AlarmOrder

LONGEST_S: Final = 86_400
"""Dead letters are remembered for so long at the most: `dead_letters_minutes` goes up to a day."""


class Ears:
    """For one thread. Not a member of its group: it assigns itself all partitions, and commits orders that are done."""

    def __init__(
        self, kafka: Kafka, framing: Framing = SINGLE_OBJECT, clock: Callable[[], float] = time.time
    ) -> None:
        """Connects when first asked."""
        self._kafka = kafka
        self._framing = framing
        self._clock = clock
        self._consumer: Any = None
        self._commits = Commits()
        self._span_s = 0.0
        self._letters: list[tuple[int, int]] = []

    def orders(self, wait_s: float) -> list[AlarmOrder]:
        """Orders that have come, waiting a while for the first; dead letters are counted meanwhile.

        Raises:
            BrokerError: Kafka does not answer, or refuses. What was not `done` comes again.
        """
        found: list[AlarmOrder] = []
        with self._connected() as consumer:
            self._commits.pay_due(consumer)
            for where, records in consumer.poll(timeout_ms=int(wait_s * 1000)).items():
                if where.topic == topics.DEAD_LETTERS:
                    self._letters += [
                        (record.timestamp, _rows(record.value, self._framing)) for record in records
                    ]
                    continue
                for record in records:
                    # What is no order nobody can obey; the worker's own reader says so.
                    with contextlib.suppress(BlockError):
                        found += decode_orders(record.value or b"", self._framing)
                self._commits.owe({where: records[-1].offset + 1})
        return found

    def done(self) -> None:
        """All orders that were given out are done.

        Raises:
            BrokerError: Kafka refuses for good; they come again.
        """
        with self._connected() as consumer:
            self._commits.pay(consumer)

    def letters(self, span_s: float) -> int:
        """Dead letters written in the last so many seconds, as far as they have been heard of.

        Raises:
            BrokerError: Kafka does not answer.
        """
        if span_s > self._span_s:
            # A longer look back than before: start again from there.
            self.close()
            self._span_s = min(span_s, LONGEST_S)
        with self._connected():
            now = self._clock() * 1000
            self._letters = [each for each in self._letters if each[0] > now - self._span_s * 1000]
            return sum(rows for written, rows in self._letters if written > now - span_s * 1000)

    def close(self) -> None:
        """Disconnect; what was heard and is not done comes again."""
        consumer, self._consumer = self._consumer, None
        self._commits = Commits()
        self._letters = []
        if consumer is not None:
            consumer.close(autocommit=False)

    @contextlib.contextmanager
    def _connected(self) -> Any:
        try:
            if self._consumer is None:
                await_broker(self._kafka)
            with sentences(self._kafka):
                if self._consumer is None:
                    self._consumer = self._open()
                yield self._consumer
        except BaseException:
            self.close()
            raise

    def _open(self) -> Any:
        consumer = KafkaConsumer(**consumer_options(self._kafka, topics.WATCH_GROUP))
        try:
            self._begin(consumer)
        except BaseException:
            consumer.close(autocommit=False)
            raise
        return consumer

    def _begin(self, consumer: Any) -> None:
        numbers = range(self._kafka.partitions)
        letters = [TopicPartition(topics.DEAD_LETTERS, number) for number in numbers]
        consumer.assign([*letters, *(TopicPartition(topics.ALARM_ORDERS, number) for number in numbers)])
        since = int((self._clock() - self._span_s) * 1000)
        for place, found in consumer.offsets_for_times(dict.fromkeys(letters, since)).items():
            if found is None or found.offset < 0 or found.timestamp < 0:
                consumer.seek_to_end(place)
            else:
                consumer.seek(place, found.offset)


def _rows(value: bytes | None, framing: Framing) -> int:
    """Dead letters in a record; one that cannot be read is one."""
    try:
        return open_block(value or b"", framing).count
    except BlockError:
        return 1
