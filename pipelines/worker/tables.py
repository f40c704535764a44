"""Faust tables whose changelog records are awaited.

Faust writes a table only from inside a stream's iteration, and hands the changelog record to a buffer nobody
waits for. Here the record is sent and awaited like any other, and the store is set once it is safe; recovery
is Faust's.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import faust
from faust.stores.memory import Store as MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterable


Record = tuple[int, bytes, bytes | None]
"""Of a changelog: (partition, key, value); no value: the key is deleted."""


class Store(MemoryStore):  # type: ignore[misc]
    """A table's content by partition, so that a partition given away is dropped whole."""

    partitions: dict[int, Any]

    async def on_rebalance(
        self,
        assigned: Any,  # noqa: ARG002
        revoked: Any,
        newly_assigned: Any,  # noqa: ARG002
        generation_id: int = 0,  # noqa: ARG002
    ) -> None:
        """Drop what others own now; Faust reads a partition that comes back from its beginning."""
        for topic, partition in revoked:
            if topic == self.table.changelog_topic_name:
                self.partitions.pop(partition, None)

    async def on_recovery_completed(self, active_tps: Any, standby_tps: Any) -> None:
        """Nothing to tidy: revoked partitions are gone already."""


class Table(faust.Table):  # type: ignore[misc]
    """A table whose changelog records are awaited."""

    store_class: type[Store]

    def _new_store(self) -> Store:
        return self.store_class(
            "memory://",
            self.app,
            self,
            table_name=self.name,
            key_type=self.key_type,
            value_type=self.value_type,
            key_serializer=self.key_serializer,
            value_serializer=self.value_serializer,
            loop=self.loop,
        )

    async def write(self, records: Iterable[Record]) -> None:
        """Send records to the changelog; returns once the broker has them all."""
        topic = self.changelog_topic
        futures = [
            await topic.send(key=key, value=value, partition=partition) for partition, key, value in records
        ]
        await asyncio.gather(*futures)
