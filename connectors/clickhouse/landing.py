"""`Lander`: puts a batch of Kafka records into ClickHouse, whatever it takes; runs in a thread of its own.

ClickHouse away: the same batch again, with backoff, until it takes it or the process is told to stop. Rows
that ClickHouse will never take are found by halving, and end in `dead_letter_rows`.
"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass, field
from io import BytesIO
from itertools import groupby
from typing import TYPE_CHECKING, Final

from fastavro import schemaless_reader

from connectors.clickhouse.client import Client, sentence
from connectors.clickhouse.inserts import (
    DEAD_LETTERS,
    TARGETS,
    Target,
    insert_blocks,
    refuses_data,
    target_of,
)
from connectors.errors import ClickHouseError
from schemas.blocks import Block, BlockError, Framing, encode, open_block
from schemas.dead_letters import DeadLetter, dead_letter

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

LOG: Final = logging.getLogger(__name__)


class Stopped(Exception):  # noqa: N818 - not an error: told to stop while waiting for ClickHouse
    """The process stops; the batch has not landed."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How ClickHouse is waited for."""

    first_s: float = 0.2
    longest_s: float = 15.0
    """Short enough that minutes of outage end soon after it does."""

    def pause(self, attempt: int) -> float:
        """Seconds to wait after the n-th failure (from 0): doubled each time, half of it left to chance."""
        whole = min(self.longest_s, self.first_s * 2.0 ** min(attempt, 16))
        return whole * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, guards nothing


@dataclass(frozen=True, slots=True)
class Arrival:
    """A Kafka record that holds a block, or something else."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    """Kafka's, ms."""
    value: bytes
    block: Block | None
    problem: str = ""
    """Why there is no block."""

    @property
    def source(self) -> str:
        """Where it was read."""
        return f"kafka://{self.topic}/{self.partition}/{self.offset}"

    @property
    def rows(self) -> int:
        """Number of rows; what is not a block counts as one."""
        return self.block.count if self.block else 1


@dataclass(slots=True)
class Landed:
    """What became of a batch."""

    rows: int = 0
    inserts: int = 0
    letters: int = 0
    longest_run: int = 0
    """Rejected one after the other."""


@dataclass(slots=True)
class _Piece:
    """Some rows of one Kafka record."""

    arrival: Arrival
    block: Block


@dataclass(slots=True)
class _Work:
    done: Landed = field(default_factory=Landed)
    run: int = 0
    letters: list[DeadLetter] = field(default_factory=list)


def receive(  # noqa: PLR0917 - a Kafka record's own parts
    topic: str, partition: int, offset: int, timestamp: int, value: bytes | None, framing: Framing
) -> Arrival:
    """Open a Kafka record's block."""
    data = value or b""
    try:
        block = open_block(data, framing)
    except BlockError as error:
        return Arrival(topic, partition, offset, timestamp, data, None, f"{type(error).__name__}: {error}")
    if target_of(topic, block.schema.record) is None:
        held = " and ".join(each.record for each in TARGETS[topic])
        problem = f"a block of {block.schema.record} in a topic of {held}"
        return Arrival(topic, partition, offset, timestamp, data, None, problem)
    return Arrival(topic, partition, offset, timestamp, data, block)


def _alike(arrival: Arrival) -> tuple[str, str, int]:
    """What one insert can take: blocks of a topic that have one schema. What is no block has none."""
    schema = arrival.block.schema if arrival.block else None
    return arrival.topic, schema.record if schema else "", schema.version if schema else 0


