"""The block codec: its bytes, its round trips, its refusals."""

from __future__ import annotations

import json
from importlib import resources
from io import BytesIO
from typing import Any

import fastavro
import polars as pl
import pytest
from fastavro.schema import to_parsing_canonical_form
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import avro, blocks
from schemas.avro import BlockSchema, by_fingerprint, load, newest, released
from schemas.blocks import (
    Block,
    BlockBuilder,
    BlockError,
    Confluent,
    MalformedBlock,
    UnknownSchema,
    container,
    decode,
    encode,
    open_block,
)

LONG = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
INTERVALS = ("complaint_rate_low", "complaint_rate_high", "hard_bounce_rate_low", "hard_bounce_rate_high")


def _value(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of an Avro type, as fastavro takes it."""
    if isinstance(kind, list):
        return st.one_of(*(_value(each) for each in kind))
    if isinstance(kind, dict):
        match kind["type"]:
            case "record":
                return st.fixed_dictionaries({f["name"]: _value(f["type"]) for f in kind["fields"]})
            case "array":
                return st.lists(_value(kind["items"]), max_size=3)
            case "fixed":
                return st.binary(min_size=kind["size"], max_size=kind["size"])
            case inner:
                return _value(inner)
    return {
        "null": st.none(),
        "boolean": st.booleans(),
        "int": st.integers(-(2**31), 2**31 - 1),
        "long": LONG,
        "double": st.floats(allow_nan=False),
        "string": TEXT,
        "bytes": st.binary(max_size=40),
    }[kind]


def _plain_times(schema: BlockSchema) -> Any:
    """The record's definition without logical types, so that any long is a time."""
    definition = json.loads(schema.json)
    return fastavro.parse_schema(to_plain(definition))


def to_plain(node: Any) -> Any:
    if isinstance(node, list):
        return [to_plain(each) for each in node]
    if isinstance(node, dict):
        return {key: to_plain(value) for key, value in node.items() if key != "logicalType"}
    return node


def rows_of(record: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(_value(json.loads(newest(record).json)), min_size=1, max_size=4)


def _read_plain(block: Block) -> list[Any]:
    stream, schema = BytesIO(block.rows), _plain_times(block.schema)
    return [fastavro.schemaless_reader(stream, schema, None) for _ in range(block.count)]


@pytest.mark.parametrize("record", ["ses_event", "count_delta", "rate_row", "dead_letter"])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_rows_survive_a_round_trip(record: str, data: st.DataObject) -> None:
    rows = data.draw(rows_of(record))
    block = open_block(encode(record, rows))
    assert block.schema is newest(record)
    assert _read_plain(block) == rows


@settings(max_examples=40, deadline=None)
@given(rows=rows_of("rate_row"))
def test_decode_gives_the_rows_back(rows: list[dict[str, Any]]) -> None:
    assert decode(encode("rate_row", rows)) == rows


@settings(max_examples=25, deadline=None)
@given(batches=st.lists(rows_of("count_delta"), min_size=1, max_size=4))
def test_a_container_of_blocks_holds_all_their_rows_for_every_reader(
    batches: list[list[dict[str, Any]]],
) -> None:
    spliced = container(open_block(encode("count_delta", rows)) for rows in batches)
    expected = [row for rows in batches for row in rows]
    assert list(fastavro.reader(BytesIO(spliced))) == expected
    assert pl.read_avro(BytesIO(spliced)).to_dicts() == expected


def event(**fields: Any) -> dict[str, Any]:
    defaults = {
        "event_id": bytes(16),
        "event_type": "Send",
        "event_time": 0,
        "sent_time": 0,
        "message_id": "m",
    }
    return defaults | fields


def test_polars_reads_events_with_their_nested_lists() -> None:
    recipient = {"address": "h", "domain": "example.org", "provider": "other"}
    tags = [{"name": "team", "values": ["a", "b"]}]
    rows = [event(recipients=[recipient, recipient], tags=tags), event(message_id="n", machine_open=True)]
    frame = pl.read_avro(BytesIO(container([open_block(encode("ses_event", rows))])))
    assert frame["message_id"].to_list() == ["m", "n"]
    assert frame["machine_open"].to_list() == [False, True]
    assert frame["recipients"].list.len().to_list() == [2, 0]
    assert frame["tags"].to_list()[0] == tags


# Avro 1.12, "Schema Fingerprints": Rabin fingerprint, bit by bit.
EMPTY = 0xC15D213AA4D7A795


def rabin(text: bytes) -> int:
    value = EMPTY
    for byte in text:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (EMPTY if value & 1 else 0)
    return value


def test_the_fingerprint_is_avros_own() -> None:
    # The value that the Avro project's test suites publish for "int".
    assert rabin(b'"int"') == 0x7275D51A3F395C8F
    for schema in by_fingerprint().values():
        canonical = to_parsing_canonical_form({"type": "array", "items": json.loads(schema.json)})
        assert schema.fingerprint == rabin(canonical.encode()).to_bytes(8, "little")


def test_the_bytes_of_a_block_are_pinned() -> None:
    row = {
        "source_partition": 1,
        "source_offset": 300,
        "dimension": "a",
        "value": "é",
        "hour": 3600,
        "sends": -1,
    }
    data = encode("count_delta", [row])
    header, count, terminator = bytes.fromhex("c301 0fc08f314b173524"), b"\x02", b"\0"
    body = (
        b"\x02" + b"\xd8\x04" + b"\x02a" + b"\x04\xc3\xa9" + b"\xa0\x38" + b"\x01" + bytes(14) + b"\0" + b"\0"
    )
    assert data == header + count + body + terminator


def test_an_avro_reader_that_knows_nothing_of_blocks_reads_the_array() -> None:
    rows = [event(message_id=str(number)) for number in range(3)]
    data = encode("ses_event", rows)
    array = fastavro.schemaless_reader(BytesIO(data[10:]), newest("ses_event").array, None)
    assert [row["message_id"] for row in array] == ["0", "1", "2"]


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=60))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(BlockError):
        open_block(data)


