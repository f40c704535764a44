"""Topics, positions and drain."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from connectors.bridge.producer import KafkaBlocks
from connectors.clickhouse.inserts import TARGETS
from connectors.embedded.broker import free_port
from connectors.errors import BrokerError
from connectors.kafka import LANDED, Drain, Positions, client_options, ensure_topics
from connectors.settings import Kafka, Secret
from schemas import topics


class Groups:
    """Ends and commits, as told by the test."""

    def __init__(self) -> None:
        self.ends = {topic: {0: 0, 1: 0} for topic in topics.ALL}
        self.commits: dict[tuple[str, str], dict[int, int]] = {}

    def end_offsets(self, topic: str) -> dict[int, int]:
        return dict(self.ends[topic])

    def committed(self, group: str, topic: str) -> dict[int, int]:
        return self.commits.get((group, topic), {})


def test_nothing_written_is_drained() -> None:
    assert Drain(Groups()).done()


def test_a_drain_follows_what_each_stage_writes() -> None:
    groups = Groups()
    groups.ends[topics.EVENTS] = {0: 5, 1: 2}
    drain = Drain(groups)
    assert not drain.done()
    assert drain.remaining == 7
    groups.commits[topics.WORKER_GROUP, topics.EVENTS] = {0: 5, 1: 1}
    assert not drain.done()
    assert drain.remaining == 1
    groups.ends[topics.COUNTS] = {0: 3, 1: 0}
    groups.ends[topics.EVENTS] = {0: 9, 1: 2}
    groups.commits[topics.WORKER_GROUP, topics.EVENTS] = {0: 5, 1: 2}
    assert not drain.done()
    assert drain.remaining == 3
    groups.commits[topics.SINK_GROUP, topics.EVENTS] = {0: 9, 1: 2}
    groups.ends[topics.RATES] = {0: 0, 1: 4}
    groups.commits[topics.WORKER_GROUP, topics.COUNTS] = {0: 3}
    assert not drain.done()
    assert drain.remaining == 4
    groups.ends[topics.RATES] = {0: 9, 1: 9}
    groups.commits[topics.SINK_GROUP, topics.RATES] = {1: 4}
    assert drain.done()
    groups.commits.clear()
    assert drain.done()


def test_a_drain_follows_mails_into_the_threads_and_the_events_made_of_them() -> None:
    groups = Groups()
    groups.ends[topics.INBOUND] = {0: 2, 1: 0}
    groups.ends[topics.OUTBOUND] = {0: 0, 1: 3}
    drain = Drain(groups)
    assert not drain.done()
    assert drain.remaining == 5
    groups.commits[topics.WORKER_GROUP, topics.OUTBOUND] = {1: 3}
    assert not drain.done()
    groups.commits[topics.WORKER_GROUP, topics.INBOUND] = {0: 2}
    groups.ends[topics.EVENTS] = {0: 1, 1: 0}  # a bounce that was received as a mail
    groups.ends[topics.THREADS] = {0: 4, 1: 0}
    assert not drain.done()
    assert drain.remaining == 1
    groups.commits[topics.WORKER_GROUP, topics.EVENTS] = {0: 1}
    for topic in (topics.EVENTS, topics.INBOUND, topics.OUTBOUND):
        groups.commits[topics.SINK_GROUP, topic] = groups.ends[topic]
    assert not drain.done()
    assert drain.remaining == 4
    groups.commits[topics.SINK_GROUP, topics.THREADS] = {0: 4}
    assert drain.done()


def test_a_drain_waits_for_all_that_the_sink_lands() -> None:
    assert set(LANDED) == set(TARGETS)


def test_a_drain_follows_recounts_until_nothing_new_comes_of_them() -> None:
    groups = Groups()
    reads = {
        topics.EVENTS: topics.WORKER_GROUP,
        topics.COUNTS: topics.WORKER_GROUP,
        topics.RECOUNTS: topics.RECOUNT_GROUP,
    }

    def read(topic: str) -> None:
        groups.commits[reads[topic], topic] = dict(groups.ends[topic])

    groups.ends[topics.EVENTS] = {0: 1, 1: 0}
    groups.commits[topics.SINK_GROUP, topics.EVENTS] = {0: 1}
    drain = Drain(groups)
    assert not drain.done()
    groups.ends[topics.COUNTS] = {0: 1, 1: 0}
    read(topics.EVENTS)
    for number in range(1, 3):  # counts ask for a recount, whose answer asks for another
        assert not drain.done()
        groups.ends[topics.RECOUNTS] = {0: number, 1: 0}
        read(topics.COUNTS)
        assert not drain.done()
        groups.ends[topics.COUNTS] = {0: 1, 1: number}
        read(topics.RECOUNTS)
    assert not drain.done()
    read(topics.COUNTS)
    groups.ends[topics.RATES] = {0: 0, 1: 4}
    assert not drain.done()
    assert drain.remaining == 4
    groups.commits[topics.SINK_GROUP, topics.RATES] = {1: 4}
    assert drain.done()


def test_a_drain_follows_alarms_until_they_are_explained_and_landed() -> None:
    groups = Groups()
    groups.ends[topics.ALARMS] = {0: 2, 1: 0}
    drain = Drain(groups)
    assert not drain.done()
    assert drain.remaining == 2
    groups.ends[topics.ALARMS] = {0: 3, 1: 0}  # one of them is sent again with its explanation
    groups.commits[topics.EVIDENCE_GROUP, topics.ALARMS] = {0: 2}
    assert not drain.done()
    groups.commits[topics.SINK_GROUP, topics.ALARMS] = {0: 2}
    assert not drain.done()
    assert drain.remaining == 1
    groups.commits[topics.SINK_GROUP, topics.ALARMS] = {0: 3}
    assert drain.done()


def test_a_drain_ends_beside_a_stream_that_goes_on() -> None:
    class Busy(Groups):
        def end_offsets(self, topic: str) -> dict[int, int]:
            self.ends[topic][0] += 1
            return super().end_offsets(topic)

        def committed(self, group: str, topic: str) -> dict[int, int]:
            return dict(self.ends[topic])

    assert Drain(Busy()).done()


def test_client_options_hide_nothing_a_client_needs() -> None:
    kafka = Kafka(
        brokers="a:1, b:2",
        security_protocol="SASL_SSL",
        sasl_mechanism="SCRAM-SHA-512",
        sasl_username="u",
        sasl_password=Secret("p"),
    )
    options = client_options(kafka)
    assert options["bootstrap_servers"] == ["a:1", "b:2"]
    assert (options["sasl_mechanism"], options["sasl_plain_password"]) == ("SCRAM-SHA-512", "p")
    assert "sasl_mechanism" not in client_options(Kafka())


@pytest.mark.embedded
def test_topics_are_created_once_with_equal_partitions(kafka_settings: Kafka) -> None:
    ensure_topics(kafka_settings)
    positions = Positions(kafka_settings)
    for topic in topics.ALL:
        assert set(positions.end_offsets(topic)) == {0, 1, 2}
        assert positions.committed("nobody", topic) == {0: 0, 1: 0, 2: 0}
    positions.close()
    with pytest.raises(BrokerError, match=r"ses\.events has 3 partitions, kafka\.partitions says 4"):
        ensure_topics(msgspec.structs.replace(kafka_settings, partitions=4))


@pytest.mark.embedded
def test_what_a_group_committed(kafka_settings: Kafka) -> None:
    import kafka as client

    consumer = client.KafkaConsumer(
        **client_options(kafka_settings), group_id="positions-test", enable_auto_commit=False
    )
    where: Any = client.TopicPartition(topics.RATES, 1)
    consumer.assign([where])
    consumer.commit({where: client.OffsetAndMetadata(7, "", -1)})
    consumer.close()
    positions = Positions(kafka_settings)
    assert positions.committed("positions-test", topics.RATES) == {0: 0, 1: 7, 2: 0}
    positions.close()


@pytest.mark.embedded
def test_a_topic_that_is_not_there(kafka_settings: Kafka) -> None:
    positions = Positions(kafka_settings)
    with pytest.raises(BrokerError, match="has not all of our topics"):
        positions.end_offsets("ses.nothing")
    positions.close()


@pytest.mark.sockets
def test_no_broker_is_said_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.kafka.CONNECT_S", 0.2)
    begun = time.monotonic()
    nowhere = Kafka(brokers=f"127.0.0.1:{free_port()}")
    with pytest.raises(BrokerError, match=r"no Kafka broker answers at 127\.0\.0\.1"):
        ensure_topics(nowhere)
    with pytest.raises(BrokerError, match="no Kafka broker answers"):
        Positions(nowhere).end_offsets(topics.EVENTS)
    with pytest.raises(BrokerError, match="no Kafka broker answers"):
        KafkaBlocks(nowhere)
    assert time.monotonic() - begun < 12
