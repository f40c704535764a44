"""Joining a group while the broker is stopped: it accepts connections, and does not answer."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

with warnings.catch_warnings():
    # kafka-python reads its schemas through deprecated functions of importlib.resources while it is imported.
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka import KafkaConsumer, KafkaProducer

from connectors import kafka_commits
from connectors.embedded import broker, lifeline
from connectors.kafka import client_options, ensure_topics
from connectors.kafka_commits import Rebalances, consumer_options, subscribe
from connectors.settings import Kafka
from schemas import topics

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.embedded]


@contextmanager
def running(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A broker of the test's own."""
    process = subprocess.Popen(lifeline.wrap(broker.command(port)), stdin=subprocess.PIPE)
    try:
        if not broker.wait_for(port, process, 60):
            pytest.fail("the embedded broker did not start")
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def reading(kafka: Kafka, **more: Any) -> Iterator[Any]:
    """A consumer."""
    consumer = KafkaConsumer(**consumer_options(kafka, "readers") | more)
    try:
        yield consumer
    finally:
        consumer.close(autocommit=False, timeout_ms=100)


def settings(port: int) -> Kafka:
    return Kafka(brokers=f"{broker.HOST}:{port}", partitions=1, replication=1, rebalance_timeout_ms=1000)


@contextmanager
def subscribing(consumer: Any, topic: str, stop: threading.Event) -> Iterator[threading.Thread]:
    """A thread that does."""
    listener = Rebalances(consumer, lambda: None, lambda: None)
    thread = threading.Thread(target=subscribe, args=(consumer, [topic], listener, stop), daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive(), "told to stop, it waits for the broker"


def test_a_broker_that_never_answers_does_not_hold_up_a_stop() -> None:
    port = broker.free_port()
    # It would wait for minutes for one answer.
    with running(port) as process, reading(settings(port), request_timeout_ms=500_000) as consumer:
        process.send_signal(signal.SIGSTOP)
        with subscribing(consumer, topics.ALARMS, threading.Event()) as thread:
            thread.join(0.3)
            assert thread.is_alive(), "it joins without knowing the topic"
        assert consumer.poll(timeout_ms=50) == {}
        process.send_signal(signal.SIGCONT)


def test_a_broker_that_answers_only_later_is_read_from() -> None:
    kafka = settings(port := broker.free_port())
    with running(port) as process, reading(kafka) as consumer:
        ensure_topics(kafka)
        process.send_signal(signal.SIGSTOP)
        with subscribing(consumer, topics.ALARMS, threading.Event()) as thread:
            thread.join(0.3)
            process.send_signal(signal.SIGCONT)
            thread.join(60)
        producer = KafkaProducer(**client_options(kafka))
        producer.send(topics.ALARMS, b"alarm").get(60)
        producer.close()
        deadline, found = time.monotonic() + 60, {}
        while not found and time.monotonic() < deadline:
            found = consumer.poll(timeout_ms=100)
        assert [each.value for records in found.values() for each in records] == [b"alarm"]


def test_topics_that_are_missing_are_not_waited_for_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_commits, "_KNOWN_S", 0.1)
    port = broker.free_port()
    with running(port), reading(settings(port)) as consumer:
        with subscribing(consumer, "no.such.topic", stop := threading.Event()) as thread:
            thread.join(60)
            assert not stop.is_set()
            assert not thread.is_alive()
        assert consumer.subscription() == {"no.such.topic"}
