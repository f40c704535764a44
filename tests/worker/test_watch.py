"""Liveness is progress while there is lag; acks are in order, after their batch's step, or not at all."""

from __future__ import annotations

import asyncio
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.worker import watchdog
from pipelines.worker.batches import Pace, Progress, drive
from pipelines.worker.errors import Stalled, TopicsError, Unseated
from pipelines.worker.watchdog import watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

TP = SimpleNamespace(topic="events", partition=0)
IDLE = SimpleNamespace(topic="events", partition=1)


def app(
    *,
    end: int,
    position: int | None = 5,
    handed: int | None = None,
    rebalancing: bool = False,
    recovered: Iterator[int] | None = None,
    failures: Iterator[Exception | None] | None = None,
) -> Any:
    consumer = SimpleNamespace(
        assignment=lambda: [TP, IDLE],
        reached=lambda tp: (position, end) if tp is TP else (3, 3),
        handed={} if handed is None else {("events", 0): handed},
        failure=lambda: next(failures) if failures else None,
        started=True,
    )
    settled = asyncio.Event()
    settled.set()

    class Recovery:
        completed = settled

        @property
        def active_offsets(self) -> dict[str, int | None]:
            return {"changelog": next(recovered) if recovered else 0, "not asked yet": None}

    return SimpleNamespace(
        consumer=consumer,
        topics_read={"events"},
        rebalancing=rebalancing,
        lost=None,
        tables=SimpleNamespace(recovery=Recovery()),
    )


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "LOOK_EVERY_S", 0.005)


async def ends(app: Any, progress: Progress, stall_s: float = 0.02) -> None:
    await asyncio.wait_for(watch(app, progress, stall_s), 5)


@pytest.mark.parametrize(
    "stuck",
    [
        app(end=9),
        app(end=9, position=9),
        app(end=5, handed=6),
        app(end=5, rebalancing=True),
    ],
    ids=[
        "not read",
        "read, not acknowledged",
        "handed over, not acknowledged",
        "a rebalance that never ends",
    ],
)
async def test_what_should_move_and_does_not_ends_the_worker(stuck: Any) -> None:
    with pytest.raises(Stalled, match="though it has work"):
        await ends(stuck, Progress(done=5, next_offsets={("events", 0): 5}))


async def test_records_that_no_agent_got_end_the_worker() -> None:
    with pytest.raises(Stalled, match=r"events 0"):
        await ends(app(end=9, position=9, handed=9), Progress())


async def test_a_partition_that_is_stuck_is_seen_though_another_moves() -> None:
    stuck = app(end=9)
    offsets = count()
    stuck.consumer.reached = lambda tp: (5, 9) if tp is TP else (next(offsets), 1 << 60)
    with pytest.raises(Stalled, match=r"events 0"):
        await ends(stuck, Progress())


async def test_what_lost_its_topics_ends_at_once() -> None:
    lost = app(end=5)
    lost.lost = TopicsError("Kafka lists no partitions")
    with pytest.raises(TopicsError):
        await ends(lost, Progress(), 60)


async def test_a_failure_of_the_consumer_ends_the_worker_unless_it_passes() -> None:
    failure = OSError("no coordinator")
    with pytest.raises(Unseated, match="no coordinator"):
        await ends(app(end=5, failures=iter([None, failure, None, failure, failure])), Progress(), 60)


@pytest.mark.parametrize(
    "calm",
    [app(end=5), app(end=5, handed=5), app(end=9, rebalancing=True, recovered=count())],
    ids=["nothing new", "all acknowledged", "a recovery that moves"],
)
async def test_nothing_to_do_and_a_recovery_that_moves_are_no_stall(calm: Any) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(watch(calm, Progress(done=5, next_offsets={("events", 0): 5}), 0.02), 0.2)


async def test_a_worker_that_reads_on_where_another_was_has_nothing_to_do() -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(watch(app(end=9, position=9), Progress(), 0.02), 0.2)


class Stream:
    """A stream of so many events that records its acks."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.acked: list[int] = []
        self.silent = False

    def noack(self) -> Stream:
        self.silent = True
        return self

    async def events(self) -> AsyncIterator[Any]:
        for offset in range(self.number):
            yield SimpleNamespace(message=SimpleNamespace(topic="events", partition=0, offset=offset))
        await asyncio.Event().wait()

    async def ack(self, event: Any) -> None:
        self.acked.append(event.message.offset)


async def test_acks_are_in_order_and_a_failed_batch_has_none() -> None:
    stream, progress, sizes = Stream(25), Progress(), []

    async def step(batch: list[Any]) -> None:
        sizes.append(len(batch))
        assert stream.silent
        assert stream.acked == list(range(batch[0].message.offset))
        if batch[-1].message.offset >= 20:
            raise OSError("no broker")

    with pytest.raises(ExceptionGroup):
        await drive(stream, step, Pace(most=10, company_s=0.01), progress)
    assert stream.acked == list(range(progress.done))
    assert progress.done == 20
    assert max(sizes) <= 10


async def test_a_lone_event_does_not_wait_for_company_and_steps_keep_apart() -> None:
    stream, progress = Stream(1), Progress()
    done = asyncio.Event()

    async def step(batch: list[Any]) -> None:
        done.set()

    work = asyncio.create_task(drive(stream, step, Pace(most=10, company_s=0.01, apart_s=60), progress))
    await asyncio.wait_for(done.wait(), 5)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
