"""`ticking`: lets alarms see time go by when nothing comes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import faust

TICK_EVERY_S: Final = 10.0


async def ticking(app: faust.App, stop: asyncio.Event) -> None:
    """Tick until the worker stops; what a tick raises ends the worker."""

    def ready() -> bool:
        """Whether partitions are ours, and their tables are what they were."""
        return bool(
            not stop.is_set()
            and app.consumer.started
            and not app.rebalancing
            and app.tables.recovery.completed.is_set()
            and app.consumer.assignment()
        )

    while True:
        await asyncio.sleep(TICK_EVERY_S)
        await app.alarms.tick(ready)
