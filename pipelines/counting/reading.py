"""The columns of `SesEvent` blocks that counting needs, and no others."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Final

import polars as pl

from pipelines.counting.dimensions import columns_of
from schemas.blocks import Block, MalformedBlock, container
from schemas.counters import DIMENSIONS, TAG_PREFIX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.avro import BlockSchema

RECORD: Final = "ses_event"
ID: Final = "id_first"
"""The first 8 bytes of `event_id`, as the bits of a float."""
_ID_REST: Final = "id_rest"
_ALWAYS: Final[dict[str, pl.DataType]] = {
    ID: pl.Float64(),
    "event_time": pl.Int64(),
    "sent_time": pl.Int64(),
    "tagged": pl.Boolean(),
    "message_id": pl.String(),
    "origin": pl.String(),
    "event_type": pl.String(),
    "bounce_type": pl.String(),
    "bounce_subtype": pl.String(),
    "complaint_type": pl.String(),
    "complaint_subtype": pl.String(),
    "machine_open": pl.Boolean(),
    "out_of_office": pl.Boolean(),
    "unsubscribed": pl.Boolean(),
    "recipients": pl.List(
        pl.Struct(
            {
                "address": pl.String,
                "provider": pl.String,
                "reports_complaints": pl.Boolean,
                "blocked": pl.Boolean,
            }
        )
    ),
}
_TAGS: Final[pl.DataType] = pl.List(pl.Struct({"name": pl.String, "values": pl.List(pl.String)}))


@dataclass(frozen=True, slots=True)
class Source:
    """A block of `ses.events` and where it was read."""

    partition: int
    offset: int
    block: Block


def read(sources: Sequence[Source], dimensions: tuple[str, ...]) -> pl.DataFrame:
    """All rows of the blocks, one after the other; blocks may be of several releases of the schema.

    Raises:
        MalformedBlock: when a block's rows do not decode; the caller finds out which with `check`.
    """
    if any(source.block.schema.record != RECORD for source in sources):
        raise MalformedBlock(f"a block of another record than {RECORD}")
    frames = []
    start = 0
    for end in range(1, len(sources) + 1):
        schema = sources[start].block.schema
        if end == len(sources) or sources[end].block.schema is not schema:
            frames.append(_read_alike([source.block for source in sources[start:end]], dimensions))
            start = end
    return frames[0] if len(frames) == 1 else pl.concat(frames, how="diagonal_relaxed")


def check(source: Source) -> None:
    """Find out whether a block's rows decode.

    Raises:
        MalformedBlock: if they do not.
    """
    read([source], (*DIMENSIONS, TAG_PREFIX))


def _read_alike(blocks: Sequence[Block], dimensions: tuple[str, ...]) -> pl.DataFrame:
    height = sum(block.count for block in blocks)
    wanted = columns_of(dimensions)
    if not height:
        kinds: dict[str, pl.DataType] = {name: _TAGS if name == "tags" else pl.String() for name in wanted}
        return pl.DataFrame(schema=_ALWAYS | kinds)
    schema = _readable(blocks[0].schema)
    data = container(replace(block, schema=schema) for block in blocks)
    try:
        frame = pl.read_avro(BytesIO(data), columns=[*_ALWAYS, *wanted])
    # polars raises what its Rust reader says: several unrelated types, and a panic on some damage.
    except (Exception, pl.exceptions.PanicException) as error:
        raise MalformedBlock(f"rows do not decode: {error!r}") from error
    if frame.height != height:
        raise MalformedBlock(f"{frame.height} rows where the header says {height}")
    return frame


@cache
def _readable(schema: BlockSchema) -> BlockSchema:
    """The same bytes said to be what is quick to read.

    16 fixed bytes are two floats of 8, which come as one array of bits instead of as an object a row (Avro 1.12,
    "Primitive Types": a double is 8 bytes, little-endian); timestamps are plain longs, whatever they say.
    """
    definition = json.loads(schema.json)
    fields = []
    for field in definition["fields"]:
        if field["name"] == "event_id":
            fields += [{"name": ID, "type": "double"}, {"name": _ID_REST, "type": "double"}]
        elif field["name"] in {"sent_time", "event_time"}:
            fields.append({"name": field["name"], "type": "long"})
        else:
            fields.append(field)
    return replace(schema, json=json.dumps(definition | {"fields": fields}, separators=(",", ":")))