@settings(max_examples=150, deadline=None)
@given(cut=st.integers(0, 10_000), noise=st.binary(min_size=1, max_size=3))
def test_a_cut_or_stretched_block_is_refused(cut: int, noise: bytes) -> None:
    whole = encode(
        "rate_row", [{"dimension": "campaign", "value": "v", "hour": 3600, "version": 7, "sends": 12}] * 3
    )
    for damaged in (whole[: cut % len(whole)], whole + noise):
        with pytest.raises(BlockError):
            decode(damaged)


def test_an_unknown_fingerprint_is_told_apart_from_a_damaged_block() -> None:
    whole = bytearray(encode("rate_row", [{"dimension": "d", "value": "v", "hour": 0, "version": 1}]))
    whole[5] ^= 1
    with pytest.raises(UnknownSchema, match=whole[2:10].hex()):
        open_block(bytes(whole))
    with pytest.raises(MalformedBlock):
        open_block(b"\xc3\x02" + bytes(whole[2:]))


@pytest.mark.parametrize(
    "array",
    [
        b"\x01",  # a negative count: Avro's form with a byte size, which we never write
        b"\x80" * 12,  # a count without an end
        b"",
        b"\0\x02\0",  # no rows, yet bytes
        b"\x02ab",  # no end of the array
    ],
)
def test_an_array_that_is_not_written_as_ours_is_refused(array: bytes) -> None:
    with pytest.raises(MalformedBlock):
        open_block(blocks.SINGLE_OBJECT.header(newest("rate_row")) + array)


