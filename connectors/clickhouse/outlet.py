"""`Outlet`: sends a recounter's answers and dead letters, and waits until the broker has them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from schemas import topics
from schemas.avro import newest
from schemas.blocks import BlockBuilder, Framing
from schemas.partitioning import of_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from connectors.bridge.producer import Producer

RECORD: Final = "recount_row"


class Outlet:
    """Owns its producer; for one thread at a time."""

    def __init__(self, producer: Producer, partitions: int, framing: Framing) -> None:
        self._producer = producer
        self._partitions = partitions
        self._framing = framing

    def send_answers(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Send `RecountRow`s; returns once the broker has them all.

        Raises:
            BrokerError: when it does not take them.
        """
        by_partition: dict[int, list[Mapping[str, Any]]] = {}
        for row in rows:
            target = of_key(row["dimension"], row["value"], self._partitions)
            by_partition.setdefault(target, []).append(row)
        self._send(
            (topics.COUNTS, partition, block)
            for partition, chosen in by_partition.items()
            for block in _blocks(RECORD, chosen, self._framing)
        )

    def send_letters(self, letters: Sequence[Mapping[str, Any]]) -> None:
        """Send dead letters; returns once the broker has them all.

        Raises:
            BrokerError: when it does not take them.
        """
        self._send(
            (topics.DEAD_LETTERS, 0, block) for block in _blocks("dead_letter", letters, self._framing)
        )

    def close(self) -> None:
        """Stop within seconds."""
        self._producer.close()

    def _send(self, blocks: Iterable[tuple[str, int, bytes]]) -> None:
        left = threading.Semaphore(0)
        failures: list[Exception] = []

        def failed(error: Exception) -> None:
            failures.append(error)
            left.release()

        sent = 0
        for topic, partition, block in blocks:
            self._producer.send(topic, partition, block, lambda _: left.release(), failed)
            sent += 1
        for _ in range(sent):
            left.acquire()
        if failures:
            raise failures[0]


def _blocks(record: str, rows: Sequence[Mapping[str, Any]], framing: Framing) -> Iterable[bytes]:
    builder = BlockBuilder(newest(record), framing)
    for row in rows:
        builder.add(row)
        if builder.full:
            yield builder.take()
    if builder.count:
        yield builder.take()
