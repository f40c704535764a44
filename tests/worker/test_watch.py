"""Liveness is progress while there is lag; acks are in order, after their batch's step, or not at all."""

from __future__ import annotations

import asyncio
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.worker import run
from pipelines.worker.batches import Pace, Progress, drive
from pipelines.worker.errors import Stalled, TopicsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

TP = SimpleNamespace(topic="events", partition=0)


def app(
    *,
    highwater: int,
    position: int | None = None,
    rebalancing: bool = False,
    recovered: Iterator[int] | None = None,
) -> Any:
    async def read(_: Any) -> int | None:
        return position

    consumer = SimpleNamespace(
        assignment=lambda: [TP], highwater=lambda _: highwater, position=read, started=True
    )
    settled = asyncio.Event()
    settled.set()

    class Recovery:
        completed = settled

        @property
        def active_offsets(self) -> dict[str, int]:
            return {"changelog": next(recovered) if recovered else 0}

    return SimpleNamespace(
        consumer=consumer,
        topics_read={"events"},
        rebalancing=rebalancing,
        consumer_generation_id=1,
        lost=None,
        tables=SimpleNamespace(recovery=Recovery()),
    )


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "LOOK_EVERY_S", 0.005)


async def test_lag_without_progress_ends_the_worker() -> None:
    progress = Progress(done=5, next_offsets={("events", 0): 5})
    with pytest.raises(Stalled, match="though it has work"):
        await asyncio.wait_for(run._watch(app(highwater=9), progress, 0.02), 5)


async def test_a_worker_that_reads_on_where_another_was_has_no_lag() -> None:
    assert not await run._lag(app(highwater=9, position=9), Progress())
    assert not await run._lag(app(highwater=9, position=None), Progress())
    assert await run._lag(app(highwater=9, position=3), Progress())


async def test_a_rebalance_that_never_ends_is_a_stall() -> None:
    with pytest.raises(Stalled):
        await asyncio.wait_for(run._watch(app(highwater=5, rebalancing=True), Progress(), 0.02), 5)


async def test_what_lost_its_topics_ends_at_once() -> None:
    lost = app(highwater=5)
    lost.lost = TopicsError("Kafka lists no partitions")
    with pytest.raises(TopicsError):
        await asyncio.wait_for(run._watch(lost, Progress(), 60), 5)


@pytest.mark.parametrize("calm", [app(highwater=5), app(highwater=9, rebalancing=True, recovered=count())])
async def test_nothing_to_do_and_a_recovery_that_moves_are_no_stall(calm: Any) -> None:
    progress = Progress(done=5, next_offsets={("events", 0): 5})
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(run._watch(calm, progress, 0.02), 0.2)


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
