"""`run_worker`: runs the app until a signal or a surprise ends it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from typing import TYPE_CHECKING, Any, Final

from pipelines.worker.app import create_app
from pipelines.worker.errors import WorkerError
from pipelines.worker.gauges import gauge
from pipelines.worker.ticking import ticking
from pipelines.worker.topics import prepare
from pipelines.worker.watchdog import watch

if TYPE_CHECKING:
    from collections.abc import Callable

    import faust

    from pipelines.counting.memory import Memory
    from pipelines.worker.config import WorkerConfig
    from pipelines.worker.numbers import Numbers

HARD_EXIT: Final = 70
"""EX_SOFTWARE of sysexits.h: stopping did not end."""

_log = logging.getLogger(__name__)


def run_worker(
    config: WorkerConfig,
    memory: Memory | None,
    watched: Callable[[Numbers], object] | None = None,
    ready: Callable[[], object] = lambda: None,
) -> int:
    """Run a worker in this process and thread until SIGTERM or SIGINT; its exit code.

    Logging is left as it was set up. Whatever goes wrong ends the worker with an exit code other than 0; what
    it had not finished is done again after a restart. `watched` is given what the worker counts, before it starts;
    `ready` is called once its memory is read, and all told that the last life did not get to.
    """
    try:
        prepare(config, tables=memory is None)
        app = create_app(config, memory=memory)
    except WorkerError as error:
        _log.critical("%s", error)
        return error.exit_code
    if watched:
        watched(app.numbers)
    if not app.threads.owes:
        ready()
        ready = _nothing
    hard_exit = threading.Timer(config.stop_s, _end, [config.stop_s])
    hard_exit.daemon = True
    try:
        return asyncio.run(_run(app, config, hard_exit.start, ready))
    finally:
        hard_exit.cancel()


def _nothing() -> None:
    """Of a worker that is ready already."""


async def _run(
    app: faust.App, config: WorkerConfig, stopping: Callable[[], None], ready: Callable[[], object]
) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    app.finalize()
    tasks = [
        asyncio.create_task(work)
        for work in (
            stop.wait(),
            _crashed(app),
            watch(app, app.progress, config.stall_s),
            gauge(app),
            ticking(app, stop, ready),
        )
    ]
    start = asyncio.create_task(app.start())
    try:
        await asyncio.wait([*tasks, start], return_when=asyncio.FIRST_COMPLETED)
        if start.done() and not start.exception():
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        failure = app.crash_reason or _failure([start, *tasks])
    finally:
        stopping()
        stop.set()
    # None begins any more; what one has begun is not left half done while others get our partitions.
    await app.alarms.settled()
    await app.threads.settled()
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


def _end(stop_s: float) -> None:
    """End the process, for stopping hangs; nothing unacknowledged is lost by it."""
    _log.critical("The worker did not stop within %.0f s and is ended.", stop_s)
    os._exit(HARD_EXIT)
