"""What is owed to Kafka, against a consumer that answers as told: a broker does not fail on cue."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

with warnings.catch_warnings():
    # kafka-python reads its schemas through deprecated functions of importlib.resources while it is imported.
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka import TopicPartition
    from kafka import errors as kafka_errors

from connectors.kafka_commits import Commits, throttle

HERE = TopicPartition("ses.events", 0)
THERE = TopicPartition("ses.events", 1)


class Consumer:
    def __init__(self) -> None:
        self.error: Exception | None = None
        self.asked = 0
        self.committed: dict[Any, int] = {}
        self.halted: set[Any] = set()

    def commit(self, offsets: dict[Any, Any], timeout_ms: int) -> None:
        assert timeout_ms > 0
        self.asked += 1
        if self.error is not None:
            raise self.error
        self.committed |= {where: each.offset for where, each in offsets.items()}

    def assignment(self) -> set[Any]:
        return {HERE, THERE}

    def paused(self) -> set[Any]:
        return self.halted

    def pause(self, *partitions: Any) -> None:
        self.halted = self.halted | set(partitions)

    def resume(self, *partitions: Any) -> None:
        self.halted = self.halted - set(partitions)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_is_owed_is_paid_once() -> None:
    consumer, commits = Consumer(), Commits(Clock())
    commits.owe({HERE: 3})
    commits.owe({HERE: 5, THERE: 1})
    commits.pay(consumer)
    commits.pay(consumer)
    commits.pay_due(consumer)
    assert consumer.committed == commits.paid == {HERE: 5, THERE: 1}
    assert (consumer.asked, commits.count) == (1, 1)


def test_a_broker_that_is_away_is_asked_again_a_second_later() -> None:
    consumer, clock = Consumer(), Clock()
    commits = Commits(clock)
    consumer.error = kafka_errors.KafkaTimeoutError("away")
    commits.owe({HERE: 5})
    commits.pay(consumer)
    clock.now = 0.5
    commits.pay_due(consumer)
    assert (consumer.asked, commits.paid) == (1, {})
    consumer.error = None
    clock.now = 1.0
    commits.pay_due(consumer)
    assert (consumer.asked, commits.paid) == (2, {HERE: 5})


def test_a_group_that_went_on_is_owed_nothing() -> None:
    consumer, clock = Consumer(), Clock()
    commits = Commits(clock)
    consumer.error = kafka_errors.CommitFailedError("gone on")
    commits.owe({HERE: 5})
    commits.pay(consumer)
    consumer.error = None
    clock.now = 9.0
    commits.pay_due(consumer)
    assert (consumer.committed, commits.count) == ({}, 0)


def test_a_rebalance_forgets_debts_and_payments() -> None:
    consumer, commits = Consumer(), Commits(Clock())
    commits.owe({HERE: 5})
    commits.pay(consumer)
    commits.owe({HERE: 7})
    commits.forget()
    commits.pay(consumer)
    assert (consumer.committed, commits.paid) == ({HERE: 5}, {})


def test_what_no_other_attempt_cures_is_raised() -> None:
    consumer, commits = Consumer(), Commits(Clock())
    consumer.error = kafka_errors.GroupAuthorizationFailedError("no")
    commits.owe({HERE: 5})
    with pytest.raises(kafka_errors.GroupAuthorizationFailedError):
        commits.pay(consumer)


def test_a_consumer_pauses_at_the_most_and_goes_on_at_half_of_it() -> None:
    consumer = Consumer()
    paused = []
    for waiting in (9, 10, 7, 5, 4, 9):
        throttle(consumer, waiting, 10)
        paused.append(bool(consumer.halted))
    assert paused == [False, True, True, True, False, False]
