"""Rows are encoded as fastavro encodes them, and what it refuses is refused."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from fastavro import schemaless_writer
from hypothesis import given
from hypothesis import strategies as st

from schemas.avro import RECORDS, load, newest
from schemas.blocks import MAX_ROW_BYTES, BlockBuilder, RowTooLarge, decode
from schemas.dead_letters import dead_letter
from schemas.rows import Constant, encoder, varint

SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "string": st.text(max_size=100) | st.sampled_from(["", "ses:from-domain", "us-east-1"]),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1) | st.integers(-70, 9000),
    "boolean": st.booleans(),
    "bytes": st.binary(max_size=300),
    "double": st.floats(allow_nan=False),
    "null": st.none(),
}


def strategy(schema: Any) -> st.SearchStrategy[Any]:
    if isinstance(schema, list):
        return st.one_of(map(strategy, schema))
    kind = schema["type"] if isinstance(schema, dict) else schema
    if kind == "record":
        return st.fixed_dictionaries({each["name"]: strategy(each["type"]) for each in schema["fields"]})
    if kind == "array":
        return st.lists(strategy(schema["items"]), max_size=4)
    if kind == "fixed":
        return st.binary(min_size=schema["size"], max_size=schema["size"])
    return SCALARS[kind]


ROWS = {name: strategy(newest(name).item) for name in RECORDS}
ENCODERS = {name: encoder(newest(name).item) for name in RECORDS}


def reference(item: Any, row: Any) -> bytes:
    stream = BytesIO()
    schemaless_writer(stream, item, row)
    return stream.getvalue()


@pytest.mark.parametrize("name", RECORDS)
@given(data=st.data())
def test_bytes_are_those_of_fastavro(name: str, data: st.DataObject) -> None:
    row = data.draw(ROWS[name])
    assert ENCODERS[name](row) == reference(newest(name).item, row)


BAD_VALUES = st.sampled_from(
    [None, 1.5, True, 7, 2**63, -(2**63) - 1, "text", b"bytes", "\ud800", b"x" * 15, [], [1], {}, ["\udcff"]]
)


@pytest.mark.parametrize("name", RECORDS)
@given(data=st.data())
def test_a_value_of_another_type_has_the_outcome_it_has_in_fastavro(name: str, data: st.DataObject) -> None:
    item = newest(name).item
    row = data.draw(ROWS[name])
    row[data.draw(st.sampled_from(sorted(row)))] = data.draw(BAD_VALUES)
    try:
        expected = reference(item, row)
    except Exception:  # noqa: BLE001 - any refusal will do
        with pytest.raises(Exception):  # noqa: B017, PT011 - likewise
            ENCODERS[name](row)
    else:
        assert ENCODERS[name](row) == expected


def test_an_absent_field_gets_its_default() -> None:
    row = {
        "time": 5,
        "stage": "read",
        "cause": "x",
        "dead_letter_id": b"i" * 16,
        "detail": "",
        "source": "",
        "payload": b"",
    }
    item = newest("dead_letter").item
    assert ENCODERS["dead_letter"](row) == reference(item, row)


@pytest.mark.parametrize("kind", ["double", ["null", "string"], {"type": "map", "values": "long"}])
def test_types_that_are_not_covered_are_left_to_fastavro(kind: Any) -> None:
    schema = load("x", '{"type":"record","name":"X","fields":[{"name":"a","type":"long"}]}', 1)
    field = {"name": "b", "type": kind}
    item = load("y", _record([{"name": "a", "type": "long"}, field]), 1).item
    row = {"a": 1, "b": {"double": 2.5}.get(str(kind), {"k": 1} if isinstance(kind, dict) else "s")}
    assert encoder(item)(row) == reference(item, row)
    assert encoder(schema.item)({"a": 3}) == b"\x06"


@given(data=st.data())
def test_a_constant_list_keeps_its_bytes_for_each_encoder(data: st.DataObject) -> None:
    item = newest("ses_event").item
    plain = data.draw(ROWS["ses_event"])
    row = {**plain, "tags": Constant(plain["tags"])}
    del row["reason"]  # fastavro writes its default
    plain["reason"] = ""
    numbers = load("n", _record([{"name": "tags", "type": {"type": "array", "items": "long"}}]), 1).item
    other = encoder(numbers)
    for _ in range(2):
        assert (
            ENCODERS["ses_event"](row)
            == ENCODERS["ses_event"]({**row, "reason": ""})
            == reference(item, plain)
        )
        if not plain["tags"]:
            assert other(row) == reference(numbers, plain)
        else:
            with pytest.raises(Exception):  # noqa: B017, PT011 - whatever fastavro raises
                other(row)


@given(rows=st.lists(st.tuples(*[st.sampled_from(["", "a", "b"]) | st.text(max_size=2)] * 2, st.booleans())))
def test_neighbours_that_are_remembered_keep_their_order(rows: list[tuple[str, str, bool]]) -> None:
    fields = [{"name": name, "type": "string"} for name in "ab"] + [{"name": "c", "type": "boolean"}]
    item = load("z", _record(fields), 1).item
    encode = encoder(item)
    for values in rows:
        row = dict(zip("abc", values, strict=True))
        assert encode(row) == reference(item, row)


def _record(fields: list[Any]) -> str:
    import json

    return json.dumps({"type": "record", "name": "Y", "fields": fields})


@given(st.integers(0, 2**62))
def test_varint(value: int) -> None:
    stream = BytesIO()
    schemaless_writer(stream, "long", value)
    assert varint(value) == stream.getvalue()


def test_a_refused_row_leaves_the_block_as_it_was() -> None:
    builder = BlockBuilder(newest("dead_letter"))
    good = dead_letter(time=1, stage="s", cause="c", detail="", source="", payload=b"p")
    builder.add(good)
    before = (builder.count, builder.size)
    with pytest.raises(ValueError, match="does not fit dead_letter"):
        builder.add({**good, "time": "soon"})
    with pytest.raises(RowTooLarge):
        builder.add({**good, "payload": bytes(MAX_ROW_BYTES)})
    assert (builder.count, builder.size) == before
    [row] = decode(builder.take())
    assert row["payload"] == b"p"
    assert (builder.count, builder.size) == (0, 0)