class Lander:
    """Owns no connection: the client is the caller's, used by one thread at a time."""

    def __init__(self, client: Client, stop: threading.Event, retry: Retry | None = None) -> None:
        self._client = client
        self._stop = stop
        self._retry = retry or Retry()
        self.retries = 0
        """Inserts that ClickHouse did not take at the first time, since the start."""
        self.trouble = ""
        """What ClickHouse said last, while it takes nothing; else empty."""

    def land(self, batch: Sequence[Arrival]) -> Landed:
        """Insert a batch, dead letters included; returns once ClickHouse has all of it.

        Raises:
            Stopped: told to stop while ClickHouse took nothing; any part may or may not have landed.
        """
        work = _Work()
        for (topic, record, _), arrivals in groupby(sorted(batch, key=_alike), key=_alike):
            pieces: list[_Piece] = []
            for arrival in arrivals:
                if arrival.block is None:
                    self._reject(work, arrival, "unreadable_block", arrival.problem, arrival.value)
                else:
                    pieces.append(_Piece(arrival, arrival.block))
            if pieces and (target := target_of(topic, record)):
                self._insert(work, target, pieces)
        if work.letters:
            letters = open_block(encode(DEAD_LETTERS.record, work.letters))
            self._patiently(lambda: insert_blocks(self._client, DEAD_LETTERS, [letters]))
        return work.done

    def _insert(self, work: _Work, target: Target, pieces: list[_Piece]) -> None:
        """Insert, halving what ClickHouse refuses down to a row."""
        refusal = self._patiently(
            lambda: insert_blocks(self._client, target, [piece.block for piece in pieces])
        )
        if refusal is None:
            work.done.rows += sum(piece.block.count for piece in pieces)
            work.done.inserts += 1
            work.run = 0
            return
        if len(pieces) == 1:
            try:
                pieces = _rows(pieces[0])
            except BlockError as error:
                self._reject(work, pieces[0].arrival, "undecodable_rows", str(error), pieces[0].arrival.value)
                return
        if len(pieces) == 1:
            only = pieces[0]
            self._reject(work, only.arrival, "refused_by_clickhouse", sentence(refusal), only.block.rows)
            return
        half = len(pieces) // 2
        self._insert(work, target, pieces[:half])
        self._insert(work, target, pieces[half:])

    def _patiently(self, insert: Callable[[], object]) -> Exception | None:
        """Insert until ClickHouse takes it; what it says when it refuses the data themselves."""
        attempt = 0
        while True:
            try:
                insert()
            except Exception as error:  # the transport under the client has kinds of its own
                if refuses_data(error):
                    self.trouble = ""
                    return error
                self.retries += 1
                self.trouble = sentence(error)
                pause = self._retry.pause(attempt)
                LOG.warning("ClickHouse does not take an insert, again in %.1f s: %s", pause, self.trouble)
                if self._stop.wait(pause):
                    raise Stopped from error
                attempt += 1
            else:
                self.trouble = ""
                return None

    def _reject(self, work: _Work, arrival: Arrival, cause: str, detail: str, payload: bytes) -> None:
        LOG.error("rejected %s: %s: %s", arrival.source, cause, detail)
        letter = dead_letter(
            time=max(arrival.timestamp, 0),
            stage="sink",
            cause=cause,
            detail=detail,
            source=arrival.source,
            payload=payload,
        )
        work.letters.append(letter)
        work.done.letters += 1
        work.run += 1
        work.done.longest_run = max(work.done.longest_run, work.run)


@dataclass(slots=True)
class Limits:
    """Stops a sink that rejects too much: a bad release must not drain the stream into the dead letters."""

    in_a_row: int = 100
    share: float = 0.01
    at_least: int = 20
    """Of a minute's rejections: fewer never stop it, or a quiet stream would stop at its first bad record."""
    _minute: int = -1
    _rows: int = 0
    _letters: int = 0
    _run: int = 0

    def check(self, landed: Landed, now_s: float) -> None:
        """Account for a batch.

        Raises:
            ClickHouseError: beyond a limit; the batch must not be committed.
        """
        if int(now_s // 60) != self._minute:
            self._minute, self._rows, self._letters = int(now_s // 60), 0, 0
        self._rows += landed.rows + landed.letters
        self._letters += landed.letters
        self._run = self._run + landed.letters if not landed.rows else landed.longest_run
        many = self._letters >= self.at_least and self._letters > self.share * self._rows
        if many or self._run >= self.in_a_row:
            raise ClickHouseError(
                f"the sink stopped: {self._letters} of this minute's {self._rows} rows could not be inserted;"
                " see `ses-streams dead-letters list --stage sink`, cure it and start again (nothing is lost)"
            )


def _rows(piece: _Piece) -> list[_Piece]:
    """Each row by itself.

    Raises:
        BlockError: if the rows do not decode.
    """
    block = piece.block
    stream = BytesIO(block.rows)
    pieces = []
    start = 0
    for _ in range(block.count):
        try:
            schemaless_reader(stream, block.schema.item, None)
        except Exception as error:
            raise BlockError(f"rows do not decode: {error!r}") from error
        end = stream.tell()
        pieces.append(_Piece(piece.arrival, Block(block.schema, 1, block.rows[start:end])))
        start = end
    if start != len(block.rows):
        raise BlockError("bytes left after the last row")
    return pieces
