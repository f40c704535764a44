"""Kafka, as far as all parts share it: how clients connect, the topics, and where groups stand.

Errors of the client become `BrokerError`s, each one sentence.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from kafka import KafkaAdminClient, TopicPartition
from kafka import errors as kafka_errors
from kafka.admin import NewTopic, OffsetSpec

from connectors.errors import BrokerError
from schemas import topics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from connectors.settings import Kafka

MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
"""Of every topic: a block has 256 KiB, but a single row may have 3 MiB."""
CONNECT_S: Final = 8
"""How long a broker may take to answer the first time: a person waits for the sentence that it does not."""
_REQUEST_MS: Final = 10_000
_RETRY_S: Final = 0.1
_KNOWN_MS: Final = 60_000
_RECONNECT_MS: Final = 1000
"""As the Java client has it. By kafka-python's default a broker that is back is not noticed for half a minute."""

# It warns of every tenth of a second in which a thread was busy, or the machine was.
logging.getLogger("kafka.net.selector").setLevel(logging.ERROR)

Offsets = dict[int, int]
"""Partition to offset."""


def client_options(settings: Kafka) -> dict[str, Any]:
    """What every kafka-python client of ours is given: servers, security, and bounded patience."""
    options: dict[str, Any] = {
        "bootstrap_servers": [each.strip() for each in settings.brokers.split(",") if each.strip()],
        "bootstrap_timeout_ms": CONNECT_S * 1000,
        "request_timeout_ms": _REQUEST_MS,
        "reconnect_backoff_max_ms": _RECONNECT_MS,
        "security_protocol": settings.security_protocol,
    }
    if settings.sasl_mechanism:
        options |= {
            "sasl_mechanism": settings.sasl_mechanism,
            "sasl_plain_username": settings.sasl_username,
            "sasl_plain_password": str(settings.sasl_password),
        }
    return options


def await_broker(settings: Kafka) -> None:
    """Return once any of the brokers accepts a connection.

    kafka-python would tell as well, but its clients leave threads and sockets behind when there is nothing to
    connect to.

    Raises:
        BrokerError: when none does within `CONNECT_S`.
    """
    deadline = time.monotonic() + CONNECT_S
    while True:
        for server in client_options(settings)["bootstrap_servers"]:
            host, _, port = server.rpartition(":")
            with (
                contextlib.suppress(OSError, ValueError),
                socket.create_connection((host.strip("[]"), int(port)), CONNECT_S / 2),
            ):
                return
        if time.monotonic() > deadline:
            raise broker_error(TimeoutError(), settings)
        time.sleep(_RETRY_S)


@contextlib.contextmanager
def sentences(settings: Kafka) -> Iterator[None]:
    """Turn what kafka-python raises inside into `BrokerError`s."""
    try:
        yield
    except (kafka_errors.KafkaError, OSError, TimeoutError) as error:
        raise broker_error(error, settings) from error


def broker_error(error: Exception, settings: Kafka) -> BrokerError:
    """The sentence for an error of kafka-python."""
    at = f"Kafka at {settings.brokers}"
    if isinstance(error, _REFUSED_LOGIN):
        return BrokerError(f"{at} refused the login: check the kafka.sasl_* settings ({_short(error)})")
    if isinstance(error, _REFUSED_ACCESS):
        who = settings.sasl_username or "this client"
        return BrokerError(f"{at} allows {who} too little: grant it our topics and groups ({_short(error)})")
    if isinstance(error, _SILENT):
        return BrokerError(
            f"no Kafka broker answers at {settings.brokers}; start it, or set kafka.brokers to where it is"
        )
    if isinstance(error, kafka_errors.UnknownTopicOrPartitionError):
        return BrokerError(
            f"{at} has not all of our topics ({_short(error)}); run `ses-streams migrate` first"
        )
    return BrokerError(f"{at} refused: {_short(error)}")


