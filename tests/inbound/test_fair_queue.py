"""Whose turn it is: nobody waits for more than the others' turns, nothing is lost, and a flood comes about twice."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from connectors.inbound.fair import LEAST_S, MOST_S, PATIENCE, FairQueue

NAMES = st.sampled_from("abcde")
BIG = 1 << 40


class Model(RuleBasedStateMachine):
    """Against lists: what was taken in hand comes out, once, in its tenant's order, and in turns."""

    def __init__(self) -> None:
        super().__init__()
        self.room = 12
        self.queue: FairQueue[int] = FairQueue(self.room, BIG)
        self.waiting: dict[str, list[int]] = defaultdict(list)
        self.reading: list[str] = []
        self.overtaken: Counter[str] = Counter()
        self.now = 0.0
        self.number = 0

    @rule(name=NAMES, after=st.floats(0, 5))
    def offer(self, name: str, after: float) -> None:
        self.now += after
        self.number += 1
        held = len(self.waiting[name]) + self.reading.count(name)
        active = {each for each, items in self.waiting.items() if items} | set(self.reading) | {name}
        delay = self.queue.offer(name, self.number, self.now)
        if delay:
            assert LEAST_S <= delay <= MOST_S
            assert len(self.queue) >= self.room or held >= max(1, self.room // (len(active) + 1))
        else:
            self.waiting[name].append(self.number)

    @precondition(lambda self: any(self.waiting.values()))
    @rule()
    def take(self) -> None:
        taken = self.queue.take()
        assert taken is not None
        name, item = taken
        assert item == self.waiting[name].pop(0)
        self.reading.append(name)
        others = {each for each, items in self.waiting.items() if items and each != name}
        for each in others:
            self.overtaken[each] += 1
            assert self.overtaken[each] <= 5, "each other tenant has one turn before it"
        del self.overtaken[name]

    @precondition(lambda self: self.reading)
    @rule(data=st.data(), took=st.floats(0, 1))
    def done(self, data: st.DataObject, took: float) -> None:
        self.now += took
        name = self.reading.pop(data.draw(st.integers(0, len(self.reading) - 1)))
        self.queue.done(name, self.now)

    @rule()
    def empty(self) -> None:
        left = sorted(item for _, item in self.queue.empty())
        assert left == sorted(item for items in self.waiting.values() for item in items)
        self.waiting.clear()
        self.overtaken.clear()

    @invariant()
    def counts(self) -> None:
        assert len(self.queue) == sum(map(len, self.waiting.values())) + len(self.reading) <= self.room
        assert self.queue.waiting == {name: len(items) for name, items in self.waiting.items() if items}
        if not any(self.waiting.values()):
            assert self.queue.take() is None


TestModel = Model.TestCase


class Simulation:
    """A queue of SQS and readers, in simulated time: each message takes `each` seconds of a reader."""

    def __init__(self, sent: list[tuple[float, str]], *, room: int, readers: int, each: float) -> None:
        self.queue: FairQueue[int] = FairQueue(room, BIG)
        self.visible = [(at, number, name) for number, (at, name) in enumerate(sent)]
        heapq.heapify(self.visible)
        self.free = readers
        self.each = each
        self.ends: list[tuple[float, str, int]] = []
        self.finished: dict[int, float] = {}
        self.receipts: Counter[int] = Counter()
        self.now = 0.0

    def run(self) -> None:
        while self.visible or self.ends:
            at_message = self.visible[0][0] if self.visible else float("inf")
            at_end = self.ends[0][0] if self.ends else float("inf")
            self.now = min(at_message, at_end)
            if at_end <= at_message:
                _, name, number = heapq.heappop(self.ends)
                self.finished[number] = self.now
                self.queue.done(name, self.now)
                self.free += 1
            else:
                self.receive()
            self.begin()

    def receive(self) -> None:
        _, number, name = heapq.heappop(self.visible)
        self.receipts[number] += 1
        delay = self.queue.offer(name, number, self.now, self.receipts[number])
        if delay:
            heapq.heappush(self.visible, (self.now + delay, number, name))

    def begin(self) -> None:
        while self.free and (taken := self.queue.take()):
            name, number = taken
            self.free -= 1
            heapq.heappush(self.ends, (self.now + self.each, name, number))


def test_a_flood_of_one_tenant_does_not_hold_up_another() -> None:
    flood = [(number / 5000, "a") for number in range(20_000)]
    few = [(4.0 + number / 10, "b") for number in range(100)]
    world = Simulation(flood + few, room=1000, readers=8, each=0.02)
    world.run()
    assert len(world.finished) == len(flood + few)
    lateness = [world.finished[len(flood) + number] - at for number, (at, _) in enumerate(few)]
    assert max(lateness) < 0.2
    # 8 readers do 400 a second: 20,100 take 50 s however they are ordered.
    assert max(world.finished.values()) < 100
    assert sum(world.receipts.values()) / len(world.receipts) < 4
    assert max(world.receipts.values()) < PATIENCE


@given(
    sent=st.lists(
        st.tuples(st.floats(0, 20), st.sampled_from(["a", "a", "a", "a", "b", "c", "d"])), max_size=150
    ),
    room=st.integers(1, 30),
    readers=st.integers(1, 4),
    each=st.floats(0.001, 0.5),
)
def test_everything_is_read_at_last(
    sent: list[tuple[float, str]], room: int, readers: int, each: float
) -> None:
    world = Simulation(sent, room=room, readers=readers, each=each)
    world.run()
    assert set(world.finished) == set(range(len(sent)))
    assert len(world.queue) == 0


def test_what_has_come_often_is_taken_beyond_its_share() -> None:
    queue: FairQueue[int] = FairQueue(10, BIG)
    while not queue.offer("a", 0, 0.0):
        pass
    assert len(queue) == 5
    assert queue.offer("a", 1, 0.0, PATIENCE) == 0
    for _ in range(4):
        queue.offer("a", 1, 0.0, PATIENCE)
    assert queue.offer("a", 1, 0.0, PATIENCE) > 0, "there is no room at all"


def test_bytes_are_bounded_but_one_always_finds_room() -> None:
    queue: FairQueue[int] = FairQueue(100, 1000)
    assert queue.offer("a", 1, 0.0, size=5000) == 0
    assert queue.offer("b", 2, 0.0, size=1) > 0
    queue.take()
    assert queue.offer("b", 2, 0.0, size=600) == 0
    assert queue.offer("c", 3, 0.0, size=600) > 0


@pytest.mark.parametrize("tenants", [5000])
def test_tenants_of_the_past_are_forgotten(tenants: int) -> None:
    queue: FairQueue[int] = FairQueue(10, BIG)
    for number in range(tenants):
        queue.offer(str(number), number, float(number))
        assert queue.take() == (str(number), number)
        queue.done(str(number), float(number))
    assert len(queue._tenants) <= 1025