def test_a_row_that_does_not_fit_leaves_the_block_as_it_was() -> None:
    builder = BlockBuilder(newest("rate_row"))
    builder.add({"dimension": "d", "value": "kept", "hour": 0, "version": 1})
    size = builder.size
    with pytest.raises(ValueError, match="row does not fit rate_row"):
        builder.add({"dimension": "d", "value": "dropped", "hour": "not a number", "version": 1})
    assert (builder.count, builder.size) == (1, size)
    builder.add({"dimension": "d", "value": "too", "hour": 0, "version": 1})
    assert [row["value"] for row in decode(builder.take())] == ["kept", "too"]
    assert (builder.count, builder.size, builder.full) == (0, 0, False)


def test_a_block_is_full_by_rows_or_by_bytes() -> None:
    small, large = BlockBuilder(newest("rate_row")), BlockBuilder(newest("ses_event"))
    for _ in range(blocks.MAX_ROWS - 1):
        small.add({"dimension": "d", "value": "v", "hour": 0, "version": 1})
    assert not small.full
    small.add({"dimension": "d", "value": "v", "hour": 0, "version": 1})
    assert small.full
    large.add(event(link="x" * (blocks.MAX_BYTES - 200)))
    assert not large.full
    large.add(event(link="x" * 200))
    assert large.full


def test_a_container_is_of_one_schema_and_not_empty() -> None:
    rate = open_block(encode("rate_row", [{"dimension": "d", "value": "v", "hour": 0, "version": 1}]))
    empty = open_block(encode("rate_row", []))
    assert (empty.count, empty.rows) == (0, b"")
    with pytest.raises(ValueError, match="at least one block"):
        container([empty])
    with pytest.raises(ValueError, match="one schema"):
        container([rate, open_block(encode("ses_event", [event()]))])
    assert len(list(fastavro.reader(BytesIO(container([empty, rate, rate]))))) == 2


class Numbered:
    """A registry in memory."""

    def __init__(self) -> None:
        self.schemas: list[BlockSchema] = []

    def id_of(self, schema: BlockSchema) -> int:
        if schema not in self.schemas:
            self.schemas.append(schema)
        return 258 + self.schemas.index(schema)

    def schema_of(self, schema_id: int) -> BlockSchema:
        try:
            return self.schemas[schema_id - 258]
        except IndexError:
            raise UnknownSchema(f"no schema {schema_id}") from None


def test_confluent_framing_names_the_schema_by_its_id() -> None:
    framing = Confluent(Numbered())
    rows = [{"dimension": "d", "value": "v", "hour": 0, "version": 1}]
    data = encode("rate_row", rows, framing)
    assert data[:5] == b"\0\0\0\x01\x02"
    assert data[5:] == encode("rate_row", rows)[10:]
    assert decode(data, framing)[0]["value"] == "v"
    with pytest.raises(MalformedBlock):
        open_block(encode("rate_row", rows), framing)
    with pytest.raises(MalformedBlock):
        open_block(data, blocks.SINGLE_OBJECT)
    with pytest.raises(UnknownSchema):
        open_block(b"\0\0\0\x01\x03" + data[5:], framing)


def test_a_writer_of_an_older_schema_is_read_under_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    definition = json.loads((resources.files(avro) / "rate_row" / "v1.avsc").read_text("utf-8"))
    definition["fields"].append({"name": "replies", "type": "long", "default": 9})
    future = load("rate_row", json.dumps(definition), 99)
    row = {"dimension": "d", "value": "v", "hour": 0, "version": 1}
    old = encode("rate_row", [row])
    known = by_fingerprint() | {future.fingerprint: future}
    monkeypatch.setattr(blocks, "newest", lambda _record: future)
    monkeypatch.setattr(blocks, "by_fingerprint", lambda: known)
    assert decode(old)[0]["replies"] == 9
    assert decode(encode("rate_row", [row | {"replies": 3}]))[0]["replies"] == 3
    assert released("rate_row")[-1].fingerprint == open_block(old).schema.fingerprint
