from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from connectors.bridge import Bridge, Policy, Receipt
from connectors.cli.relay import Line, Relay
from connectors.errors import BrokerError
from schemas.dead_letters import dead_letter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE_S = 10.0
NEVER: Callable[[], bool] = lambda: False  # noqa: E731 - shorter than a function


class MemoryKafka:
    """Stores blocks; acknowledges them in a thread once `acknowledging` is set."""

    def __init__(self) -> None:
        self.blocks = 0
        self.acknowledging = threading.Event()
        self.acknowledging.set()
        self.closed = False

    def send(self, topic: str, partition: int, block: bytes, sent: Any, failed: Any) -> None:
        if self.closed:
            raise BrokerError("gone")
        self.blocks += 1
        threading.Thread(target=self._acknowledge, args=(partial(sent, self.blocks),), daemon=True).start()

    def _acknowledge(self, sent: Callable[[], None]) -> None:
        self.acknowledging.wait(PATIENCE_S)
        sent()

    def close(self) -> None:
        self.closed = True


class World:
    """A relay whose lines end in memory."""

    def __init__(self) -> None:
        self.kafkas: list[MemoryKafka] = []
        self.drained: list[int] = []
        self.may_drain = threading.Event()
        self.may_drain.set()
        self.relay = Relay(self.line())

    def line(self) -> Line:
        kafka = MemoryKafka()
        self.kafkas.append(kafka)
        number = len(self.kafkas)

        def drain(give_up: Callable[[], bool], _: Callable[[int], None]) -> bool:
            while not self.may_drain.wait(0.01):
                if give_up():
                    return False
            self.drained.append(number)
            return True

        return Line(Bridge(Policy(partitions=1), kafka), drain)

    def submit(self, safe: Callable[[], None] = lambda: None) -> None:
        receipt = Receipt(safe)
        letter = dead_letter(time=0, stage="read", cause="not_json", detail="", source="x", payload=b"")
        self.relay.submit((), [letter], receipt)
        receipt.close()


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.relay.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def started(target: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    return thread


def test_what_waits_at_the_turnstile_goes_by_the_next_line(world: World) -> None:
    world.submit()
    assert world.relay.settle(NEVER)
    waiting = [started(world.submit) for _ in range(3)]
    world.relay.hang_up()
    world.relay.check()
    assert world.kafkas[0].closed
    assert all(thread.is_alive() for thread in waiting)
    world.relay.connect(world.line())
    for thread in waiting:
        thread.join(PATIENCE_S)
    world.relay.flush(PATIENCE_S)
    assert world.kafkas[0].blocks == 1
    assert world.kafkas[1].blocks >= 1


def test_everything_is_safe_and_drained_before_it_is_settled(world: World) -> None:
    safe = threading.Event()
    world.kafkas[0].acknowledging.clear()
    world.submit(safe.set)
    settled: list[bool] = []
    settling = started(lambda: settled.append(world.relay.settle(NEVER)))
    until(lambda: world.kafkas[0].blocks == 1)
    assert (settled, world.drained) == ([], [])
    world.kafkas[0].acknowledging.set()
    settling.join(PATIENCE_S)
    assert safe.is_set()
    assert (settled, world.drained) == ([True], [1])


def test_one_receipt_may_go_by_several_lines(world: World) -> None:
    safe: list[int] = []
    receipt = Receipt(lambda: safe.append(len(world.kafkas)))
    letter = dead_letter(time=0, stage="read", cause="not_json", detail="", source="x", payload=b"")
    for _ in range(3):
        world.relay.submit((), [letter], receipt)
        assert world.relay.settle(NEVER)
        world.relay.hang_up()
        world.relay.connect(world.line())
    assert safe == []
    receipt.close()
    assert safe == [4]


def test_giving_up_leaves_the_present_line_open(world: World) -> None:
    world.may_drain.clear()
    assert not world.relay.settle(lambda: True)
    world.submit()
    world.relay.flush(PATIENCE_S)
    assert world.kafkas[0].blocks == 1


def test_settling_waits_for_a_drain_under_way_and_a_later_one_is_of_the_next_line(world: World) -> None:
    world.may_drain.clear()
    draining = started(lambda: world.relay.drain(NEVER))
    settling = started(lambda: world.relay.settle(NEVER))
    settling.join(0.1)
    assert settling.is_alive()
    world.may_drain.set()
    draining.join(PATIENCE_S)
    settling.join(PATIENCE_S)
    world.relay.hang_up()
    later = started(lambda: world.relay.drain(NEVER))
    world.relay.connect(world.line())
    later.join(PATIENCE_S)
    assert world.drained == [1, 1, 2]


def test_a_drain_at_the_turnstile_may_be_given_up(world: World) -> None:
    assert world.relay.settle(NEVER)
    assert not world.relay.drain(lambda: True)


def test_flushing_at_the_turnstile_takes_no_longer_than_it_may(world: World) -> None:
    assert world.relay.settle(NEVER)
    with pytest.raises(BrokerError, match="still being replaced"):
        world.relay.flush(0.01)


def test_closing_refuses_who_waits(world: World) -> None:
    assert world.relay.settle(NEVER)
    world.relay.hang_up()
    refused: list[BaseException] = []

    def attempt() -> None:
        try:
            world.submit()
        except BrokerError as error:
            refused.append(error)

    waiting = started(attempt)
    world.relay.close()
    waiting.join(PATIENCE_S)
    assert len(refused) == 1
    assert not world.relay.connected
    with pytest.raises(BrokerError):
        world.relay.check()


def test_a_line_that_breaks_while_it_settles_is_an_error(world: World) -> None:
    world.kafkas[0].closed = True
    world.submit()
    with pytest.raises(BrokerError):
        world.relay.settle(NEVER)
    with pytest.raises(BrokerError):
        world.relay.check()
