"""No receipt is released before its blocks are safe, whatever happens and whenever."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.bridge import Bridge, Policy, Receipt
from connectors.bridge.landed import CommittedLanding
from connectors.errors import BrokerError, InstanceError
from schemas.partitioning import of_message
from schemas.topics import EVENTS

NEVER = 1e6
ACTIONS = st.one_of(
    st.tuples(st.just("submit"), st.integers(0, 4), st.integers(0, 6)),
    st.tuples(st.just("close"), st.integers(0, 4), st.just(0)),
    st.tuples(st.just("send"), st.just(0), st.just(0)),
    st.tuples(st.just("ack"), st.integers(0, 5), st.just(0)),
    st.tuples(st.just("fail"), st.integers(0, 5), st.just(0)),
)


def send_all(bridge: Bridge) -> None:
    with bridge._lock:
        for slot in list(bridge._open.values()):
            bridge._send(slot)


def until(condition: Any) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Recorder:
    """A producer that remembers whose rows each block carries; the test calls its callbacks."""

    def __init__(self, partitions: int) -> None:
        self.open: list[set[int]] = [set() for _ in range(partitions)]
        self.waiting: list[tuple[set[int], Any, Any]] = []
        self.lost: list[set[int]] = []

    def send(self, topic: str, partition: int, block: bytes, sent: Any, failed: Any) -> None:
        self.waiting.append((self.open[partition], sent, failed))
        self.open[partition] = set()

    def close(self) -> None:
        pass

    def unsafe(self) -> set[int]:
        return set().union(*self.open, *self.lost, *(carried for carried, _, _ in self.waiting))


class Scenario:
    """A bridge with five units: submitted, closed, sent, acknowledged and lost in any order."""

    def __init__(self) -> None:
        self.kafka = Recorder(2)
        self.bridge = Bridge(Policy(2, linger_s=NEVER), self.kafka)
        self.released: list[int] = []
        self.receipts = [Receipt(lambda each=each: self.released.append(each)) for each in range(5)]

    def submit(self, unit: int, size: int) -> None:
        if self.receipts[unit].closed:
            return
        names = [f"{unit}-{each}" for each in range(size)]
        if names and self.kafka.lost:
            with pytest.raises(BrokerError):
                self.bridge.submit(map(event_row, names), (), self.receipts[unit])
            return
        for name in names:
            self.kafka.open[of_message(name, 2)].add(unit)
        self.bridge.submit(map(event_row, names), (), self.receipts[unit])

    def close(self, unit: int, _: int) -> None:
        self.receipts[unit].close()

    def send(self, *_: int) -> None:
        if not self.kafka.lost:
            send_all(self.bridge)

    def ack(self, which: int, _: int) -> None:
        if waiting := self.kafka.waiting:
            waiting.pop(which % len(waiting))[1](0)

    def fail(self, which: int, _: int) -> None:
        if waiting := self.kafka.waiting:
            carried, _, failed = waiting.pop(which % len(waiting))
            self.kafka.lost.append(carried)
            failed(OSError("gone"))


@settings(max_examples=150, deadline=None)
@given(actions=st.lists(ACTIONS, max_size=40))
def test_released_means_closed_and_acknowledged(actions: Any) -> None:
    scenario = Scenario()
    try:
        for name, which, size in actions:
            getattr(scenario, name)(which, size)
            unsafe = scenario.kafka.unsafe()
            safe = {unit for unit in range(5) if scenario.receipts[unit].closed} - unsafe
            assert sorted(scenario.released) == sorted(safe)
    finally:
        scenario.bridge.close()


def event_row(name: str) -> Any:
    return {"event_id": bytes(16), "event_type": "Send", "event_time": 1, "sent_time": 1, "message_id": name}


def test_a_receipt_is_released_once() -> None:
    released: list[int] = []
    receipt = Receipt(lambda: released.append(1))
    receipt.hold()
    receipt.close()
    receipt.close()
    assert released == []
    receipt.release()
    assert released == [1]
    with pytest.raises(ValueError, match="closed"):
        receipt.hold()


def test_a_receipt_of_nothing_is_released_by_closing() -> None:
    released: list[int] = []
    Receipt(lambda: released.append(1)).close()
    assert released == [1]


def test_submitters_wait_for_room_and_go_on(memory: Any, event: Any) -> None:
    bridge = Bridge(Policy(1, max_in_flight=50_000), memory)
    receipt = Receipt(lambda: None)
    done = threading.Event()

    def source() -> None:
        for number in range(10):
            bridge.submit([event(number, link="x" * 60_000)], (), receipt)
        done.set()

    thread = threading.Thread(target=source)
    thread.start()
    highest = 0
    while not done.wait(0.002):
        with bridge._traffic:
            highest = max(highest, bridge._in_flight)
        if memory.waiting:
            memory.waiting.popleft()[0]()
    thread.join()
    assert 50_000 < highest < 2 * 1024 * 1024
    bridge.close()


def test_breaking_wakes_every_submitter(memory: Any, event: Any) -> None:
    bridge = Bridge(Policy(1, max_in_flight=1), memory)
    raised: list[str] = []

    def source() -> None:
        receipt = Receipt(lambda: raised.append("released"))
        try:
            while True:
                bridge.submit([event(1)], (), receipt)
        except BrokerError as error:
            raised.append(str(error))

    threads = [threading.Thread(target=source) for _ in range(3)]
    for thread in threads:
        thread.start()
    until(lambda: memory.waiting)
    memory.waiting.popleft()[1](BrokerError("no Kafka broker answers at x:1"))
    for thread in threads:
        thread.join(10)
    assert raised == ["no Kafka broker answers at x:1"] * 3
    with pytest.raises(BrokerError, match="no Kafka broker"):
        bridge.flush(1)
    bridge.close()
    assert memory.closed


def test_a_producer_that_cannot_even_try_breaks_the_bridge(memory: Any, event: Any) -> None:
    memory.refuse = OSError("no route")
    bridge = Bridge(Policy(1), memory)
    released: list[int] = []
    receipt = Receipt(lambda: released.append(1))
    bridge.submit([event(1)], (), receipt)
    receipt.close()
    until(lambda: bridge._broken)
    with pytest.raises(BrokerError, match="no route"):
        bridge.check()
    bridge.close()
    assert released == []


def test_an_acknowledgement_that_fails_breaks_the_bridge(memory: Any, event: Any) -> None:
    def full() -> None:
        raise InstanceError("the disk is full")

    bridge = Bridge(Policy(1), memory)
    receipt = Receipt(full)
    bridge.submit([event(1)], (), receipt)
    receipt.close()
    until(lambda: memory.waiting)
    memory.waiting.popleft()[0]()
    with pytest.raises(InstanceError, match="disk is full"):
        bridge.check()
    bridge.close()


def test_flush_says_what_is_missing(memory: Any, event: Any) -> None:
    bridge = Bridge(Policy(1), memory)
    bridge.submit([event(1)], (), Receipt(lambda: None))
    with pytest.raises(BrokerError, match="1 blocks had not reached Kafka"):
        bridge.flush(0.05)
    bridge.close()


class Commits:
    """What the sink has committed, as told by the test."""

    def __init__(self) -> None:
        self.offsets: dict[int, int] = {}
        self.error: BrokerError | None = None
        self.asked = 0

    def committed(self, group: str, topic: str) -> dict[int, int]:
        self.asked += 1
        if self.error:
            raise self.error
        return self.offsets

    def close(self) -> None:
        pass


def test_landed_blocks_are_safe_once_the_sink_is_past_them(memory: Any, event: Any) -> None:
    commits = Commits()
    bridge = Bridge(Policy(1, landed=True), memory, CommittedLanding(commits, poll_s=0.005))
    released: deque[int] = deque()
    for number in range(3):
        receipt = Receipt(lambda number=number: released.append(number))
        bridge.submit([event(number)], (), receipt)
        receipt.close()
        send_all(bridge)
    assert commits.asked == 0
    for acknowledge, _ in memory.waiting:
        acknowledge()
    until(lambda: commits.asked > 1)
    assert not released
    commits.offsets = {0: 2}
    until(lambda: len(released) == 2)
    asked = commits.asked
    until(lambda: commits.asked > asked + 1)
    assert list(released) == [0, 1]
    commits.offsets = {0: 3}
    bridge.flush(10)
    assert list(released) == [0, 1, 2]
    bridge.close()
    assert len(memory.logs[EVENTS, 0]) == 3


def test_a_landing_that_nobody_can_tell_breaks_the_bridge(memory: Any, event: Any) -> None:
    commits = Commits()
    commits.error = BrokerError("no Kafka broker answers at x:1")
    bridge = Bridge(Policy(1, landed=True), memory, CommittedLanding(commits, poll_s=0.005, patience_s=0.03))
    released: list[int] = []
    receipt = Receipt(lambda: released.append(1))
    bridge.submit([event(1)], (), receipt)
    receipt.close()
    until(lambda: memory.waiting)
    memory.waiting.popleft()[0]()
    with pytest.raises(BrokerError, match="no Kafka broker"):
        bridge.flush(10)
    bridge.close()
    assert released == []
