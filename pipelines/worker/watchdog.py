"""`watch`: ends a worker that cannot go on, so that its supervisor starts it again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from pipelines.worker.errors import Stalled, Unseated

if TYPE_CHECKING:
    import faust

    from pipelines.worker.batches import Progress

LOOK_EVERY_S: Final = 2.0
_RECOVERY: Final = ("", -1)
_UNKNOWN: Final = -1


async def watch(app: faust.App, progress: Progress, stall_s: float) -> None:
    """End the worker when it cannot go on: a partition does not move for too long though it should.

    It should while records wait or were handed over and not acknowledged, and as long as the worker has not got its
    partitions and recovered its tables. Each partition is looked at for itself: that others move is no excuse.

    Raises:
        WorkerError: then.
    """
    clock = asyncio.get_running_loop().time
    since: dict[tuple[str, int], tuple[int, float]] = {}
    failed = False
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        if app.lost is not None:
            raise app.lost
        failed = _failed(app, again=failed)
        now = clock()
        waiting = _waiting(app, progress)
        since = {
            partition: since[partition] if since.get(partition, (None,))[0] == mark else (mark, now)
            for partition, mark in waiting.items()
        }
        for (topic, partition), (_, began) in since.items():
            if now - began > stall_s:
                what = f"{topic} {partition}" if topic else "getting partitions or restoring tables"
                raise Stalled(
                    f"The worker did nothing for {stall_s:.0f} s though it has work ({what}): it ends, to be "
                    "started again; look whether the brokers answer."
                )


def _failed(app: faust.App, *, again: bool) -> bool:
    """Whether the consumer has failed; the second time in a row ends the worker, for some failures pass."""
    failure = app.consumer.failure() if app.consumer.started else None
    if failure is not None and again:
        raise Unseated(
            f"The worker lost its consumer group or cannot read ({failure!r}): it ends, to be started again."
        )
    return failure is not None


def _waiting(app: faust.App, progress: Progress) -> dict[tuple[str, int], int]:
    """What has to move, and how far it is: (topic, partition) → first offset not acknowledged."""
    recovery, consumer = app.tables.recovery, app.consumer
    if not consumer.started or app.rebalancing or not recovery.completed.is_set():
        return {_RECOVERY: sum(offset or 0 for offset in list(recovery.active_offsets.values()))}
    found = {}
    for tp in consumer.assignment():
        key = (tp.topic, tp.partition)
        if tp.topic not in app.topics_read:
            continue
        position, end = consumer.reached(tp)
        acknowledged, handed = progress.next_offsets.get(key), consumer.handed.get(key)
        reached = position if acknowledged is None else acknowledged
        if reached is None or end is None:
            found[key] = _UNKNOWN
        elif end > reached or (handed is not None and handed > (acknowledged or 0)):
            found[key] = reached
    return found
