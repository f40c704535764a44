"""`Recovery`: Faust's recovery of tables, with streams resumed in an order that loses no event.

Faust 0.15.3 resumes the partitions of the streams first, looks up the committed offsets then, and clears the queues
of the streams last: events that came in between are gone, though read. It also goes on when it gave up waiting, and
applies a changelog record of a partition it does not know to whatever table was last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from faust.tables import TableManager
from faust.tables.recovery import RebalanceAgain, ServiceStopped
from faust.tables.recovery import Recovery as FaustRecovery
from mode.utils.queues import ThrowableQueue

from pipelines.worker.consumer import resume
from pipelines.worker.errors import Stalled

if TYPE_CHECKING:
    from collections.abc import Callable


class Recovery(FaustRecovery):  # type: ignore[misc]
    """Recovers the tables after a rebalance, then lets the streams flow."""

    rebalance = 0
    """Number of the rebalance, as `app.rebalancing_count` has it, that is being recovered from."""

    async def on_rebalance(
        self, assigned: Any, revoked: Any, newly_assigned: Any, generation_id: int = 0
    ) -> None:
        """Forget how far partitions were read that are others' now, then start a recovery."""
        self.rebalance = self.app.rebalancing_count
        # Faust leaves them when it sees that yet another rebalance has begun; their content is dropped already.
        for tp in revoked:
            self.revoke(tp)
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)

    async def on_recovery_completed(self, generation_id: int = 0) -> None:
        """Let the streams flow; for an app with tables."""
        self._set_recovery_ended()
        for table in self.tables.values():
            await table.on_recovery_completed(self.actives_for_table[table], self.standbys_for_table[table])
        await self._resume_streams(generation_id)

    async def _resume_streams(self, generation_id: int = 0) -> None:
        """Positions first, then the flow, then the partitions; nothing at all if a rebalance has begun."""
        app, consumer = self.app, self.app.consumer
        await app.on_rebalance_complete.send()
        assignment = consumer.assignment()
        streams = {tp for tp in assignment if not self._is_changelog_tp(tp)}
        if streams:
            consumer.pause_partitions(assignment)
            await self._wait(consumer.perform_seek(), timeout=app.conf.broker_request_timeout)
        if app.rebalancing_count != self.rebalance or app.consumer_generation_id != generation_id:
            return
        resume(app, streams)
        await app._fetcher.maybe_start()  # noqa: SLF001 - Faust's own way
        self.completed.set()
        self.tables.on_actives_ready()
        self.tables.on_standbys_ready()
        app.on_rebalance_end()
        self.log.info("Reading %s partitions.", len(streams))

    async def _wait(self, coro: Any, timeout: Any = None) -> None:  # noqa: ASYNC109 - Faust's signature
        """Wait for it, a rebalance or the end.

        Raises:
            Stalled: when none came in time; Faust would go on as if it were done.
        """
        again = self.signal_recovery_start
        result = await self.wait_first(coro, again, timeout=timeout)
        if again in result.done:
            raise RebalanceAgain
        if not result.done:
            if self.should_stop:
                raise ServiceStopped
            raise Stalled(f"Kafka did not answer within {timeout:.0f} s while tables were restored.")


class ChangelogQueue(ThrowableQueue):  # type: ignore[misc]
    """Records of changelogs on their way to the tables: only those that this recovery wants."""

    def __init__(self, wanted: Callable[[Any], bool], **options: Any) -> None:
        super().__init__(**options)
        self._wanted = wanted

    async def get(self) -> Any:
        """The next record that is wanted; others are dropped."""
        while True:
            event = await super().get()
            if self._wanted(event.message):
                return event


class Tables(TableManager):  # type: ignore[misc]
    """Faust's manager of tables, with this recovery."""

    _recovery: Recovery | None
    _changelog_queue: ChangelogQueue | None

    @property
    def recovery(self) -> Recovery:
        """The recovery."""
        if self._recovery is None:
            self._recovery = Recovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery

    @property
    def changelog_queue(self) -> ChangelogQueue:
        """Queue of the changelogs' records."""
        if self._changelog_queue is None:
            self._changelog_queue = ChangelogQueue(
                self._wanted,
                maxsize=self.app.conf.stream_buffer_maxsize,
                flow_control=self.app.flow_control,
                clear_on_resume=True,
            )
        return self._changelog_queue

    def _wanted(self, message: Any) -> bool:
        recovery = self.recovery
        return message.tp in recovery.active_tps and message.generation_id == self.app.consumer_generation_id
