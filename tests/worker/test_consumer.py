"""What Faust's consumer and recovery must not do with partitions, without a broker."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from faust.tables.recovery import RebalanceAgain
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from faust.types import TP

from pipelines.worker.app import create_app
from pipelines.worker.config import WorkerConfig
from pipelines.worker.consumer import Consumer, ConsumerThread
from pipelines.worker.errors import Stalled
from pipelines.worker.recovery import Recovery

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

EVENTS = [TP("ses.events", number) for number in range(2)]


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Any]:
    made = create_app(WorkerConfig(brokers="127.0.0.1:1", partitions=2, data=tmp_path), memory=None)
    made.loop = asyncio.get_running_loop()
    made.finalize()
    yield made
    made.consumer._thread.thread_loop.close()


def test_the_sources_that_were_read_for_this_are_those_installed() -> None:
    """With others, read `consumer.py` and `recovery.py` again, beside what they override."""
    assert version("faust-streaming") == "0.15.3"
    assert version("mode-streaming") == "0.7.1"
    assert version("aiokafka") == "0.14.0"


async def test_an_app_has_this_consumer_and_this_recovery(app: Any) -> None:
    assert type(app.consumer) is Consumer
    assert type(app.tables.recovery) is Recovery


async def test_pressure_that_eases_resumes_no_paused_partition(app: Any) -> None:
    first, second = EVENTS
    consumer = app.consumer
    consumer.resume_partitions(EVENTS)
    for tp in EVENTS:
        consumer.on_buffer_full(tp)
    assert not consumer._active_partitions
    consumer.pause_partitions([second])
    for tp in EVENTS:
        consumer.on_buffer_drop(tp)
    assert consumer._active_partitions == {first}


@pytest.mark.parametrize("overtaken", [True, False])
async def test_what_was_read_across_a_rebalance_is_read_again(
    app: Any, monkeypatch: pytest.MonkeyPatch, *, overtaken: bool
) -> None:
    positions: dict[TP, int] = {}
    kept = SimpleNamespace(
        state_value=lambda tp: (
            SimpleNamespace(seek=lambda offset: positions.__setitem__(tp, offset))
            if tp is EVENTS[0]
            else None
        )
    )
    subscription = SimpleNamespace(assignment=object() if overtaken else kept)
    read = {tp: [SimpleNamespace(offset=7), SimpleNamespace(offset=8)] for tp in EVENTS}

    async def fetch(*_: Any) -> Any:
        subscription.assignment = kept
        return read

    monkeypatch.setattr(AIOKafkaConsumerThread, "_fetch_records", fetch)
    consumer: Any = SimpleNamespace(_subscription=SimpleNamespace(subscription=subscription))
    thread = ConsumerThread.__new__(ConsumerThread)
    got = await thread._fetch_records(consumer, frozenset(EVENTS), 1.0, 500)
    assert (got, positions) == (({}, {EVENTS[0]: 7}) if overtaken else (read, {}))


async def test_recovery_does_not_go_on_when_kafka_does_not_answer(app: Any) -> None:
    recovery = app.tables.recovery
    with pytest.raises(Stalled, match="while tables were restored"):
        await recovery._wait(asyncio.sleep(60), timeout=0.01)
    await recovery._wait(asyncio.sleep(0), timeout=60)
    recovery.signal_recovery_start.set()
    with pytest.raises(RebalanceAgain):
        await recovery._wait(asyncio.sleep(60), timeout=60)


async def test_a_recovery_that_a_rebalance_overtook_resumes_nothing(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer, recovery = app.consumer, app.tables.recovery
    monkeypatch.setattr(consumer, "assignment", lambda: set(EVENTS))
    recovery.rebalance = app.rebalancing_count

    async def seek() -> None:
        app.on_rebalance_start()

    monkeypatch.setattr(consumer, "perform_seek", seek)
    consumer.stop_flow()
    await recovery.on_recovery_completed(app.consumer_generation_id)
    assert not consumer._active_partitions
    assert not consumer.flow_active
    assert not app.flow_control.is_active()


async def test_streams_flow_once_their_positions_are_set(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    consumer, recovery = app.consumer, app.tables.recovery
    monkeypatch.setattr(consumer, "assignment", lambda: set(EVENTS))
    started = asyncio.Event()
    monkeypatch.setattr(type(app._fetcher), "maybe_start", lambda _: asyncio.sleep(0))
    recovery.rebalance = app.rebalancing_count

    async def seek() -> None:
        assert not consumer._active_partitions
        started.set()

    monkeypatch.setattr(consumer, "perform_seek", seek)
    consumer.stop_flow()
    consumer.resume_partitions(EVENTS)
    await recovery.on_recovery_completed(app.consumer_generation_id)
    assert started.is_set()
    assert consumer._active_partitions == set(EVENTS)
    assert consumer.flow_active
    assert app.flow_control.is_active()


async def test_changelog_records_nobody_asked_for_reach_no_table(app: Any) -> None:
    recovery, queue = app.tables.recovery, app.tables.changelog_queue
    app.flow_control.resume()
    app.consumer_generation_id = 3
    mine, other = TP("seen", 0), TP("seen", 1)
    recovery.active_tps.add(mine)
    for tp, generation, name in ((other, 3, "another's"), (mine, 2, "stale"), (mine, 3, "wanted")):
        queue.force_put_nowait(
            SimpleNamespace(message=SimpleNamespace(tp=tp, generation_id=generation), name=name)
        )
    assert (await queue.get()).name == "wanted"
