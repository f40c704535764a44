"""Blocks of a record to columns."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from schemas.blocks import Block, MalformedBlock, container

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Schema = dict[str, pl.DataType]
_PLACE: Final[Schema] = {"record": pl.Int64()}


def read(
    blocks: Sequence[Block], record: str, schema: Schema, later: Mapping[str, int] | None = None
) -> pl.DataFrame:
    """The rows of blocks, in order, with `record`: the index of the block they came in.

    Args:
        blocks: of any releases of the record.
        record: whose blocks they must be.
        schema: columns and their types.
        later: columns that a release after the first brought, and which; before they are false, or 0.

    Raises:
        MalformedBlock: when rows do not decode.
    """
    for block in blocks:
        if block.schema.record != record:
            raise MalformedBlock(f"a block of {block.schema.record}, not of {record}")
    frames = [pl.DataFrame(schema=_PLACE | schema)]
    start = 0
    for end in range(1, len(blocks) + 1):
        if end == len(blocks) or blocks[end].schema is not blocks[start].schema:
            frames.append(_read_alike(blocks[start:end], start, schema, later or {}))
            start = end
    return pl.concat(frames)


def _read_alike(
    blocks: Sequence[Block], first: int, schema: Schema, later: Mapping[str, int]
) -> pl.DataFrame:
    """Rows of blocks of one release of the schema, the first of which has that index."""
    height = sum(block.count for block in blocks)
    if not height:
        return pl.DataFrame(schema=_PLACE | schema)
    version = blocks[0].schema.version
    columns = [name for name in schema if later.get(name, 1) <= version]
    try:
        frame = pl.read_avro(BytesIO(container(blocks)), columns=columns)
    # polars raises what its Rust reader says: several unrelated types, and a panic on some damage.
    except (Exception, pl.exceptions.PanicException) as error:
        raise MalformedBlock(f"rows do not decode: {error!r}") from error
    if frame.height != height:
        raise MalformedBlock(f"{frame.height} rows where the headers say {height}")
    record = np.repeat(np.arange(first, first + len(blocks)), [block.count for block in blocks])
    missing = [pl.lit(0).cast(schema[name]).alias(name) for name in schema if name not in columns]
    return frame.with_columns(pl.Series("record", record, dtype=pl.Int64), *missing).select(*_PLACE, *schema)
