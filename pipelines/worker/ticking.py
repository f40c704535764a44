"""`ticking`: lets alarms see time go by when nothing comes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    import faust

TICK_EVERY_S: Final = 10.0


OWED_EVERY_S: Final = 0.05


async def ticking(app: faust.App, stop: asyncio.Event, ready: Callable[[], object]) -> None:
    """Tick until the worker stops; what a tick raises ends the worker.

    First what threads owe is told, as soon as there is a producer; then `ready` is called.
    """

    def settled() -> bool:
        """Whether partitions are ours, and their tables are what they were."""
        return bool(
            not stop.is_set()
            and app.consumer.started
            and not app.rebalancing
            and app.tables.recovery.completed.is_set()
            and app.consumer.assignment()
        )

    while not app.consumer.started:  # noqa: ASYNC110 - nothing of it can be awaited; the producer starts before it
        await asyncio.sleep(OWED_EVERY_S)
    if app.threads.owes:
        await app.threads.tell_owed()
    ready()
    while True:
        await asyncio.sleep(TICK_EVERY_S)
        await app.alarms.tick(settled)
