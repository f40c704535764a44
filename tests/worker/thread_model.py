"""Worlds with mail: workers whose thread agents read and write lists, and what is left of it all in the end."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from counting_model import Worker, World
from crashes import Crash
from naive import milliseconds
from storms import Fleet

from pipelines.threads import mails, names, sent
from pipelines.threads.rows import PROFILE
from pipelines.threads.stored import Stored
from pipelines.worker.thread_records import parse
from schemas import topics
from schemas.blocks import BlockError, decode, encode, open_block
from schemas.partitioning import of_tenant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import polars as pl

    from pipelines.worker.config import WorkerConfig

Row = dict[str, Any]
Member = tuple[str, int, str]
"""Thread, rank, message answered."""


@dataclass
class House:
    """A ClickHouse whose mail tables merge by identity."""

    mails: dict[bytes, Row] = field(default_factory=dict)
    messages: dict[str, Row] = field(default_factory=dict)
    members: dict[str, Member] = field(default_factory=dict)
    events: dict[bytes, Row] = field(default_factory=dict)

    def insert(self, topic: str, value: bytes) -> None:
        for row in _rows(topic, value):
            if topic == topics.INBOUND:
                self.mails[row["mail_id"]] = row
            elif topic == topics.OUTBOUND:
                self.messages[row["message_id"]] = row
            elif topic == topics.EVENTS:
                self.events[row["event_id"]] = row
            else:
                told = (row["thread_id"], row["rank"], row["message_id"])
                known = self.members.get(row["member"], told)
                self.members[row["member"]] = (min(known[0], told[0]), *min(known[1:], told[1:]))

    def reports(self) -> set[tuple[str, str]]:
        """(address, SES's id) of the events."""
        return {(row["recipients"][0]["address"], row["message_id"]) for row in self.events.values()}


def _rows(topic: str, value: bytes) -> Sequence[Any]:
    try:
        if topic == topics.INBOUND:
            return mails.read(open_block(value))
        return decode(value)
    except BlockError:
        return []


@dataclass
class MailWorld(World):
    """A world whose topics have mail."""

    tenants_apart: bool = False
    house: House = field(default_factory=House)

    def config(self) -> WorkerConfig:
        return replace(super().config(), tenants_apart=self.tenants_apart)

    def write_mail(self, rows: Sequence[tuple[str, Row]], sizes: Sequence[int]) -> None:
        """Write rows, `in` or `out`, as blocks of the given sizes."""
        waiting: dict[tuple[str, int], list[Row]] = {}
        for (kind, row), size in zip(rows, sizes, strict=True):
            topic = topics.INBOUND if kind == "in" else topics.OUTBOUND
            place = topic, of_tenant(row["tenant"] if self.tenants_apart else "", self.partitions)
            waiting.setdefault(place, []).append(row)
            if len(waiting[place]) >= size:
                self._write(place, waiting.pop(place))
        for place, left in waiting.items():
            self._write(place, left)

    def _write(self, place: tuple[str, int], rows: list[Row]) -> None:
        record = mails.RECORD if place[0] == topics.INBOUND else sent.RECORD
        self.logs[place].append((None, encode(record, rows)))

    def land_all(self) -> House:
        """What ClickHouse has once all has landed."""
        house = House()
        for (topic, _), log in self.logs.items():
            if topic in (topics.INBOUND, topics.OUTBOUND, topics.THREADS, topics.EVENTS):
                for _, value in log:
                    house.insert(topic, value or b"")
        return house


class MailCrew(Fleet):
    """A fleet that only joins."""

    def calm_moves(self) -> list[tuple[Any, Callable[[], object]]]:
        rng = self.world.rng
        worker = rng.choice(self.workers)
        return [
            *[(worker, lambda: worker.step("thread", rng.randint(1, 3)))] * 3,
            *[(worker, lambda: worker.step("sent", rng.randint(1, 3)))] * 3,
            *[(worker, worker.commit)] * 2,
        ]

    def _meanwhile(self) -> None:
        """Nobody else is there."""

    def drain(self) -> None:
        """Step by step, each committed, so that what a crash undoes is little and comes again alone."""
        moved = True
        while moved:
            moved = False
            for agent in ("thread", "sent"):
                for worker in list(self.workers):
                    if worker in self.workers:
                        moved |= self.do(
                            worker, lambda w=worker, a=agent: w.step(a, self.world.rng.randint(1, 3))
                        )
                    if worker in self.workers:
                        self.do(worker, worker.commit)

    def state(self) -> list[tuple[set[bytes], int]]:
        """Facts and length of the index of every partition that is remembered."""
        found = []
        for worker in self.workers:
            table = next(each for each in worker.tables if each.name == "threads")
            for partition, state in sorted(table.held().items()):
                if partition in worker.assigned:
                    found.append((set(state.graph.facts), len(state.index)))
        return found


def stored_of(rows: Sequence[Row], stored: int = 0) -> Stored:
    """Messages sent as ClickHouse has them, of rows; all stored on that day."""
    packed = [names.pack(row["message_id"]) for row in rows]
    ids = b"".join(each[1:] if names.is_whole(each) else bytes(27) for each in packed)
    known = [tuple(row.get(key, "") for key in PROFILE) for row in rows]
    marks = [mark for row in rows for mark in row.get("recipients", ())]
    return Stored(
        ids=np.frombuffer(ids, dtype=np.uint8).reshape(-1, 27),
        others={at: row["message_id"] for at, row in enumerate(rows) if not names.is_whole(packed[at])},
        stored=np.full(len(rows), stored, dtype=np.int64),
        times=np.array([milliseconds(row["sent_time"]) for row in rows], dtype=np.int64),
        profiles=np.arange(len(rows), dtype=np.uint32),
        known=known,
        subjects=np.arange(len(rows)),
        texts=[row.get("base_subject", "").encode() for row in rows],
        headers=[row.get("header_message_id", "").encode() for row in rows],
        counts=np.array([len(row.get("recipients", ())) for row in rows], dtype=np.int64),
        marks=np.array(marks, dtype=np.int32),
    )


class MailMemory:
    """What the mail tables of a house say (`pipelines.counting.memory.Memory`), and of counting nothing."""

    def __init__(self, house: House) -> None:
        self.house = house

    def watermark(self) -> int:
        return 0

    def seen(self, _since: int) -> Iterator[Any]:
        yield from ()

    def machines(self) -> Iterator[Any]:
        yield from ()

    def counters(self, _days: int) -> Iterator[Any]:
        yield from ()

    def last_version(self) -> int:
        return 0

    def sent(self, _days: int) -> Iterator[Stored]:
        rows = list(self.house.messages.values())
        # In pieces, of which the last has the first again.
        for piece in (rows[:3], rows[3:], rows[:1]):
            yield stored_of(piece)

    def citing(self, _days: int) -> Iterator[pl.DataFrame]:
        for row in self.house.messages.values():
            if row.get("in_reply_to") or row.get("references") or row.get("conversations"):
                yield sent.read(open_block(encode(sent.RECORD, [row])))

    def received(self, _days: int) -> Iterator[Any]:
        yield from self.house.mails.values()

    def members(self) -> Iterator[Any]:
        yield from ((member, *told) for member, told in self.house.members.items())

    def told(self) -> Iterator[bytes]:
        yield from self.house.events


class MailInstance(MailCrew):
    """One worker restored from ClickHouse, and a sink; a crash is survived by nobody."""

    def __init__(self, world: MailWorld) -> None:
        super().__init__(world, most=1)
        self.mail_world = world
        self.landed: dict[tuple[str, int], int] = {}

    def rebalance(self) -> None:
        self.workers = [Worker(self.world, MailMemory(self.mail_world.house))]
        worker = self.workers[0]
        worker.assign(frozenset(range(self.world.partitions)))
        # As the worker does it before anything is read.
        worker.run(worker.app.threads.tell_owed())

    def land(self, topic: str, most: int) -> bool:
        """Insert some blocks of a topic."""
        moved = False
        for partition in range(self.world.partitions):
            place = topic, partition
            start = self.landed.get(place, 0)
            for _, value in self.world.logs[place][start : start + most]:
                self.mail_world.house.insert(topic, value or b"")
                self.landed[place] = self.landed.get(place, 0) + 1
                moved = True
        return moved

    def calm_moves(self) -> list[tuple[Any, Callable[[], object]]]:
        rng = self.world.rng
        tables = (topics.INBOUND, topics.OUTBOUND, topics.THREADS, topics.EVENTS)
        return [*super().calm_moves(), *[(None, lambda: self.land(rng.choice(tables), 2))] * 4]


def changelog_kinds(world: MailWorld) -> set[object]:
    """What kinds of records the threads' changelogs hold."""
    return {
        type(parse(key or b""))
        for (topic, _), log in world.logs.items()
        if topic == "threads-changelog"
        for key, _ in log
    }


__all__ = [
    "Crash",
    "House",
    "MailCrew",
    "MailInstance",
    "MailMemory",
    "MailWorld",
    "changelog_kinds",
    "stored_of",
]
