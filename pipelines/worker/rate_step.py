"""What the rate agent does with a batch: a pure step, then its effects, in an order that survives a crash anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.counting import deltas, rate
from pipelines.counting.fold import fold
from pipelines.worker.records import Event, Outlet, open_all, readable, reject
from schemas.blocks import MAX_ROWS, Block, MalformedBlock, encode
from schemas.partitioning import of_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import polars as pl

    from pipelines.worker.counters import Counters
    from pipelines.worker.rejects import Message, Rejects


class RateStep:
    """Blocks of deltas in, blocks of rate rows out.

    The order: states, then rows, then (by the caller) the acks. A crash before the rows finds the deltas
    applied, and sends the rows all the same.
    """

    def __init__(
        self, outlet: Outlet, counters: Counters, rejects: Rejects, now_us: Callable[[], int]
    ) -> None:
        self._outlet = outlet
        self._counters = counters
        self._rejects = rejects
        self._now_us = now_us

    async def __call__(self, events: Sequence[Event]) -> None:
        """Fold a batch."""
        messages = [event.message for event in events]
        good, letters = open_all(messages, "rate", self._outlet.framing)
        try:
            found = deltas.read([block for _, block in good])
        except MalformedBlock:
            good, more = readable(good, "rate", _check_deltas)
            letters |= more
            found = deltas.read([block for _, block in good])
        await reject(messages, letters, self._rejects, self._outlet)
        states, cells = self._fold(found)
        await self._counters.put(states)
        await self._outlet.send(self._blocks(rate.rows(cells)))

    def _fold(self, found: pl.DataFrame) -> tuple[list[tuple[str, str, bytes]], list[rate.KeyHour]]:
        """Apply deltas: the states to write and the rows to send."""
        folded = fold(found, self._load)
        now = self._now_us()
        cells = []
        for key, known in folded.items():
            version = rate.next_version(known.state, now, self._counters.floor)
            hours = known.state.hours
            cells += [
                rate.KeyHour(*key, hour, version, hours[hour])
                for hour in sorted(known.dirty)
                if hour in hours
            ]
        return [(*key, rate.pack(known.state)) for key, known in folded.items()], cells

    def _load(self, dimension: str, value: str) -> rate.State:
        packed = self._counters.get(dimension, value)
        return rate.unpack(packed) if packed else rate.State()

    def _blocks(self, rows: Sequence[dict[str, Any]]) -> list[tuple[int, bytes]]:
        by_partition: dict[int, list[dict[str, Any]]] = {}
        for row in rows:
            target = of_key(row["dimension"], row["value"], self._outlet.partitions)
            by_partition.setdefault(target, []).append(row)
        return [
            (target, encode("rate_row", chosen[start : start + MAX_ROWS], self._outlet.framing))
            for target, chosen in by_partition.items()
            for start in range(0, len(chosen), MAX_ROWS)
        ]


def _check_deltas(_: Message, block: Block) -> None:
    deltas.read([block])
