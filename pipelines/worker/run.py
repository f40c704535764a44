"""`run_worker`: runs the app until a signal or a surprise ends it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from typing import TYPE_CHECKING, Any, Final

from aiokafka.errors import IllegalStateError

from pipelines.worker.app import create_app
from pipelines.worker.errors import Stalled, WorkerError
from pipelines.worker.topics import prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    import faust

    from pipelines.counting.memory import Memory
    from pipelines.worker.batches import Progress
    from pipelines.worker.config import WorkerConfig

HARD_EXIT: Final = 70
"""EX_SOFTWARE of sysexits.h: stopping did not end."""
LOOK_EVERY_S: Final = 2.0

_log = logging.getLogger(__name__)


def run_worker(config: WorkerConfig, memory: Memory | None) -> int:
    """Run a worker in this process and thread until SIGTERM or SIGINT; its exit code.

    Logging is left as it was set up. Whatever goes wrong ends the worker with an exit code other than 0; what
    it had not finished is done again after a restart.
    """
    try:
        prepare(config, tables=memory is None)
        app = create_app(config, memory=memory)
    except WorkerError as error:
        _log.critical("%s", error)
        return error.exit_code
    hard_exit = threading.Timer(config.stop_s, _end, [config.stop_s])
    hard_exit.daemon = True
    try:
        return asyncio.run(_run(app, config, hard_exit.start))
    finally:
        hard_exit.cancel()


async def _run(app: faust.App, config: WorkerConfig, stopping: Callable[[], None]) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    app.finalize()
    tasks = [
        asyncio.create_task(work)
        for work in (stop.wait(), _crashed(app), _watch(app, app.progress, config.stall_s))
    ]
    start = asyncio.create_task(app.start())
    try:
        await asyncio.wait([*tasks, start], return_when=asyncio.FIRST_COMPLETED)
        if start.done() and not start.exception():
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        failure = app.crash_reason or _failure([start, *tasks])
    finally:
        stopping()
    await app.stop()
    for task in (start, *tasks):
        task.cancel()
    await asyncio.gather(start, *tasks, return_exceptions=True)
    return _verdict(failure or app.crash_reason)


async def _crashed(app: faust.App) -> None:
    # Faust sets a flag of its own when it crashes; nothing of it can be awaited.
    while not app.crashed:  # noqa: ASYNC110
        await asyncio.sleep(0.1)


def _failure(tasks: list[asyncio.Task[Any]]) -> BaseException | None:
    return next((task.exception() for task in tasks if task.done() and task.exception()), None)


def _verdict(failure: BaseException | None) -> int:
    if failure is None:
        return 0
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    if isinstance(failure, WorkerError):
        _log.critical("%s", failure)
        return failure.exit_code
    _log.critical(
        "The worker ends because of what it did not expect: %r. Start it again; it goes on where it was.",
        failure,
        exc_info=failure,
    )
    return 1


async def _watch(app: faust.App, progress: Progress, stall_s: float) -> None:
    """End the worker when it cannot go on: nothing moves for too long though it should.

    It should while records wait, and as long as it has not got its partitions and recovered its tables: aiokafka's
    coordinator may be stuck with an error nobody asks it for.

    Raises:
        WorkerError: then.
    """
    clock = asyncio.get_running_loop().time
    moved, since, generation = (-1, -1), clock(), app.consumer_generation_id
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        if app.consumer_generation_id != generation:
            # Partitions that left may come back with what others did.
            generation = app.consumer_generation_id
            progress.next_offsets.clear()
        if app.lost is not None:
            raise app.lost
        recovery = app.tables.recovery
        marks = (progress.done, sum(recovery.active_offsets.values()))
        settled = recovery.completed.is_set() and not app.rebalancing
        if marks != moved or (settled and not await _lag(app, progress)):
            moved, since = marks, clock()
        elif clock() - since > stall_s:
            raise Stalled(
                f"The worker did nothing for {stall_s:.0f} s though it has work: it ends, to be "
                "started again; look whether the brokers answer."
            )


async def _lag(app: faust.App, progress: Progress) -> bool:
    """Whether records wait: of partitions we read, the broker has more than we acknowledged."""
    for tp in app.consumer.assignment() if app.consumer.started else ():
        if tp.topic not in app.topics_read:
            continue
        reached = progress.next_offsets.get((tp.topic, tp.partition))
        try:
            if reached is None:
                reached = await app.consumer.position(tp)
            highwater = app.consumer.highwater(tp)
        # A rebalance took the partition away just now.
        except (IllegalStateError, AssertionError):
            return False
        if reached is not None and highwater is not None and highwater > reached:
            return True
    return False


def _end(stop_s: float) -> None:
    """End the process, for stopping hangs; nothing unacknowledged is lost by it."""
    _log.critical("The worker did not stop within %.0f s and is ended.", stop_s)
    os._exit(HARD_EXIT)
