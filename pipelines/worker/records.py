"""Kafka records in, Kafka records out: what both steps share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pipelines.worker.rejects import Message, Rejects, letter
from schemas.blocks import Block, BlockError, Framing, MalformedBlock, encode, open_block

if TYPE_CHECKING:
    from schemas.dead_letters import DeadLetter

Send = Callable[[Sequence[tuple[int, bytes]]], Awaitable[None]]
"""Send blocks to partitions of one topic; returns once the broker has them all.

Of a partition each block is safe before the next is sent: marks say that all blocks before them were applied.
"""

SendKeyed = Callable[[Sequence[tuple[int, bytes, bytes]]], Awaitable[None]]
"""Send records (partition, key, value) to one topic, in any order; returns once the broker has them all."""


class Event(Protocol):
    """What steps read of a Faust event."""

    message: Message


@dataclass(frozen=True, slots=True)
class Outlet:
    """Where a step's results go, and how they are framed."""

    send: Send
    send_dead_letters: Send
    framing: Framing
    partitions: int


Opened = list[tuple[Message, Block]]


def open_all(
    messages: Sequence[Message], stage: str, framing: Framing
) -> tuple[Opened, dict[int, DeadLetter]]:
    """The blocks of records, and dead letters (by identity of the record) of those that are none."""
    good, letters = [], {}
    for message in messages:
        try:
            good.append((message, open_block(message.value or b"", framing)))
        except BlockError as error:
            letters[id(message)] = letter(message, stage, error)
    return good, letters


def readable(
    opened: Opened, stage: str, check_one: Callable[[Message, Block], None]
) -> tuple[Opened, dict[int, DeadLetter]]:
    """Tell the records whose rows decode from the others, one by one."""
    good, letters = [], {}
    for message, block in opened:
        try:
            check_one(message, block)
            good.append((message, block))
        except MalformedBlock as error:
            letters[id(message)] = letter(message, stage, error)
    return good, letters


async def reject(
    messages: Sequence[Message], letters: dict[int, DeadLetter], rejects: Rejects, outlet: Outlet
) -> None:
    """Send the dead letters, then look whether they are too many."""
    if letters:
        await outlet.send_dead_letters(
            [
                (message.partition, encode("dead_letter", [letters[id(message)]], outlet.framing))
                for message in messages
                if id(message) in letters
            ]
        )
    for message in messages:
        rejects.note(bad=id(message) in letters)
