"""Sink and recounter of a `World`, and a ClickHouse that counts naively what has landed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import naive
from crashes import Crash

from schemas import topics
from schemas.blocks import decode, encode
from schemas.counters import COUNTERS, OTHER_VALUE
from schemas.partitioning import of_key

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from counting_model import World

Row = dict[str, Any]
KeyHour = tuple[str, str, int]
ZEROS = (0,) * len(COUNTERS)


class NaiveClickHouse:
    """Tables that merge by identity."""

    def __init__(self, dimensions: Sequence[str]) -> None:
        self.dimensions = dimensions
        self.events: dict[tuple[bytes, bool], Row] = {}
        self.rates: dict[KeyHour, Row] = {}
        self.letters: dict[bytes, Row] = {}
        self.alarms: dict[tuple[str, int], Row] = {}

    def insert(self, topic: str, values: Sequence[bytes]) -> None:
        """Insert blocks."""
        for row in (row for value in values for row in readable(value)):
            if topic == topics.EVENTS:
                self.events[row["event_id"], row["tagged"]] = row
            elif topic == topics.DEAD_LETTERS:
                self.letters[row["dead_letter_id"]] = row
            elif topic == topics.ALARMS:
                known = self.alarms.setdefault((row["alarm_key"], row["seq"]), row)
                assert row == known, "one number, two transitions"
            else:
                self._merge((row["dimension"], row["value"], row["hour"]), row)

    def _merge(self, key: KeyHour, row: Row) -> None:
        known = self.rates.get(key)
        if known is None or row["version"] > known["version"]:
            self.rates[key] = row
        elif row["version"] == known["version"]:
            assert row == known, "one version, two contents"

    def shown(self) -> naive.Table:
        """What `rates` shows: rows that count something."""
        found = {key: tuple(row[name] for name in COUNTERS) for key, row in self.rates.items()}
        return {key: counters for key, counters in found.items() if any(counters)}

    def truth(self) -> naive.Table:
        """What it should show, were no dimension capped."""
        return naive.table(self.events.values(), self.dimensions)

    def answers(self, keys: Collection[KeyHour], now_us: int) -> list[Row]:
        """`RecountRow`s of these, and of each `(other)` that values leave which get a row of their own now.

        In an hour of which `(other)` is asked or shown, it has what counts for values without a row.
        """
        truth, shown = self.truth(), self.shown()
        new = {key for key in keys if key not in shown and key[1] != OTHER_VALUE}
        others = {(name, OTHER_VALUE, hour) for name, _, hour in new}
        found = {key: truth.get(key, ZEROS) for key in keys}
        for name, other, hour in {key for key in keys if key[1] == OTHER_VALUE} | (others & shown.keys()):
            rest = [
                counters
                for key, counters in truth.items()
                if (key[0], key[2]) == (name, hour) and key not in shown and key not in new
            ]
            found[name, other, hour] = tuple(map(sum, zip(*rest, strict=True))) if rest else ZEROS
        return [self._answer(key, now_us, counters) for key, counters in found.items()]

    def _answer(self, key: KeyHour, now_us: int, counters: Sequence[int]) -> Row:
        known = self.rates.get(key)
        return dict(zip(("dimension", "value", "hour"), key, strict=True)) | {
            "as_of": now_us,
            "stored": known["version"] if known else 0,
            **dict(zip(COUNTERS, counters, strict=True)),
        }


def readable(value: bytes) -> list[Row]:
    """The rows of a block; of poison none."""
    try:
        return decode(value)
    except ValueError:
        return []


class Sink:
    """Topics to ClickHouse."""

    def __init__(self, world: World) -> None:
        self.world = world

    def land(self, topic: str, most: int) -> bool:
        """Insert some blocks of each partition of a topic, then commit."""
        world, moved = self.world, False
        for p in range(world.partitions):
            start = world.committed[topics.SINK_GROUP, topic, p]
            values = [value or b"" for _, value in world.logs[topic, p][start : start + most]]
            if values:
                world.effect()
                world.clickhouse.insert(topic, values)
                world.effect()
                world.committed[topics.SINK_GROUP, topic, p] = start + len(values)
                moved = True
        return moved


class Recounter:
    """Answers requests for recounts by counting what has landed, once all that was written when it began has.

    All events: those the requests are for are among them. And all rates: `(other)` is what they leave.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.positions = [
            world.committed[topics.RECOUNT_GROUP, topics.RECOUNTS, p] for p in range(world.partitions)
        ]
        self.asked: set[KeyHour] = set()
        self.barrier: dict[tuple[str, int], int] | None = None

    def gather(self) -> bool:
        """Read requests, and begin a pass with them."""
        if self.barrier is not None:
            return False
        for p in range(self.world.partitions):
            log = self.world.logs[topics.RECOUNTS, p]
            for _, value in log[self.positions[p] :]:
                self.asked |= {(row["dimension"], row["value"], row["hour"]) for row in decode(value or b"")}
            self.positions[p] = len(log)
        if not self.asked:
            return False
        self.barrier = {
            (topic, p): end
            for topic in (topics.EVENTS, topics.RATES)
            for p, end in enumerate(self.world.ends(topic))
        }
        return True

    def answer(self) -> bool:
        """End the pass, once the sink is beyond the barrier."""
        world, landed = self.world, self.world.committed
        if self.barrier is None or any(
            landed[topics.SINK_GROUP, *place] < end for place, end in self.barrier.items()
        ):
            return False
        world.passes += 1
        rows = world.clickhouse.answers(self.asked, world.now_s * 1_000_000 + world.passes)
        sent = [
            (of_key(row["dimension"], row["value"], world.partitions), encode("recount_row", [row]))
            for row in world.rng.sample(rows, len(rows))
        ]
        while sent:
            try:
                world.effect()
            except Crash:
                world.ghosts += sent
                raise
            partition, block = sent.pop(0)
            world.logs[topics.COUNTS, partition].append((None, block))
        for p, offset in enumerate(self.positions):
            world.effect()
            world.committed[topics.RECOUNT_GROUP, topics.RECOUNTS, p] = offset
        self.asked, self.barrier = set(), None
        return True
