"""The block codec: many rows in one Kafka record.

A block is an Avro array of one record type behind a header that names its schema: Avro single-object encoding
(`C3 01`, then the schema's fingerprint; Avro 1.12, "Single-object encoding"), or Confluent's wire format (`00`, then
the 4-byte big-endian id a registry gave) when one is configured. The array is always written as exactly one Avro
array block, `[count][rows][0]`, whose rows are byte for byte an object-container block: `container` splices blocks
into a file that polars and ClickHouse read, without decoding a row.

    BlockError
     ├─ UnknownSchema    the header names a schema that is not released (or not registered)
     └─ MalformedBlock   the bytes are not a block
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, Protocol

from fastavro import schemaless_reader

from schemas.avro import BlockSchema, by_fingerprint, newest
from schemas.rows import Encoder, encoder, varint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MAX_ROWS: Final = 500
"""Rows in a block at the most: a Faust agent's unit of work stays a few milliseconds."""
MAX_BYTES: Final = 256 * 1024
"""Encoded rows in a block at the most; only a single row larger than that makes a larger block."""
MAX_ROW_BYTES: Final = 3 * 1024 * 1024
"""A single row at the most: a Kafka record of 4 MiB (`max.message.bytes`) fits it and a full block."""

_SINGLE_OBJECT: Final = b"\xc3\x01"
_CONFLUENT: Final = 0
_CONTAINER_MAGIC: Final = b"Obj\x01"


class BlockError(ValueError):
    """A Kafka record that is not a block we can read."""


class UnknownSchema(BlockError):  # noqa: N818 - named by what it says, like its siblings
    """The header names a schema that nobody released."""


class MalformedBlock(BlockError):  # noqa: N818
    """The bytes are not a block."""


class Framing(Protocol):
    """The header of a block: how a schema is named on the wire."""

    def header(self, schema: BlockSchema) -> bytes:
        """The bytes that name a schema."""

    def resolve(self, data: bytes) -> tuple[BlockSchema, int]:
        """The writer's schema of a block, and where its array begins.

        Raises:
            UnknownSchema: when the header names no known schema.
            MalformedBlock: when there is no header.
        """


class SingleObject:
    """Avro single-object encoding: needs no registry."""

    def header(self, schema: BlockSchema) -> bytes:
        """`C3 01` and the fingerprint."""
        return _SINGLE_OBJECT + schema.fingerprint

    def resolve(self, data: bytes) -> tuple[BlockSchema, int]:
        """Look the fingerprint up among the released schemas."""
        if data[:2] != _SINGLE_OBJECT or len(data) < 10:  # noqa: PLR2004 - 2 bytes of marker, 8 of fingerprint
            raise MalformedBlock("no Avro single-object header")
        schema = by_fingerprint().get(data[2:10])
        if schema is None:
            raise UnknownSchema(f"no released schema has fingerprint {data[2:10].hex()}")
        return schema, 10


class SchemaIds(Protocol):
    """A schema registry, as far as blocks need it (see `connectors.registry`)."""

    def id_of(self, schema: BlockSchema) -> int:
        """The id under which the array of a schema is registered; registers it the first time."""

    def schema_of(self, schema_id: int) -> BlockSchema:
        """The schema with an id.

        Raises:
            UnknownSchema: when the registry does not know it, or it is not the array of a record.
        """


@dataclass(frozen=True, slots=True)
class Confluent:
    """Confluent's wire format: magic byte 0 and the id in a registry."""

    registry: SchemaIds

    def header(self, schema: BlockSchema) -> bytes:
        """`00` and the id."""
        return bytes([_CONFLUENT]) + self.registry.id_of(schema).to_bytes(4, "big")

    def resolve(self, data: bytes) -> tuple[BlockSchema, int]:
        """Ask the registry for the id."""
        if len(data) < 5 or data[0] != _CONFLUENT:  # noqa: PLR2004 - 1 byte of magic, 4 of id
            raise MalformedBlock("no Confluent header")
        return self.registry.schema_of(int.from_bytes(data[1:5], "big")), 5


SINGLE_OBJECT: Final = SingleObject()


@dataclass(frozen=True, slots=True)
class Block:
    """An opened block: nothing is decoded yet."""

    schema: BlockSchema
    """The writer's schema."""
    count: int
    """Number of rows."""
    rows: bytes
    """The encoded rows, one after the other."""


@cache
def _encoder(schema: BlockSchema) -> Encoder:
    return encoder(schema.item)


