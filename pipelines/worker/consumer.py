"""`Consumer`: Faust's consumer, except that what it has read reaches the streams, or is read again.

Faust 0.15.3 lets a partition's position move past records that no stream ever gets, when a rebalance or a recovery
comes between reading and handing over. It then takes the hole for offsets that compaction removed, and commits
past it. The rules here:

- partitions to read are a copy: those in Faust's own set change while the thread of aiokafka reads, and an empty
  set means all of them;
- what was read partly under an assignment that has ended is dropped, and positions of the new one are put back;
- what is dropped because the flow has stopped belongs to an assignment that ends;
- pressure that eases never resumes a partition that is paused, as all are until tables are recovered;
- the flow is stopped until recovery resumes it, whoever resumed it in between.

Faust, aiokafka and mode are pinned exactly: all of this leans on how they are made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from faust.transport.drivers.aiokafka import Consumer as FaustConsumer
from faust.transport.drivers.aiokafka import Transport as FaustTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

IDLE_S: Final = 0.1
"""How soon it looks again when it has no partitions to read."""


class ConsumerThread(AIOKafkaConsumerThread):  # type: ignore[misc]
    """aiokafka's consumer in a thread of its own."""

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: Any,
        timeout: Any = None,  # noqa: ASYNC109 - Faust's signature
        max_records: Any = None,
    ) -> Any:
        before = _assignment(consumer)
        records = await super()._fetch_records(consumer, active_partitions, timeout, max_records)
        after = _assignment(consumer)
        if after is before:
            return records
        for partition, found in records.items():
            state = after.state_value(partition) if after else None
            if state is not None and found:
                state.seek(found[0].offset)
        return {}

    def reached(self, tp: Any) -> tuple[int | None, int | None]:
        """Of a partition: the next offset to read, and where the broker says it ends."""
        assignment = _assignment(self._consumer) if self._consumer else None
        state = assignment.state_value(tp) if assignment else None
        return (None, None) if state is None else (state._position, state.highwater)  # noqa: SLF001

    def stay(self) -> None:
        """Tell aiokafka that the worker is alive, though it reads nothing: it would leave the group after a while."""
        if self._consumer is not None:
            with self._consumer._subscription.fetch_context():  # noqa: SLF001
                pass

    def failure(self) -> BaseException | None:
        """What aiokafka's coordinator or fetcher ended with: it keeps it for whoever asks next, and nobody may."""
        consumer = self._consumer
        if consumer is None:
            return None
        coordinator = consumer._coordinator  # noqa: SLF001 - Faust's driver reaches there as well
        for task in (coordinator._coordination_task, consumer._fetcher._fetch_task):  # noqa: SLF001
            if task.done() and not task.cancelled() and task.exception() is not None:
                return task.exception()  # type: ignore[no-any-return]
        return coordinator._pending_exception  # type: ignore[no-any-return] # noqa: SLF001


def _assignment(consumer: Any) -> Any:
    subscription = consumer._subscription.subscription  # noqa: SLF001
    return None if subscription is None else subscription.assignment


class Consumer(FaustConsumer):  # type: ignore[misc]
    """Reads for the streams."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.handed: dict[tuple[str, int], int] = {}
        """(topic, partition) → the offset after the last record that was given to the streams."""
        super().__init__(*args, **kwargs)

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def failure(self) -> BaseException | None:
        """What reading or the membership of the group ended with, if it did."""
        return self._thread.failure()  # type: ignore[no-any-return]

    def reached(self, tp: Any) -> tuple[int | None, int | None]:
        """The next offset to read of a partition and the broker's end of it, as far as known; asks nobody."""
        return self._thread.reached(tp)  # type: ignore[no-any-return]

    async def on_partitions_revoked(self, revoked: Any) -> None:
        """Finish what was begun, then forget all that was about partitions."""
        self._buffered_partitions.clear()
        await super().on_partitions_revoked(revoked)
        # What goes on without any event, nobody has waited for yet.
        await self.app.alarms.settled()
        await self.app.threads.settled()
        self.handed.clear()
        self.app.progress.next_offsets.clear()

    async def on_partitions_assigned(self, assigned: Any, generation_id: int = 0) -> None:
        """Let nothing flow until recovery says so: one that a rebalance overtook may have resumed it late."""
        self.stop_flow()
        self.app.flow_control.suspend()
        self._buffered_partitions.clear()
        await super().on_partitions_assigned(assigned, generation_id)

    def on_buffer_drop(self, tp: Any) -> None:
        """Read on, unless the partition is paused."""
        if tp in self._buffered_partitions:
            self._buffered_partitions.discard(tp)
            if tp not in self._paused_partitions:
                self._get_active_partitions().add(tp)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[Any, Any]]:  # noqa: ASYNC109 - Faust's signature
        """Read once; yield (partition, message) of what may be handed over.

        Faust hands over each message before it asks for the next.
        """
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        generation = self.app.consumer_generation_id
        wanted = frozenset(self._get_active_partitions())
        if not wanted:
            self._thread.stay()
            await self.sleep(IDLE_S)
            return
        records = await self._getmany(active_partitions=wanted, timeout=timeout)
        for tp, record in self.scheduler.iterate(records or {}):
            if not self.flow_active or self.app.consumer_generation_id != generation or self.should_stop:
                return
            # Changelogs pause once tables are recovered: what comes after that is what this worker wrote itself.
            if tp in self._paused_partitions:
                continue
            self.handed[tp.topic, tp.partition] = record.offset + 1
            yield tp, self._to_message(tp, record)

    async def _add_gap(self, tp: Any, offset_from: int, offset_to: int) -> None:
        self.log.warning(
            "Of %s %s, offsets %s to %s do not exist any more, or were skipped.",
            tp.topic,
            tp.partition,
            offset_from,
            offset_to - 1,
        )
        await super()._add_gap(tp, offset_from, offset_to)


class Transport(FaustTransport):  # type: ignore[misc]
    """Kafka by aiokafka, with this consumer."""

    Consumer = Consumer


def resume(app: Any, partitions: Iterable[Any]) -> None:
    """Let these partitions flow, whose positions are right; not before, for resuming drops what is queued."""
    app.flow_control.resume()
    app.consumer.resume_flow()
    app.consumer.resume_partitions(set(partitions))