_REFUSED_LOGIN: Final = (
    kafka_errors.SaslAuthenticationFailedError,
    kafka_errors.UnsupportedSaslMechanismError,
    kafka_errors.IllegalSaslStateError,
)
_REFUSED_ACCESS: Final = (
    kafka_errors.TopicAuthorizationFailedError,
    kafka_errors.GroupAuthorizationFailedError,
    kafka_errors.ClusterAuthorizationFailedError,
)
_NO_COORDINATOR: Final = (
    kafka_errors.CoordinatorNotAvailableError,
    kafka_errors.CoordinatorLoadInProgressError,
    kafka_errors.NotCoordinatorError,
)
_SILENT: Final = (
    kafka_errors.KafkaConnectionError,
    kafka_errors.KafkaTimeoutError,
    kafka_errors.BrokerNotAvailableError,
    kafka_errors.MetadataEmptyBrokerList,
    OSError,
)


def _short(error: Exception) -> str:
    return str(error).replace("\n", " ")[:300]


def ensure_topics(settings: Kafka) -> None:
    """Create what is missing of our topics; what exists is left as it is.

    Raises:
        BrokerError: when a topic exists with another number of partitions (then Faust could not co-partition
        it), or
            Kafka does not answer or allow it.
    """
    await_broker(settings)
    with sentences(settings), contextlib.closing(KafkaAdminClient(**client_options(settings))) as admin:
        existing = _partitions(admin)
        for topic in topics.ALL:
            if topic not in existing:
                _create(admin, topic, settings)
                existing |= _partitions(admin, topic)
            if existing.get(topic, settings.partitions) != settings.partitions:
                raise BrokerError(
                    f"the topic {topic} has {existing[topic]} partitions, kafka.partitions says"
                    f" {settings.partitions}: all our topics need equally many, so set it to theirs; for more"
                    " partitions see `ses-streams migrate --grow`"
                )


def _partitions(admin: Any, *names: str) -> dict[str, int]:
    """Number of partitions of those of our topics that exist."""
    described = admin.describe_topics(list(names or topics.ALL))
    return {each["name"]: len(each["partitions"]) for each in described if not each["error_code"]}


def _create(admin: Any, topic: str, settings: Kafka) -> None:
    new = NewTopic(
        topic,
        num_partitions=settings.partitions,
        replication_factor=settings.replication,
        topic_configs={
            "max.message.bytes": str(MAX_MESSAGE_BYTES),
            "cleanup.policy": "compact" if topic in topics.COMPACTED else "delete",
            "min.compaction.lag.ms": str(topics.UNCOMPACTED_MS.get(topic, 0)),
        },
    )
    with contextlib.suppress(kafka_errors.TopicAlreadyExistsError):  # another process was quicker
        admin.create_topics([new])
    # Kafka says that it is created before its brokers know of it.
    admin.wait_for_topics([topic], timeout_ms=_KNOWN_MS)


class Positions:
    """Where topics end and where groups stand. Connects when first asked; for one thread at a time."""

    def __init__(self, settings: Kafka) -> None:
        self._settings = settings
        self._client: Any = None

    def end_offsets(self, topic: str) -> Offsets:
        """The offset the next record of each partition will get.

        Raises:
            BrokerError: when Kafka does not answer, or has no such topic.
        """
        return self._offsets(topic, OffsetSpec.LATEST)

    def start_offsets(self, topic: str) -> Offsets:
        """The offset of the first record of each partition that is still kept.

        Raises:
            BrokerError: when Kafka does not answer, or has no such topic.
        """
        return self._offsets(topic, OffsetSpec.EARLIEST)

    def committed(self, group: str, topic: str) -> Offsets:
        """The offset that a group will read next in each partition; 0 where it has not committed any.

        Raises:
            BrokerError: when Kafka does not answer.
        """
        with sentences(self._settings):
            found = self._group_offsets(group, self._of(topic))
            return {each.partition: max(0, found[each].offset) for each in found}

    def _group_offsets(self, group: str, partitions: list[Any]) -> Any:
        """Ask until there is a coordinator: a new Kafka has none before it is first asked for one."""
        deadline = time.monotonic() + CONNECT_S
        while True:
            try:
                return self._admin.list_group_offsets({group: partitions})[group]
            except _NO_COORDINATOR:
                if time.monotonic() > deadline:
                    raise
            time.sleep(_RETRY_S)

    def close(self) -> None:
        """Disconnect."""
        if self._client is not None:
            self._client.close()

    def _offsets(self, topic: str, spec: OffsetSpec) -> Offsets:
        with sentences(self._settings):
            found = self._admin.list_partition_offsets(dict.fromkeys(self._of(topic), spec))
            return {each.partition: found[each].offset for each in found}

    def _of(self, topic: str) -> list[Any]:
        return [TopicPartition(topic, partition) for partition in range(self._settings.partitions)]

    @property
    def _admin(self) -> Any:
        if self._client is None:
            await_broker(self._settings)
            self._client = KafkaAdminClient(**client_options(self._settings))
        return self._client


