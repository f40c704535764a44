"""`restored`: threads as ClickHouse remembers their messages."""

from __future__ import annotations

import os
from itertools import islice
from typing import TYPE_CHECKING, Final

from pipelines.threads import facts, members
from pipelines.threads.feedback import event_of
from pipelines.threads.index import FULL_ROWS
from pipelines.threads.join import Received, Threads, Told, join_mails, join_sent
from pipelines.threads.stored import Filling
from pipelines.worker import thread_records as records
from pipelines.worker.thread_table import PlainThreads
from schemas.partitioning import of_tenant

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from pipelines.counting.memory import Memory
    from pipelines.worker.config import WorkerConfig
    from schemas.mail import InboundMail

_AT_ONCE: Final = 20_000
"""Mails joined together: each time they are looked for in every day's messages, which takes as long for few."""
_NO_MARK: Final = -1


def restored(memory: Memory, config: WorkerConfig, clock: int) -> PlainThreads:
    """All partitions, joined anew; what ClickHouse does not have of what follows is owed.

    Messages count as heard of now, so that a replayed archive is kept as long as anything else. Which blocks brought
    them is not known, so whatever block brings one again has all said again that follows from it.

    Args:
        memory: which has them.
        config: the worker's.
        clock: the hour it is.
    """
    threads = PlainThreads(config.partitions, apart=config.tenants_apart)

    def partition_of(tenant: str) -> int:
        return of_tenant(tenant if config.tenants_apart else "", config.partitions)

    filling = Filling(threads.of, partition_of, clock)
    for stored in memory.sent(config.outbound_days):
        filling.add(stored)
    filling.done()
    for frame in memory.citing(config.outbound_days):
        for partition, part in _parted(frame, config):
            join_sent(threads.of(partition), [(_NO_MARK, part)], clock)
            threads.of(partition).graph.dirty = []
    told: dict[int, list[Told]] = {}
    for rows in _batched(memory.received(config.thread_days)):
        by_partition: dict[int, list[Received]] = {}
        for row in rows:
            by_partition.setdefault(partition_of(row["tenant"]), []).append(Received(_NO_MARK, row))
        for place, mails in by_partition.items():
            told.setdefault(place, []).extend(join_mails(threads.of(place), mails, clock).told)
            threads.of(place).graph.dirty = []
    landed = {member: tuple(rest) for member, *rest in memory.members()}
    for state in threads.held().values():
        _owe_members(state, landed)
    known = set(memory.told())
    for place, found in told.items():
        threads.owed[place] = [each for each in found if _is_owed(each, known)]
    threads.owes = any(threads.owed.values()) or any(state.graph.dirty for state in threads.held().values())
    return threads


def records_of(state: Threads) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of the records of a changelog that restore a partition."""
    writer = os.urandom(records.WRITER_BYTES)
    for fact in state.graph.facts.values():
        yield records.fact_name(fact.member, writer), facts.pack(fact)
    number = 0
    for place, bucket in state.index.buckets.items():
        for start in range(0, len(bucket), FULL_ROWS):
            rows = bucket.rows(start, min(start + FULL_ROWS, len(bucket)))
            yield records.rows_name(place, writer, number), rows.packed(0)
            number += 1


def _batched(rows: Iterator[InboundMail]) -> Iterator[tuple[InboundMail, ...]]:
    while some := tuple(islice(rows, _AT_ONCE)):
        yield some


def _parted(frame: pl.DataFrame, config: WorkerConfig) -> Iterator[tuple[int, pl.DataFrame]]:
    if not config.tenants_apart:
        yield of_tenant("", config.partitions), frame
        return
    for (tenant,), part in frame.group_by("tenant"):
        yield of_tenant(str(tenant), config.partitions), part


def _owe_members(state: Threads, landed: dict[str, tuple[object, ...]]) -> None:
    graph = state.graph
    for fact in graph.facts.values():
        fact.firsts = ()
        thread = graph.of(fact)
        row = members.row(fact, thread.least)
        if landed.get(row["member"]) == (row["thread_id"], row["rank"], row["message_id"]):
            fact.said = thread.least
        else:
            graph.dirty.append(fact)


def _is_owed(told: Told, known: set[bytes]) -> bool:
    event = event_of(told.mail, told.feedback, told.message)
    return event is not None and event["event_id"] not in known
