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

    All events: those the requests are for are among them. And all rates: `(other)` is what they leave. So answers for
    `(other)` are counted again once all has come through, until they stay.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.positions = [
            world.committed[topics.RECOUNT_GROUP, topics.RECOUNTS, p] for p in range(world.partitions)
        ]
        self.asked: set[KeyHour] = set()
        self.told: dict[KeyHour, Row] = {}
        """Answers for `(other)` that are to be verified."""
        self.passing = False
        """Whether a pass has begun."""
        self.stages: list[tuple[str, str]] = []
        """What it still waits for: that a group has passed the end of a topic."""
        self.ends: list[int] | None = None
        """Of the first of them, taken when its turn came."""

    def gather(self) -> bool:
        """Read requests, and begin a pass with them."""
        if self.passing:
            return False
        for p in range(self.world.partitions):
            log = self.world.logs[topics.RECOUNTS, p]
            for _, value in log[self.positions[p] :]:
                self.asked |= {(row["dimension"], row["value"], row["hour"]) for row in decode(value or b"")}
            self.positions[p] = len(log)
        if not self.asked:
            return False
        self.passing, self.stages = True, list(_LANDED)
        self._waits()
        return True

    def _waits(self) -> bool:
        """Whether something is still to be waited for."""
        while self.stages:
            group, topic = self.stages[0]
            if self.ends is None:
                self.ends = self.world.ends(topic)
            if any(self.world.committed[group, topic, p] < end for p, end in enumerate(self.ends)):
                return True
            self.stages.pop(0)
            self.ends = None
        return False

    def answer(self) -> bool:
        """Answer, once all that is waited for has passed; then verify, or end the pass."""
        if not self.passing or self._waits():
            return False
        world = self.world
        world.passes += 1
        rows = world.clickhouse.answers(self.asked, world.now_s * 1_000_000 + world.passes)
        rows = [row for row in rows if not _same(row, self.told.get(_key(row)))]
        self._send(rows)
        self.told = {_key(row): row for row in rows if row["value"] == OTHER_VALUE}
        if self.told:
            self.asked, self.stages = set(self.told), list(_COME_THROUGH)
            return True
        for p, offset in enumerate(self.positions):
            world.effect()
            world.committed[topics.RECOUNT_GROUP, topics.RECOUNTS, p] = offset
        self.asked, self.passing = set(), False
        return True

    def _send(self, rows: Sequence[Row]) -> None:
        world = self.world
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


_LANDED = ((topics.SINK_GROUP, topics.EVENTS), (topics.SINK_GROUP, topics.RATES))
_COME_THROUGH = (
    (topics.WORKER_GROUP, topics.EVENTS),
    (topics.WORKER_GROUP, topics.COUNTS),
    (topics.SINK_GROUP, topics.RATES),
    (topics.SINK_GROUP, topics.EVENTS),
)


def _key(row: Row) -> KeyHour:
    return row["dimension"], row["value"], row["hour"]


def _same(row: Row, known: Row | None) -> bool:
    return known is not None and all(row[name] == known[name] for name in COUNTERS)
