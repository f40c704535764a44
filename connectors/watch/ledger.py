"""`Ledger`: the state of each alarm of the watch, and the one way in which it changes: a transition that Kafka has."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from connectors.bridge.producer import CLOSE_S, producer_options
from connectors.kafka import await_broker, client_options, sentences
from pipelines.alarms.machine import Machine, advance, obey, retire, unpack
from pipelines.alarms.transition import decode, encode, partition_of, record_key, row
from pipelines.counting.rate import StateError
from schemas import topics
from schemas.alarms import SURVEYED_SIGNALS, Alarm, AlarmOrder, alarm_key, parts_of
from schemas.blocks import SINGLE_OBJECT, BlockError, Framing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from connectors.settings import Kafka
    from pipelines.alarms.reading import Reading
    from pipelines.alarms.rules import Rule
    from pipelines.alarms.transition import Transition

DELIVERY_MS: Final = 20_000
"""How long a transition may be retried before it is told that Kafka does not take it; it is sent again later."""
_POLL_MS: Final = 200

LOG: Final = logging.getLogger(__name__)


class Ledger:
    """May be used by several threads; each call that changes something waits for Kafka."""

    def __init__(
        self, kafka: Kafka, framing: Framing = SINGLE_OBJECT, clock: Callable[[], float] = time.time
    ) -> None:
        """Connects nowhere yet."""
        self._kafka = kafka
        self._framing = framing
        self._clock = clock
        self._lock = threading.RLock()
        self._machines: dict[str, Machine] = {}
        self._pending: dict[str, Alarm] = {}
        self._unreadable: dict[str, str] = {}
        self._producer: Any = None
        self._closed = False
        self.sent = 0

    def remember(self, states: Iterable[tuple[str, int, bytes]]) -> None:
        """Take states over: alarm key, number of the transition, machine. Of several of a key the highest number."""
        with self._lock:
            for key, seq, state in states:
                known = self._machines.get(key)
                if known is not None and known.seq >= seq:
                    continue
                try:
                    self._machines[key] = unpack(state)
                    self._unreadable.pop(key, None)
                except StateError as error:
                    self._unreadable[key] = str(error)

    def read_topic(self, give_up: Callable[[], bool]) -> None:
        """Take over what `ses.alarms` says, up to its present end.

        Raises:
            BrokerError: Kafka does not answer, or refuses.
        """
        self.remember(
            (alarm["alarm_key"], alarm["seq"], alarm["machine"])
            for alarm in all_alarms(self._kafka, self._framing, give_up)
            if alarm["signal"] in SURVEYED_SIGNALS
        )

    def of(self, key: str) -> Machine:
        """The state of a key; a new one where nothing has happened."""
        return self._machines.get(key, _NEW)

    def open_keys(self) -> list[str]:
        """All keys with an open incident."""
        return [key for key, machine in list(self._machines.items()) if machine.is_open]

    def open_values(self, rule: Rule, dimension: str) -> set[str]:
        """Values of a rule and dimension that have an open incident, and that the rule is for."""
        prefix = alarm_key(rule.name, dimension, "")
        found = {key.removeprefix(prefix) for key in self.open_keys() if key.startswith(prefix)}
        return {value for value in found if rule.covers(value)}

    @property
    def firing(self) -> int:
        """How many keys have an open incident."""
        return len(self.open_keys())

    @property
    def trouble(self) -> str:
        """Why some keys are not evaluated; empty when all are."""
        return "; ".join(f"{key}: {why}" for key, why in sorted(self._unreadable.items()))

    def tell(self, rule: Rule, dimension: str, value: str, read: Callable[[Machine], Reading | None]) -> bool:
        """Advance a key by what `read` says of it; whether that made a transition.

        Raises:
            BrokerError: Kafka does not take the transition; the next call for the key sends it again first.
        """

        def judge(machine: Machine) -> tuple[Machine, Transition | None]:
            reading = read(machine)
            return (machine, None) if reading is None else advance(machine, rule, reading)

        return self._change(alarm_key(rule.name, dimension, value), judge)

    def obey(self, order: AlarmOrder, rule: Rule | None, now: int) -> bool:
        """Do what an operator wants of a key (`now`: event time, ms); whether that made a transition.

        Raises:
            BrokerError: as `tell`.
        """
        return self._change(order["alarm_key"], lambda machine: obey(machine, rule, order, now))

    def retire(self, key: str, now: int) -> bool:
        """End what is open of a key that no rule covers any more.

        Raises:
            BrokerError: as `tell`.
        """
        return self._change(key, lambda machine: retire(machine, now))

    def close(self) -> None:
        """Disconnect, within seconds. From then on nothing changes: another may be the writer of our keys."""
        with self._lock:
            self._closed = True
            self._hang_up()

    def _change(self, key: str, judge: Callable[[Machine], tuple[Machine, Transition | None]]) -> bool:
        """Let something happen to a key, the only way that machines change.

        1. What happened before and Kafka has not taken yet is sent again, the same to the byte.
        2. The transition is made, and kept as pending.
        3. Kafka has it (all replicas).
        4. Its machine is the key's.

        A crash before 3 evaluates again, with the same number; one between 3 and 4 finds it in the topic.
        """
        with self._lock:
            if self._closed or key in self._unreadable:
                return False
            self._settle(key)
            before = self._machines.get(key, _NEW)
            after, transition = judge(before)
            if transition is None:
                if after is not before:
                    self._machines[key] = after
                return False
            rule, dimension, value = parts_of(key)
            self._pending[key] = row(transition, rule, dimension, value, int(self._clock() * 1000))
            self._settle(key)
            return True

    def _settle(self, key: str) -> None:
        alarm = self._pending.get(key)
        if alarm is None:
            return
        self._send(alarm)
        self.sent += 1
        self._machines[key] = unpack(alarm["machine"])
        del self._pending[key]

    def _send(self, alarm: Alarm) -> None:
        key = alarm["alarm_key"]
        try:
            if self._producer is None:
                await_broker(self._kafka)
            with sentences(self._kafka):
                if self._producer is None:
                    self._producer = KafkaProducer(
                        **producer_options(self._kafka) | {"delivery_timeout_ms": DELIVERY_MS}
                    )
                self._producer.send(
                    topics.ALARMS,
                    key=record_key(key),
                    value=encode(alarm, self._framing),
                    partition=partition_of(key, self._kafka.partitions),
                ).get(DELIVERY_MS / 1000 + CLOSE_S)
        except BaseException:
            # An idempotent producer that lost a batch may refuse all that follows.
            self._hang_up()
            raise

    def _hang_up(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.close(timeout=CLOSE_S)


_NEW: Final = Machine()


def all_alarms(kafka: Kafka, framing: Framing, give_up: Callable[[], bool]) -> Iterator[Alarm]:
    """Everything that `ses.alarms` has now. What is no alarm is passed over: the sink makes a dead letter of it."""
    await_broker(kafka)
    with sentences(kafka), contextlib.closing(KafkaConsumer(**_READING, **client_options(kafka))) as consumer:
        places = [TopicPartition(topics.ALARMS, number) for number in range(kafka.partitions)]
        consumer.assign(places)
        consumer.seek_to_beginning(*places)
        ends = consumer.end_offsets(places)
        while not give_up() and any(consumer.position(place) < ends[place] for place in places):
            for records in consumer.poll(timeout_ms=_POLL_MS).values():
                for record in records:
                    try:
                        yield from decode(record.value or b"", framing)
                    except BlockError as error:
                        # The sink has it among the dead letters.
                        where = f"kafka://{record.topic}/{record.partition}/{record.offset}"
                        LOG.warning("%s is no transition, and not gone on from: %s", where, error)


_READING: Final[dict[str, Any]] = {"enable_auto_commit": False, "auto_offset_reset": "earliest"}
