"""Workers on topics that are lists: what survives a crash is in `World`, all else is dropped.

The workers are wired by `create_app` itself, on tables of Faust whose changelogs are lists too: restored, compacted
and given away as Faust does it. Only Kafka, the clock and ClickHouse are stood in for. Every record written, every
commit and every insert is an effect; a crash may come before any of them.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from clickhouse_model import NaiveClickHouse
from crashes import Crash
from faust.types import TP

from pipelines.worker import app as wiring
from pipelines.worker.config import WorkerConfig
from schemas import topics
from schemas.blocks import encode
from schemas.partitioning import of_message

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from pipelines.counting.memory import Memory

Row = dict[str, Any]
HOUR_S = 3600
NOON_S = 1_760_011_200
"""2025-10-09T12:00:00Z."""


class Clock:
    """Stands where `pipelines.worker.app` looks for the module `time`."""

    def __init__(self, world: World, skew_s: int) -> None:
        self._world = world
        self._skew_s = skew_s

    def time_ns(self) -> int:
        return (self._world.now_s + self._skew_s) * 1_000_000_000

    def time(self) -> float:
        return self.time_ns() / 1e9

    def monotonic(self) -> float:
        return 0.0


@dataclass
class World:
    """What survives a crash: topics, changelogs, commits, ClickHouse."""

    rng: random.Random
    partitions: int = 2
    dimensions: tuple[str, ...] = ("account", "campaign", "provider")
    dimension_cap: int = 100_000
    open_hours: int = 6
    retention_days: int = 2
    rules: Path | None = None
    crashes: set[int] = field(default_factory=set)
    """Numbers of the effects that are never had."""
    now_s: int = NOON_S
    skew_s: int = 0
    """How far the workers' clocks are ahead of ClickHouse's."""
    logs: dict[tuple[str, int], list[tuple[bytes | None, bytes | None]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """(topic, partition) → (key, value), changelogs included."""
    committed: dict[tuple[str, str, int], int] = field(default_factory=lambda: defaultdict(int))
    """(group, topic, partition) → the next offset."""
    meanwhile: Callable[[], object] = lambda: None
    """What others do while a step awaits its sends."""
    clickhouse: NaiveClickHouse = field(init=False)
    ghosts: list[tuple[int, bytes]] = field(default_factory=list)
    """(partition, block) that a dead recounter had sent, and that arrive in `ses.counts` later."""
    effects: int = 0
    passes: int = 0

    def __post_init__(self) -> None:
        self.clickhouse = NaiveClickHouse(self.dimensions)

    def effect(self) -> None:
        number = self.effects
        self.effects += 1
        if number in self.crashes:
            raise Crash

    def ends(self, topic: str) -> list[int]:
        return [len(self.logs[topic, p]) for p in range(self.partitions)]

    def config(self) -> WorkerConfig:
        return WorkerConfig(
            brokers="nowhere:9092",
            partitions=self.partitions,
            data=Path("unused"),
            dimensions=self.dimensions,
            dimension_cap=self.dimension_cap,
            open_hours=self.open_hours,
            retention_days=self.retention_days,
            rules=self.rules,
        )

    def write_events(self, rows: Sequence[Row], sizes: Sequence[int]) -> None:
        """Write rows as blocks of the given sizes, as bridges would."""
        waiting: dict[int, list[Row]] = defaultdict(list)
        for row, size in zip(rows, sizes, strict=True):
            partition = of_message(row["message_id"], self.partitions)
            waiting[partition].append(row)
            if len(waiting[partition]) >= size:
                self.logs[topics.EVENTS, partition].append(
                    (None, encode("ses_event", waiting.pop(partition)))
                )
        for partition, left in waiting.items():
            self.logs[topics.EVENTS, partition].append((None, encode("ses_event", left)))

    def compact(self) -> None:
        """Do to changelogs what Kafka's log cleaner may do: of a key's records in a head only the last stays."""
        for (topic, _), log in self.logs.items():
            if topic not in topics.ALL and self.rng.random() < 0.5:
                _clean(log, self.rng.randint(0, len(log)), tombstones=self.rng.random() < 0.5)

    def compact_all(self) -> None:
        for (topic, _), log in self.logs.items():
            if topic not in topics.ALL:
                _clean(log, len(log), tombstones=True)

    def haunt(self) -> bool:
        """Let answers arrive late."""
        ghosts, self.ghosts = self.ghosts, []
        for partition, block in ghosts:
            self.logs[topics.COUNTS, partition].append((None, block))
        return bool(ghosts)

    def pass_time(self, seconds: int) -> None:
        self.now_s += seconds


def _clean(log: list[tuple[bytes | None, bytes | None]], end: int, *, tombstones: bool) -> None:
    last = {key: at for at, (key, _) in enumerate(log[:end])}
    stays = [entry for at, entry in enumerate(log[:end]) if last[entry[0]] == at]
    log[:end] = [(key, value) for key, value in stays if value is not None or not tombstones]


class Topic:
    """A topic as a process sees it: sends leave together, and arrive in any order over the partitions."""

    def __init__(self, process: Worker, name: str) -> None:
        self._process = process
        self.name = name

    def get_topic_name(self) -> str:
        return self.name

    async def send(self, *, partition: int, key: bytes | None = None, value: bytes | None = None) -> Any:
        return self._process.post(self.name, partition, key, value)


class Worker:
    """One life of a worker."""

    def __init__(self, world: World, memory: Memory | None = None) -> None:
        self.world = world
        self.assigned: frozenset[int] = frozenset()
        self.steps: dict[str, Any] = {}
        self.reads: dict[str, str] = {}
        self.positions: dict[tuple[str, int], int] = {}
        self._posted: list[tuple[str, int, bytes | None, bytes | None, asyncio.Future[None]]] = []
        self._runner = asyncio.Runner()
        self._clock = Clock(world, world.skew_s)
        with self._inside():
            self.app = wiring.create_app(world.config(), memory=memory)
        self.tables = list(self.app.tables.values())
        for table in self.tables:
            table.changelog_topic = Topic(self, f"{table.name}-changelog")

    @contextmanager
    def _inside(self) -> Iterator[None]:
        """Let the app find our topics and clock, and hand over its steps."""
        before = {name: getattr(wiring, name) for name in ("_topic", "_attach", "time")}
        wiring._topic = lambda app, config, name: Topic(self, name)
        wiring._attach = self._attach
        wiring.time = self._clock
        try:
            yield
        finally:
            vars(wiring).update(before)

    def _attach(self, app: Any, name: str, topic: Topic, step: Any, *_: Any) -> None:
        self.steps[name] = step
        self.reads[name] = topic.name

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        with self._inside():
            return self._runner.run(work)

    def post(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None
    ) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        if not self._posted:
            loop.call_soon(self._deliver)
        self._posted.append((topic, partition, key, value, loop.create_future()))
        return self._posted[-1][-1]

    def _deliver(self) -> None:
        lanes: dict[tuple[str, int], list[Any]] = defaultdict(list)
        for topic, partition, *rest in self._posted:
            lanes[topic, partition].append(rest)
        self._posted.clear()
        order = [lane for lane, entries in lanes.items() for _ in entries]
        self.world.rng.shuffle(order)
        for lane in order:
            self.world.meanwhile()
            key, value, future = lanes[lane].pop(0)
            try:
                self.world.effect()
            except Crash as crash:
                future.set_exception(crash)
                return
            self.world.logs[lane].append((key, value))
            future.set_result(None)

    def assign(self, partitions: frozenset[int]) -> None:
        """A rebalance: forget what goes, read what comes from its changelog."""
        gone, new = self.assigned - partitions, partitions - self.assigned
        self.assigned = partitions
        for table in self.tables:
            name = table.changelog_topic_name
            tps = [{TP(name, p) for p in chosen} for chosen in (partitions, gone, new)]
            self.run(table.data.on_rebalance(*tps, 1))
            records = [
                message(name, p, at, *entry)
                for p in sorted(new)
                for at, entry in enumerate(self.world.logs[name, p])
            ]
            while records:
                size = self.world.rng.randint(1, len(records))
                table.apply_changelog_batch(records[:size])
                del records[:size]
            self.run(table.data.on_recovery_completed({TP(name, p) for p in partitions}, set()))
        for topic in self.reads.values():
            for p in gone:
                self.positions.pop((topic, p), None)
            for p in new:
                self.positions[topic, p] = self.world.committed[topics.WORKER_GROUP, topic, p]

    def step(self, agent: str, most: int) -> bool:
        """Let an agent do a batch; False when nothing waits."""
        topic, world = self.reads[agent], self.world
        lanes = [
            [
                message(topic, p, at, *world.logs[topic, p][at])
                for at in range(self.positions[topic, p], world.ends(topic)[p])
            ]
            for p in sorted(self.assigned)
        ]
        batch: list[Any] = []
        while len(batch) < most and any(lanes):
            batch.append(world.rng.choice([lane for lane in lanes if lane]).pop(0))
        if not batch:
            return False
        self.run(self.steps[agent](batch))
        for event in batch:
            self.positions[topic, event.message.partition] = event.message.offset + 1
        return True

    def tick(self) -> None:
        self.run(self.app.alarms.tick(lambda: bool(self.assigned)))

    def commit(self) -> None:
        for (topic, partition), offset in self.positions.items():
            self.world.effect()
            self.world.committed[topics.WORKER_GROUP, topic, partition] = offset

    def die(self) -> None:
        self._runner.close()


def message(topic: str, partition: int, offset: int, key: bytes | None, value: bytes | None) -> Any:
    """A Faust event, as far as steps and tables read one."""
    found = SimpleNamespace(
        topic=topic, partition=partition, offset=offset, timestamp=1.0, key=key, value=value
    )
    return SimpleNamespace(message=found, key=key, value=value)
