"""Blocks of `OutboundMessage`, by columns: what the index and the join want of each message."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from pipelines.threads import names
from pipelines.threads.facts import header_node
from pipelines.threads.rows import MOST_RECIPIENTS, PROFILE, Rows
from schemas.blocks import Block, MalformedBlock, container

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from schemas.avro import BlockSchema
    from schemas.mail import OutboundMessage

RECORD: Final = "outbound_message"
_LISTS: Final = ("in_reply_to", "references", "conversations")
COLUMNS: Final = (
    "message_id",
    "header_message_id",
    "sent_time",
    *PROFILE,
    "base_subject",
    *_LISTS,
    "recipients",
)


def read(block: Block) -> pl.DataFrame:
    """The columns of a block.

    Raises:
        MalformedBlock: when its rows do not decode.
    """
    if block.schema.record != RECORD:
        raise MalformedBlock(f"a block of {block.schema.record}, not of {RECORD}")
    if not block.count:
        return pl.DataFrame(schema=dict.fromkeys(COLUMNS, pl.String()))
    data = container([replace(block, schema=_readable(block.schema))])
    try:
        frame = pl.read_avro(BytesIO(data), columns=list(COLUMNS))
    # polars raises what its Rust reader says: several unrelated types, and a panic on some damage.
    except (Exception, pl.exceptions.PanicException) as error:
        raise MalformedBlock(f"rows do not decode: {error!r}") from error
    if frame.height != block.count:
        raise MalformedBlock(f"{frame.height} rows where the header says {block.count}")
    return frame


@cache
def _readable(schema: BlockSchema) -> BlockSchema:
    """The same bytes, with times said to be plain longs, and without defaults, which polars cannot read of lists."""
    definition = json.loads(schema.json)
    fields = []
    for field in definition["fields"]:
        each = {"name": field["name"], "type": field["type"]}
        fields.append(each | {"type": "long"} if each["name"] == "sent_time" else each)
    return replace(schema, json=json.dumps(definition | {"fields": fields}, separators=(",", ":")))


@dataclass(frozen=True, slots=True)
class Column:
    """Messages sent, one after the other, with what the join compares; aligned lists."""

    frame: pl.DataFrame
    packed: list[bytes]
    nodes: list[bytes]
    """Of SES's ids."""
    headers: list[bytes]
    """Nodes of callers' Message-IDs; empty: none."""
    subjects: list[bytes]
    citing: NDArray[np.int64]
    """Which cite others or are in conversations."""

    def message(self, at: int) -> OutboundMessage:
        """One of them as a row, without its subject."""
        row: Any = self.frame.row(at, named=True) | {"subject": ""}
        return row  # type: ignore[no-any-return]

    def rows(self) -> Rows:
        """As the index keeps them, whether they have callers' Message-IDs or not."""
        profiles = self.frame.select(PROFILE)
        known: dict[tuple[str, ...], int] = {}
        numbers = [known.setdefault(each, len(known)) for each in profiles.iter_rows()]
        ids = self.frame.get_column("message_id").to_list()
        return Rows(
            np.frombuffer(b"".join(self.packed), dtype=np.uint32).reshape(-1, 7),
            np.frombuffer(b"".join(self.subjects), dtype=np.uint64),
            self.frame.get_column("sent_time").to_numpy().astype(np.int64),
            np.array(numbers, dtype=np.uint32),
            list(known),
            np.frombuffer(b"".join(each or bytes(16) for each in self.headers), dtype=np.uint64).reshape(
                -1, 2
            ),
            {each: ids[at] for at, each in enumerate(self.packed) if not names.is_whole(each)},
            *self._recipients(),
        )

    def _recipients(self) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
        """How many each has, and the marks of all."""
        lists = self.frame.get_column("recipients").list.head(MOST_RECIPIENTS)
        counts = lists.list.len().to_numpy().astype(np.uint8)
        marks = lists.list.explode(keep_nulls=False, empty_as_null=False)
        return counts, marks.to_numpy().astype(np.uint32)


def columns(frame: pl.DataFrame, scope_of: Callable[[str], str]) -> Column:
    """What is compared of messages.

    Args:
        frame: with `COLUMNS`.
        scope_of: the scope of a tenant.
    """
    ids: Sequence[str] = frame.get_column("message_id").to_list()
    scopes = [scope_of(tenant) for tenant in frame.get_column("tenant").to_list()]
    texts: Sequence[str] = frame.get_column("base_subject").to_list()
    hashed = {text: names.subject_of(text) for text in set(texts)}
    given: Sequence[str] = frame.get_column("header_message_id").to_list()
    citing = np.zeros(frame.height, dtype=np.bool_)
    for name in _LISTS:
        citing |= (frame.get_column(name).list.len() > 0).to_numpy()
    return Column(
        frame,
        [names.pack(each) for each in ids],
        [names.node(scope, f"ses:{each}") for scope, each in zip(scopes, ids, strict=True)],
        [header_node(*each) for each in zip(scopes, ids, given, strict=True)],
        [hashed[text] for text in texts],
        np.flatnonzero(citing),
    )
