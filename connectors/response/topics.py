"""`Topics`: transitions and actions from Kafka, those of the past that matter and those that come; and `Recorder`.

Nobody shares this work, so there is no consumer group: all partitions are read by whoever holds the companion.
"""

from __future__ import annotations

import contextlib
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, cast

from kafka import KafkaConsumer, TopicPartition
from kafka import errors as kafka_errors

from connectors.errors import BrokerError, ClickHouseError
from connectors.kafka import await_broker, client_options, sentences
from connectors.response.view import landed
from pipelines.alarms.transition import decode
from schemas import topics
from schemas.blocks import SINGLE_OBJECT, BlockError, Framing
from schemas.blocks import decode as decode_block

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from connectors.clickhouse.sql import Target
    from connectors.notify.actions import ActionLog
    from connectors.settings import Kafka
    from schemas.alarms import Alarm, AlarmAction

_POLL_MS: Final = 250
_FLUSH_S: Final = 20.0
_LOOK_S: Final = 0.1
_MOST: Final = 2000


class Topics:
    """Reads `ses.alarm-actions` and `ses.alarms`; for one thread."""

    def __init__(self, kafka: Kafka, framing: Framing = SINGLE_OBJECT) -> None:
        """Connect.

        Raises:
            BrokerError: no broker answers, or it has not our topics.
        """
        self._kafka = kafka
        self._framing = framing
        self._ends: dict[TopicPartition, int] = {}
        await_broker(kafka)
        with sentences(kafka):
            self._consumer: Any = KafkaConsumer(
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                max_poll_records=_MOST,
                metrics_enabled=False,
                **client_options(kafka),
            )

    def start(self, *, alarms_since: int | None) -> None:
        """Begin with the first action there is, and with transitions written at a time (ms) or later; None: with none.

        Raises:
            BrokerError: Kafka does not answer, or has not our topics.
        """
        names = [topics.ALARM_ACTIONS] if alarms_since is None else [topics.ALARM_ACTIONS, topics.ALARMS]
        with sentences(self._kafka):
            parts = [TopicPartition(name, each) for name in names for each in self._partitions(name)]
            self._consumer.assign(parts)
            self._consumer.seek_to_beginning(*parts)
            self._ends = self._consumer.end_offsets(parts)
            if alarms_since is not None:
                self._skip([each for each in parts if each.topic == topics.ALARMS], alarms_since)

    def _partitions(self, name: str) -> Sequence[int]:
        found = self._consumer.partitions_for_topic(name)
        if not found:
            raise BrokerError(
                f"Kafka at {self._kafka.brokers} has no topic {name}: run `ses-streams migrate` first"
            )
        return sorted(found)

    def _skip(self, parts: Sequence[TopicPartition], since: int) -> None:
        """Leave out what is older, where the broker can find it; it is only passed over faster."""
        with contextlib.suppress(kafka_errors.UnsupportedVersionError):
            for part, found in self._consumer.offsets_for_times(dict.fromkeys(parts, since)).items():
                if found is not None:
                    self._consumer.seek(part, found.offset)

    @property
    def caught_up(self) -> bool:
        """Whether all was read that there was at the start."""
        with sentences(self._kafka):
            return all(self._consumer.position(part) >= end for part, end in self._ends.items())

    def poll(
        self, learn: Callable[[AlarmAction], None], hear: Callable[[Alarm], None], wait_ms: int = _POLL_MS
    ) -> None:
        """Pass on what has come; waits a moment for something.

        Raises:
            BrokerError: Kafka does not answer.
        """
        with sentences(self._kafka):
            polled = self._consumer.poll(timeout_ms=wait_ms)
        for part, records in polled.items():
            for record in records:
                # What is no block is somebody's mistake that the sink tells of.
                with contextlib.suppress(BlockError):
                    if part.topic == topics.ALARMS:
                        for alarm in decode(record.value, self._framing):
                            hear(alarm)
                    else:
                        for row in actions_of(record.value, self._framing):
                            learn(row)

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close(autocommit=False)


def actions_of(block: bytes, framing: Framing = SINGLE_OBJECT) -> Iterator[AlarmAction]:
    """The rows of a record of `ses.alarm-actions`.

    Raises:
        schemas.blocks.BlockError: the bytes are not a block of a known schema.
    """
    for row in decode_block(block, framing):
        times = {
            name: round(each.timestamp() * 1000) for name, each in row.items() if isinstance(each, datetime)
        }
        yield cast("AlarmAction", row | times)


class Recorder:
    """Writes rows one at a time, each durable before the next."""

    def __init__(self, log: ActionLog, memory: Target | None = None) -> None:
        """Nothing is written yet.

        Args:
            log: where to.
            memory: of an embedded instance, whose Kafka forgets: its ClickHouse.
        """
        self._log = log
        self._memory = memory

    def record(self, row: AlarmAction) -> AlarmAction:
        """Write a row, and return once it is durable; gives it as it was written.

        Where Kafka forgets, an intent is durable once it has landed. Any other row may be lost there: the intent then
        tells the next one to ask SES again.

        Raises:
            BrokerError: it is not.
        """
        self._log.write(row)
        if not self._log.flush(_FLUSH_S) or not self._landed(row):
            raise BrokerError(
                "what is to be done cannot be recorded, so it is not done: see that Kafka and the sink run"
            )
        return row

    def _landed(self, row: AlarmAction) -> bool:
        if self._memory is None or row["outcome"] != "intended":
            return True
        deadline = time.monotonic() + _FLUSH_S
        while time.monotonic() < deadline:
            with contextlib.suppress(ClickHouseError):
                if landed(self._memory, row):
                    return True
            time.sleep(_LOOK_S)
        return False