class RowTooLarge(ValueError):  # noqa: N818
    """A row that no Kafka record has room for."""


class BlockBuilder:
    """Gathers encoded rows until they make a block."""

    __slots__ = ("_encode", "_framing", "_rows", "_schema", "count", "size")

    def __init__(self, schema: BlockSchema, framing: Framing = SINGLE_OBJECT) -> None:
        self._schema = schema
        self._encode = _encoder(schema)
        self._framing = framing
        self._rows: list[bytes] = []
        self.count = 0
        self.size = 0
        """Bytes of rows so far."""

    @property
    def full(self) -> bool:
        """Whether another row belongs in another block."""
        return self.count >= MAX_ROWS or self.size >= MAX_BYTES

    def add(self, row: Mapping[str, Any]) -> None:
        """Encode a row.

        Raises:
            ValueError: if the row does not fit the schema, or (`RowTooLarge`) encodes to more than
                `MAX_ROW_BYTES`; the block is then as it was before.
        """
        try:
            data = self._encode(row)
        except Exception as error:
            raise ValueError(f"row does not fit {self._schema.record}: {error!r}") from error
        if len(data) > MAX_ROW_BYTES:
            raise RowTooLarge(f"row of {len(data)} bytes; a block has room for {MAX_ROW_BYTES}")
        self._rows.append(data)
        self.count += 1
        self.size += len(data)

    def take(self) -> bytes:
        """The finished block; the builder is empty again."""
        data = b"".join((self._framing.header(self._schema), varint(self.count), *self._rows, b"\0"))
        self._rows = []
        self.count = self.size = 0
        return data


def encode(record: str, rows: Sequence[Mapping[str, Any]], framing: Framing = SINGLE_OBJECT) -> bytes:
    """One block of all the rows under the newest schema of a record, whatever their number."""
    builder = BlockBuilder(newest(record), framing)
    for row in rows:
        builder.add(row)
    return builder.take()


def open_block(data: bytes, framing: Framing = SINGLE_OBJECT) -> Block:
    """Read a block's header and row count.

    Raises:
        BlockError: when the bytes are not a block of a known schema.
    """
    schema, start = framing.resolve(data)
    count, start = _read_varint(data, start)
    if count < 0 or data[-1:] != b"\0" or start >= len(data):
        raise MalformedBlock("the array is not written as a single Avro block")
    if count == 0 and start != len(data) - 1:
        raise MalformedBlock("an empty array with rows")
    return Block(schema, count, data[start:-1])


def decode(data: bytes, framing: Framing = SINGLE_OBJECT) -> list[dict[str, Any]]:
    """Decode every row, resolved to the newest schema of its record (for tests and small topics; slow).

    Raises:
        BlockError: when the bytes are not a block of a known schema.
    """
    block = open_block(data, framing)
    stream = BytesIO(block.rows)
    reader = newest(block.schema.record).item
    try:
        rows: list[dict[str, Any]] = [
            schemaless_reader(stream, block.schema.item, reader) for _ in range(block.count)
        ]
    except Exception as error:
        raise MalformedBlock(f"rows do not decode: {error!r}") from error
    if stream.tell() != len(block.rows):
        raise MalformedBlock("bytes left after the last row")
    return rows


def container(blocks: Iterable[Block]) -> bytes:
    """Splice blocks of one writer schema into an Avro object container (Avro 1.12, "Object Container Files").

    Raises:
        ValueError: when the blocks have different schemas, or there are none.
    """
    chosen = [block for block in blocks if block.count]
    if not chosen or any(block.schema.fingerprint != chosen[0].schema.fingerprint for block in chosen):
        raise ValueError("a container holds at least one block, all of one schema")
    sync = os.urandom(16)
    schema = chosen[0].schema.json.encode()
    key, codec = b"avro.schema", b"avro.codec"
    parts = [
        _CONTAINER_MAGIC,
        varint(2),
        *(varint(len(key)), key, varint(len(schema)), schema),
        *(varint(len(codec)), codec, varint(4), b"null"),
        b"\0",
        sync,
    ]
    for block in chosen:
        parts += (varint(block.count), varint(len(block.rows)), block.rows, sync)
    return b"".join(parts)


def _read_varint(data: bytes, start: int) -> tuple[int, int]:
    """An Avro long and where it ends."""
    value = shift = 0
    for position in range(start, min(start + 10, len(data))):
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return (value >> 1) ^ -(value & 1), position + 1
        shift += 7
    raise MalformedBlock("no row count")
