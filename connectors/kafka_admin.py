"""What is done to a Kafka while nothing of ours runs on it: more partitions, topics anew, groups set elsewhere."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec
from kafka import KafkaAdminClient, OffsetAndMetadata, TopicPartition
from kafka import errors as kafka_errors
from kafka.admin import NewTopic

from connectors.errors import BrokerError
from connectors.kafka import Drain, Offsets, Positions, await_broker, broker_error, client_options, sentences
from schemas import topics

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from connectors.settings import Kafka

WORKING: Final = {
    topics.WORKER_GROUP: "worker",
    topics.SINK_GROUP: "sink",
    topics.RECOUNT_GROUP: "sink",
    topics.EVIDENCE_GROUP: "sink",
    topics.NOTIFY_GROUP: "notify",
}
"""Our groups, and the process that is a member of each."""
_SETTLED_S: Final = 60.0
"""Kafka creates, grows and deletes topics in the background; a large one takes seconds."""
_POLL_S: Final = 0.2


class Admin:
    """Owns its connection; for one thread."""

    def __init__(self, settings: Kafka) -> None:
        """Connect.

        Raises:
            BrokerError: when no broker answers, or it refuses; so do all methods.
        """
        self._settings = settings
        await_broker(settings)
        with sentences(settings):
            self._client: Any = KafkaAdminClient(**client_options(settings))

    def close(self) -> None:
        """Disconnect."""
        self._client.close()

    def working(self) -> list[str]:
        """Those of our processes that are members of a group now: `worker`, `sink`, `notify`."""
        with sentences(self._settings):
            found = self._client.describe_groups(list(WORKING))
        busy = {WORKING[group] for group, described in found.items() if described["members"]}
        return sorted(busy)

    def partitions(self, *names: str) -> dict[str, int]:
        """Number of partitions of those topics that exist."""
        with sentences(self._settings):
            described = self._client.describe_topics(list(names))
        return {each["name"]: len(each["partitions"]) for each in described if not each["error_code"]}

    def add_partitions(self, names: Sequence[str], partitions: int) -> None:
        """Give topics more partitions."""
        with sentences(self._settings):
            self._client.create_partitions(dict.fromkeys(names, partitions))
        deadline = time.monotonic() + _SETTLED_S
        while any(number < partitions for number in self.partitions(*names).values()):
            if time.monotonic() > deadline:
                raise BrokerError(f"Kafka did not grow {', '.join(names)}: see its log, then try again")
            time.sleep(_POLL_S)

    def create(self, name: str, config: Mapping[str, str], partitions: int | None = None) -> None:
        """Create a topic; one that is there is left as it is."""
        new = NewTopic(
            name,
            num_partitions=partitions or self._settings.partitions,
            replication_factor=self._settings.replication,
            topic_configs=dict(config),
        )
        with sentences(self._settings):
            with contextlib.suppress(kafka_errors.TopicAlreadyExistsError):
                self._client.create_topics([new])
            self._client.wait_for_topics([name], timeout_ms=int(_SETTLED_S * 1000))

    def delete(self, name: str) -> None:
        """Delete a topic, and wait until it is gone; one that is not there is as good."""
        deadline = time.monotonic() + _SETTLED_S
        with sentences(self._settings), contextlib.suppress(kafka_errors.UnknownTopicOrPartitionError):
            self._client.delete_topics([name])
        while name in self.partitions(name):
            if time.monotonic() > deadline:
                raise BrokerError(f"Kafka did not delete the topic {name}: see its log, then try again")
            time.sleep(_POLL_S)

    def set_offsets(self, group: str, topic: str, offsets: Offsets) -> None:
        """Let a group without members go on elsewhere."""
        places = {
            TopicPartition(topic, partition): OffsetAndMetadata(offset, "", -1)
            for partition, offset in offsets.items()
        }
        with sentences(self._settings):
            answers = self._client.alter_group_offsets(group, places)
        for error in answers.values():
            if error is not kafka_errors.NoError:
                raise broker_error(error(f"group {group}, topic {topic}"), self._settings)


@contextlib.contextmanager
def admin_of(settings: Kafka) -> Iterator[Admin]:
    """An admin, disconnected at the end."""
    admin = Admin(settings)
    try:
        yield admin
    finally:
        admin.close()


def grow(settings: Kafka) -> dict[str, int]:
    """Give our topics `settings.partitions` partitions; those that had fewer, and how many.

    A message's events move to another partition by that, and so does every key's state: nothing may be under
    way, and the worker's state has to be rebuilt before it starts.

    Raises:
        BrokerError: when a process of ours still works, something has not come through yet, or a topic has
            more partitions already.
    """
    with admin_of(settings) as admin:
        found = admin.partitions(*topics.ALL)
        more = {name: number for name, number in found.items() if number > settings.partitions}
        if more:
            name, number = next(iter(more.items()))
            raise BrokerError(
                f"the topic {name} has {number} partitions, more than kafka.partitions ({settings.partitions}):"
                " Kafka takes none away, so set kafka.partitions to at least that"
            )
        fewer = {name: number for name, number in found.items() if number < settings.partitions}
        if fewer:
            if working := admin.working():
                raise BrokerError(
                    f"the {' and the '.join(working)} still run: stop the bridge, wait until all has come through,"
                    " stop worker, sink and notify, then grow"
                )
            _require_drained(msgspec.structs.replace(settings, partitions=min(fewer.values())))
            admin.add_partitions(list(fewer), settings.partitions)
        return fewer


def _require_drained(settings: Kafka) -> None:
    with contextlib.closing(Positions(settings)) as positions:
        drain = Drain(positions)
        if not drain.done():
            raise BrokerError(
                f"{drain.remaining} records have not come through yet: start worker and sink, leave the bridge"
                " stopped, and grow once the lag of all our groups is 0"
            )
