"""`gauge`: keeps those of a worker's numbers that no step counts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import faust

LOOK_EVERY_S: Final = 2.0


async def gauge(app: faust.App) -> None:
    """Look now and then, in the worker's own thread: what the agents change is not looked at by others."""
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        app.numbers.capped = app.capped()
        if app.consumer.started and not app.rebalancing:
            app.numbers.lag = lag(app)


def lag(app: faust.App) -> int:
    """Kafka records of the partitions we read that are not acknowledged, as far as the broker has told their ends."""
    waiting = 0
    for tp in app.consumer.assignment():
        if tp.topic in app.topics_read:
            position, end = app.consumer.reached(tp)
            reached = app.progress.next_offsets.get((tp.topic, tp.partition), position)
            if reached is not None and end is not None:
                waiting += max(0, end - reached)
    return waiting