_COUNTING: Final = (
    (topics.WORKER_GROUP, (topics.COUNTS,)),
    (topics.RECOUNT_GROUP, (topics.RECOUNTS,)),
)
_ROUNDS: Final = 4
"""Of counting and recounting at the most, else a stream that goes on would never be drained. In the first the worker
reads the counts of the events; what follows from them (what it passes on to `(other)`, answers) it reads in the
second, what follows from that in the third."""


LANDED: Final = (
    *(topics.EVENTS, topics.RATES, topics.DEAD_LETTERS, topics.ALARMS, topics.ALARM_ACTIONS),
    *(topics.INBOUND, topics.OUTBOUND, topics.THREADS, topics.REPORTS, topics.FORWARDS),
)
"""Topics that the sink reads."""


class Drain:
    """Tells when everything that Kafka had when it began is in ClickHouse, with all that follows from it.

    In stages, each of which takes the ends of its topics once the stage before has passed, because what a
    group has read, it has written on: the worker has read mails and messages sent; then the events, some of which it
    made of received reports; then the counts it made of them, and the recounter what it was asked for, in rounds until
    one brings nothing new; then alarms are explained, and the sink has read all it reads.
    Whoever wrote the events must have flushed them before.
    """

    _STAGES: Final = (
        (topics.WORKER_GROUP, (topics.INBOUND, topics.OUTBOUND)),
        (topics.WORKER_GROUP, (topics.EVENTS,)),
        *_COUNTING * _ROUNDS,
        (topics.EVIDENCE_GROUP, (topics.ALARMS,)),
        (topics.SINK_GROUP, LANDED),
    )
    _COUNTED: Final = len(_STAGES) - 2

    def __init__(self, positions: EndsAndCommits) -> None:
        self._positions = positions
        self._stage = 0
        self._ends: dict[str, Offsets] = {}
        self._passed: dict[str, Offsets] = {}
        self._settled = 0
        self.remaining = 0
        """Kafka records that the present stage waited for when last asked."""

    def done(self) -> bool:
        """Ask Kafka; once true, always true.

        Raises:
            BrokerError: when Kafka does not answer.
        """
        while self._stage < len(self._STAGES):
            group, names = self._STAGES[self._stage]
            self._ends = self._ends or {name: self._positions.end_offsets(name) for name in names}
            self.remaining = sum(self._behind(group, name) for name in names)
            if self.remaining:
                return False
            self._stage += 1
            self._skip_rounds()
            self._ends = {}
        return True

    def _skip_rounds(self) -> None:
        """Go on to the alarms once neither counts nor recounts have grown since they were last drained."""
        grown = any(self._passed.get(name) != ends for name, ends in self._ends.items())
        self._settled = 0 if grown else self._settled + 1
        self._passed |= self._ends
        if self._settled >= len(_COUNTING):
            self._stage = max(self._stage, self._COUNTED)

    def _behind(self, group: str, topic: str) -> int:
        committed = self._positions.committed(group, topic)
        return sum(max(0, end - committed.get(partition, 0)) for partition, end in self._ends[topic].items())


class EndsAndCommits(Protocol):
    """What a drain asks of Kafka; see `Positions`."""

    def end_offsets(self, topic: str) -> Offsets:
        """The offset the next record of each partition will get."""

    def committed(self, group: str, topic: str) -> Offsets:
        """The offset that a group will read next in each partition."""
