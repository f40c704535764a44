"""Sink and recounter of a `World`, and what ClickHouse answers: by a naive count of what has landed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from schemas import topics
from schemas.blocks import decode, encode
from schemas.counters import COUNTERS, OTHER_VALUE
from schemas.partitioning import of_key

if TYPE_CHECKING:
    import naive
    from counting_model import World

Row = dict[str, Any]


class Sink:
    """Topics to ClickHouse, where rows merge by identity."""

    def __init__(self, world: World) -> None:
        self.world = world

    def land(self, topic: str, most: int) -> bool:
        """Insert some blocks of a topic, then commit."""
        world, moved = self.world, False
        for p in range(world.partitions):
            start = world.committed[topics.SINK_GROUP, topic, p]
            values = [value for _, value in world.logs[topic, p][start : start + most]]
            if values:
                world.effect()
                for row in (row for value in values for row in readable(value)):
                    self._insert(topic, row)
                world.effect()
                world.committed[topics.SINK_GROUP, topic, p] = start + len(values)
                moved = True
        return moved

    def _insert(self, topic: str, row: Row) -> None:
        if topic == topics.EVENTS:
            self.world.events[row["event_id"], row["tagged"]] = row
        elif topic == topics.DEAD_LETTERS:
            self.world.letters[row["dead_letter_id"]] = row
        else:
            key = (row["dimension"], row["value"], row["hour"])
            known = self.world.rates.get(key)
            if known is None or row["version"] > known["version"]:
                self.world.rates[key] = row
            elif row["version"] == known["version"]:
                assert row == known, "one version, two contents"


def readable(value: bytes | None) -> list[Row]:
    """The rows of a block; of poison none."""
    try:
        return decode(value or b"")
    except ValueError:
        return []


class Recounter:
    """Answers requests for recounts by counting what has landed, once all that was written when it began has.

    All events: those the requests are for are among them. And all rates: `(other)` is what they leave.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.positions = [
            world.committed[topics.RECOUNT_GROUP, topics.RECOUNTS, p] for p in range(world.partitions)
        ]
        self.asked: set[tuple[str, str, int]] = set()
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
        world = self.world
        landed = world.committed
        if self.barrier is None or any(
            landed[topics.SINK_GROUP, *place] < end for place, end in self.barrier.items()
        ):
            return False
        world.passes += 1
        as_of = world.now_s * 1_000_000 + world.passes
        truth = world.truth()
        for key in world.rng.sample(sorted(self.asked), len(self.asked)):
            world.effect()
            block = encode("recount_row", [self._row(key, as_of, truth)])
            world.logs[topics.COUNTS, of_key(*key[:2], world.partitions)].append((None, block))
        for p, offset in enumerate(self.positions):
            world.effect()
            world.committed[topics.RECOUNT_GROUP, topics.RECOUNTS, p] = offset
        self.asked, self.barrier = set(), None
        return True

    def _row(self, key: tuple[str, str, int], as_of: int, truth: naive.Table) -> Row:
        dimension, value, hour = key
        counters = truth.get(key, (0,) * len(COUNTERS))
        if value == OTHER_VALUE:
            counters = self._rest(dimension, hour, truth)
        known = self.world.rates.get(key)
        return {
            "dimension": dimension,
            "value": value,
            "hour": hour,
            "as_of": as_of,
            "stored": known["version"] if known else 0,
            **dict(zip(COUNTERS, counters, strict=True)),
        }

    def _rest(self, dimension: str, hour: int, truth: naive.Table) -> tuple[int, ...]:
        """The whole of a dimension less what is shown of its other values."""
        left = [0] * len(COUNTERS)
        for sign, table in ((1, truth), (-1, self.world.final())):
            for (name, value, when), counters in table.items():
                if (name, when) == (dimension, hour) and value != OTHER_VALUE:
                    left = [sum_ + sign * amount for sum_, amount in zip(left, counters, strict=True)]
        return tuple(left)
