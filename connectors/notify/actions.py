"""`ActionLog`: rows of `ses.alarm-actions`: what was done, tried or left on account of alarms."""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from kafka import KafkaProducer

from connectors.bridge.producer import CLOSE_S, producer_options
from connectors.kafka import await_broker, sentences
from schemas import topics
from schemas.alarms import parts_of
from schemas.blocks import SINGLE_OBJECT, Framing, encode
from schemas.partitioning import of_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from connectors.settings import Kafka
    from schemas.alarms import AlarmAction
    from schemas.dead_letters import DeadLetter

LOG: Final = logging.getLogger(__name__)
_AGAIN_S: Final = 1.0
_LONGEST_DETAIL: Final = 1000
_POLL_S: Final = 0.01
_LETTER_S: Final = 30


class Log(Protocol):
    """Where actions are written; for one thread."""

    def write(self, row: AlarmAction) -> int:
        """Begin to write a row; gives its number. Its `time` is moved on where another has it already."""

    def written(self, number: int) -> bool:
        """Whether a row is durable."""

    def outstanding(self, alarm_key: str) -> int:
        """Rows of an alarm key that are not durable yet."""

    def tend(self) -> None:
        """Learn what has become durable, and write again what has not; to be called often."""


@dataclass(slots=True)
class _Sent:
    number: int
    row: AlarmAction
    failed: float = 0.0


class ActionLog:
    """Writes to Kafka, keyed by `action_id`, for the topic is compacted. For one thread."""

    def __init__(self, settings: Kafka, framing: Framing = SINGLE_OBJECT) -> None:
        """Connect.

        Raises:
            BrokerError: when no broker answers, or it refuses.
        """
        self._settings = settings
        self._framing = framing
        await_broker(settings)
        with sentences(settings):
            self._producer: Any = KafkaProducer(**producer_options(settings))
        self._ends: SimpleQueue[tuple[_Sent, Exception | None]] = SimpleQueue()
        self._open: dict[int, _Sent] = {}
        self._of_key: Counter[str] = Counter()
        self._number = 0
        self._last = 0
        self.ends: dict[int, int] = {}
        """By partition, the offset after the last row that was written."""

    def write(self, row: AlarmAction) -> int:
        """Begin to write a row; gives its number."""
        self._last = max(row["time"], self._last + 1)
        stamped = cast("AlarmAction", {**row, "time": self._last, "detail": row["detail"][:_LONGEST_DETAIL]})
        self._number += 1
        sent = _Sent(self._number, stamped)
        self._open[sent.number] = sent
        self._of_key[row["alarm_key"]] += 1
        self._send(sent)
        return sent.number

    def written(self, number: int) -> bool:
        """Whether a row is durable."""
        return number not in self._open

    def outstanding(self, alarm_key: str) -> int:
        """Rows of an alarm key that are not durable yet."""
        return self._of_key[alarm_key]

    def tend(self) -> None:
        """Learn what has become durable, and write again what has not."""
        with contextlib.suppress(Empty):
            while True:
                self._take(*self._ends.get_nowait())
        now = time.monotonic()
        for sent in [each for each in self._open.values() if each.failed and now - each.failed >= _AGAIN_S]:
            sent.failed = 0.0
            self._send(sent)

    def letter(self, letter: DeadLetter) -> None:
        """Write a dead letter, and wait until it is durable.

        Raises:
            BrokerError: it is not.
        """
        value = encode("dead_letter", [letter], self._framing)
        with sentences(self._settings):
            self._producer.send(topics.DEAD_LETTERS, value=value, partition=0).get(timeout=_LETTER_S)

    def flush(self, patience_s: float) -> bool:
        """Wait until all is durable; False when it is not in time."""
        deadline = time.monotonic() + patience_s
        self.tend()
        while self._open and time.monotonic() < deadline:
            time.sleep(_POLL_S)
            self.tend()
        return not self._open

    def close(self) -> None:
        """Stop within seconds."""
        self._producer.close(timeout=CLOSE_S)

    def _send(self, sent: _Sent) -> None:
        row: Mapping[str, Any] = sent.row
        try:
            future = self._producer.send(
                topics.ALARM_ACTIONS,
                key=sent.row["action_id"].encode(),
                value=encode("alarm_action", [row], self._framing),
                partition=partition_of(sent.row["alarm_key"], self._settings.partitions),
            )
        except Exception as error:  # noqa: BLE001 - kafka-python's own, and it may pass
            self._ends.put((sent, error))
            return
        future.add_callback(lambda stored: self._stored(sent, stored))
        future.add_errback(lambda error: self._ends.put((sent, error)))

    def _stored(self, sent: _Sent, stored: Any) -> None:
        self.ends[stored.partition] = max(self.ends.get(stored.partition, 0), stored.offset + 1)
        self._ends.put((sent, None))

    def _take(self, sent: _Sent, error: Exception | None) -> None:
        if error is not None:
            LOG.warning("Kafka did not take an action, it is sent again: %s", error)
            sent.failed = time.monotonic()
        elif self._open.pop(sent.number, None) is not None:
            left = self._of_key
            left[sent.row["alarm_key"]] -= 1
            if not left[sent.row["alarm_key"]]:
                del left[sent.row["alarm_key"]]


def partition_of(alarm_key: str, partitions: int) -> int:
    """Where the actions of an alarm key go: where its transitions are; without a key, the first partition."""
    try:
        _, dimension, value = parts_of(alarm_key)
    except ValueError:
        return 0
    return of_key(dimension, value, partitions)
