"""An in-memory Kafka and an embedded one behind one harness, and rows to send through a bridge."""

from __future__ import annotations

import subprocess
import threading
import warnings
from collections import defaultdict, deque
from functools import partial
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

with warnings.catch_warnings():
    # kafka-python reads its protocol's schemas by a function that Python 3.11 deprecates.
    warnings.filterwarnings("ignore", "(read|open)_text is deprecated", DeprecationWarning)
    import kafka

from connectors.bridge import Bridge, Policy
from connectors.bridge.producer import KafkaBlocks
from connectors.kafka import Positions, client_options, ensure_topics
from connectors.settings import Kafka
from schemas import topics
from schemas.blocks import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Machines that run tests are busy: how long one example takes says nothing.
hypothesis.settings.register_profile("no-deadline", deadline=None)
hypothesis.settings.load_profile("no-deadline")

PARTITIONS = 3
TEXTS = (
    *("original_type", "account", "region", "configuration_set", "tenant", "from_domain", "feedback_a"),
    *("feedback_b", "feedback_c", "campaign", "bounce_type", "bounce_subtype", "complaint_type"),
    *("complaint_subtype", "delay_type", "feedback_id", "smtp_reply", "reporting_mta", "remote_mta_ip"),
    *("outgoing_ip", "ip_address", "user_agent", "link", "reason", "template", "contact_list"),
)
FLAGS = ("machine_open", "out_of_office", "unsubscribed", "tagged")


def make_event(number: int, message: str = "m", **fields: Any) -> Any:
    event: dict[str, Any] = dict.fromkeys(TEXTS, "") | dict.fromkeys(FLAGS, False)
    event |= {"processing_millis": 0, "arrival_id": number}
    event |= {"event_id": number.to_bytes(16, "big"), "event_type": "Delivery", "message_id": message}
    event |= {"event_time": number, "sent_time": 0, "recipients": [], "tags": [], "origin": "event"}
    return event | {"path": "file"} | fields


class MemoryKafka:
    """A producer that stores blocks in memory, and acknowledges them when it is told to."""

    def __init__(self, *, automatic: bool) -> None:
        self.automatic = automatic
        self.logs: dict[tuple[str, int], list[bytes]] = defaultdict(list)
        self.waiting: deque[tuple[Callable[[], None], Callable[[Exception], None]]] = deque()
        self.refuse: Exception | None = None
        self.closed = False

    def send(
        self,
        topic: str,
        partition: int,
        block: bytes,
        sent: Callable[[int], None],
        failed: Callable[[Exception], None],
    ) -> None:
        if self.refuse:
            raise self.refuse
        log = self.logs[topic, partition]
        log.append(block)
        acknowledge = partial(sent, len(log) - 1)
        if self.automatic:
            threading.Thread(target=acknowledge).start()
        else:
            self.waiting.append((acknowledge, failed))

    def close(self) -> None:
        self.closed = True


class Harness:
    """Opens bridges on one Kafka and reads back what they stored."""

    def __init__(self, settings: Kafka | None) -> None:
        self._settings = settings
        self._memory = MemoryKafka(automatic=True)
        self._begin = {topic: self._ends(topic) for topic in topics.ALL}

    def open(self, policy: Policy | None = None, **more: Any) -> Bridge:
        producer = KafkaBlocks(self._settings) if self._settings else self._memory
        return Bridge(policy or Policy(PARTITIONS), producer, **more)

    def blocks(self, topic: str) -> dict[int, list[bytes]]:
        if self._settings is None:
            return {part: log for (name, part), log in self._memory.logs.items() if name == topic}
        return self._consume(topic)

    def rows(self, topic: str) -> dict[int, list[dict[str, Any]]]:
        return {
            part: [row for block in blocks for row in decode(block)]
            for part, blocks in self.blocks(topic).items()
        }

    def _ends(self, topic: str) -> dict[int, int]:
        if self._settings is None:
            return {}
        positions = Positions(self._settings)
        try:
            return positions.end_offsets(topic)
        finally:
            positions.close()

    def _consume(self, topic: str) -> dict[int, list[bytes]]:
        ends = self._ends(topic)
        consumer = kafka.KafkaConsumer(
            **client_options(self._settings or Kafka()), auto_offset_reset="earliest"
        )
        found: dict[int, list[bytes]] = {}
        try:
            consumer.assign([kafka.TopicPartition(topic, part) for part in ends])
            for part, begin in self._begin[topic].items():
                consumer.seek(kafka.TopicPartition(topic, part), begin)
            wanted = sum(ends.values()) - sum(self._begin[topic].values())
            while sum(map(len, found.values())) < wanted:
                for where, records in consumer.poll(timeout_ms=1000).items():
                    begin = self._begin[topic][where.partition]
                    # The embedded broker may begin with an earlier record of the same batch.
                    new = [each.value for each in records if each.offset >= begin]
                    found.setdefault(where.partition, []).extend(new)
        finally:
            consumer.close()
        return found


@pytest.fixture(scope="session")
def kafka_settings() -> Iterator[Kafka]:
    """A broker of this folder's own, since the names of our topics are fixed."""
    from connectors.embedded import broker, lifeline

    port = broker.free_port()
    command = lifeline.wrap(broker.command(port))
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    try:
        if not broker.wait_for(port, process):
            pytest.fail("the embedded broker did not start")
        settings = Kafka(brokers=f"{broker.HOST}:{port}", partitions=PARTITIONS, replication=1)
        ensure_topics(settings)
        yield settings
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session", params=["memory", pytest.param("embedded", marks=pytest.mark.embedded)])
def place(request: pytest.FixtureRequest) -> Kafka | None:
    """Of the session, so that the broker is there before a test's own fixtures are."""
    return request.getfixturevalue("kafka_settings") if request.param == "embedded" else None


@pytest.fixture
def harness(place: Kafka | None) -> Harness:
    return Harness(place)


@pytest.fixture
def memory() -> MemoryKafka:
    return MemoryKafka(automatic=False)


@pytest.fixture
def event() -> Callable[..., Any]:
    return make_event
