"""Blocks of `InboundMail`: their rows, with times in ms."""

from __future__ import annotations

from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from fastavro import parse_schema, schemaless_reader

from schemas.avro import newest
from schemas.blocks import Block, MalformedBlock

if TYPE_CHECKING:
    from schemas.avro import BlockSchema
    from schemas.mail import InboundMail

RECORD: Final = "inbound_mail"


def read(block: Block) -> list[InboundMail]:
    """The rows of a block, as of the newest release of their schema.

    Raises:
        MalformedBlock: when they do not decode.
    """
    if block.schema.record != RECORD:
        raise MalformedBlock(f"a block of {block.schema.record}, not of {RECORD}")
    written, reader = _plain(block.schema), _plain(newest(RECORD))
    stream = BytesIO(block.rows)
    try:
        rows: list[Any] = [
            schemaless_reader(stream, written, None if reader is written else reader)
            for _ in range(block.count)
        ]
    except Exception as error:
        raise MalformedBlock(f"rows do not decode: {error!r}") from error
    if stream.tell() != len(block.rows):
        raise MalformedBlock("bytes left after the last row")
    return rows


@cache
def _plain(schema: BlockSchema) -> Any:
    """A release whose times are plain longs: fastavro would make dates of them, and we numbers again."""
    return parse_schema(_without_logical_types(schema.item))


def _without_logical_types(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_logical_types(each) for each in node]
    if isinstance(node, dict):
        return {
            key: _without_logical_types(value)
            for key, value in node.items()
            if key not in ("logicalType", "__fastavro_parsed__", "__named_schemas")
        }
    return node
