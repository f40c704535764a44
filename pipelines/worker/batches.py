"""From a Faust stream to batches: gathered without waiting long, acknowledged in order once they are done.

Faust's own `take` acknowledges what failed, its auto-ack too; and it commits past an event that is still in
work when a later one was acknowledged (faust-streaming issue 606). So: `noack`, one batch in work at a time,
acks in offset order after the step, and an error ends the process with nothing of the batch acknowledged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

Step = Callable[[list[Any]], Awaitable[None]]
"""Does all that a batch of events wants, and returns once it is safe."""


@dataclass(frozen=True, slots=True)
class Pace:
    """When a batch is worth a step."""

    most: int
    """Events in it at the most."""
    company_s: float
    """How long its first event waits for company."""
    apart_s: float = 0.0
    """Least time between the starts of two steps, unless a batch is full."""


@dataclass(slots=True)
class Progress:
    """How far the agents are: what the watchdog looks at."""

    done: int = 0
    """Events acknowledged."""
    next_offsets: dict[tuple[str, int], int] = field(default_factory=dict)
    """(topic, partition) → the offset of the first event that is not acknowledged, or is to come."""


async def drive(stream: Any, step: Step, pace: Pace, progress: Progress) -> None:
    """Run an agent's stream through a step until it is cancelled or the step fails."""
    stream = stream.noack()
    queue: asyncio.Queue[Any] = asyncio.Queue(maxsize=pace.most)
    async with asyncio.TaskGroup() as tasks:
        work = tasks.create_task(_work(stream, queue, step, pace, progress))
        async for event in stream.events():
            message = event.message
            progress.next_offsets.setdefault((message.topic, message.partition), message.offset)
            await queue.put(event)
        work.cancel()


async def _work(stream: Any, queue: asyncio.Queue[Any], step: Step, pace: Pace, progress: Progress) -> None:
    clock = asyncio.get_running_loop().time
    earliest = clock()
    while True:
        batch = [await queue.get()]
        await _gather(batch, queue, pace.most, max(clock() + pace.company_s, earliest))
        earliest = clock() + pace.apart_s
        await step(batch)
        for event in batch:
            message = event.message
            progress.next_offsets[message.topic, message.partition] = message.offset + 1
            await stream.ack(event)
        progress.done += len(batch)


async def _gather(batch: list[Any], queue: asyncio.Queue[Any], most: int, until: float) -> None:
    """Fill the batch with what is there, and with what comes until then."""
    clock = asyncio.get_running_loop().time
    while len(batch) < most:
        if not queue.empty():
            batch.append(queue.get_nowait())
            continue
        left = until - clock()
        if left <= 0:
            return
        try:
            batch.append(await asyncio.wait_for(queue.get(), left))
        except TimeoutError:
            return
