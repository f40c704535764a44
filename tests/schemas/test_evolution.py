"""Released schemas never change, and every release reads what any other wrote."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from importlib import resources
from io import BytesIO
from typing import Any, get_args, get_origin, get_type_hints

import fastavro
import pytest
from fastavro.validation import validate

from schemas import avro
from schemas.avro import RECORDS, BlockSchema, by_fingerprint, newest, released
from schemas.counters import COUNTERS
from schemas.dead_letters import DeadLetter, dead_letter
from schemas.events import SesEvent

PAIRS = [
    pytest.param(writer, reader, id=f"{record}-v{writer.version}-as-v{reader.version}")
    for record in RECORDS
    for writer, reader in itertools.product(released(record), repeat=2)
]


def _released_digests() -> dict[str, str]:
    text = (resources.files(avro) / "RELEASED").read_text("utf-8")
    return {path: digest for digest, path in (line.split() for line in text.splitlines())}


def test_a_released_schema_never_changes() -> None:
    """A changed schema is a new file; then its digest is added to schemas/avro/RELEASED (sha256sum)."""
    folder = resources.files(avro)
    digests = {
        f"{record}/v{schema.version}.avsc": hashlib.sha256(
            (folder / record / f"v{schema.version}.avsc").read_bytes()
        ).hexdigest()
        for record in RECORDS
        for schema in released(record)
    }
    assert digests == _released_digests()


def test_versions_count_up_from_one() -> None:
    for record in RECORDS:
        assert [schema.version for schema in released(record)] == list(range(1, len(released(record)) + 1))


def test_every_release_has_a_fingerprint_of_its_own() -> None:
    assert len(by_fingerprint()) == sum(len(released(record)) for record in RECORDS)


def _sample(kind: Any, salt: int) -> Any:
    """A value of a type that differs from every default."""
    if isinstance(kind, list):
        return _sample(kind[-1], salt)
    if isinstance(kind, dict):
        match kind["type"]:
            case "record":
                return {f["name"]: _sample(f["type"], salt + i) for i, f in enumerate(kind["fields"])}
            case "array":
                return [_sample(kind["items"], salt), _sample(kind["items"], salt + 1)]
            case "fixed":
                return bytes([salt % 251 + 1]) * kind["size"]
    name = kind["type"] if isinstance(kind, dict) else kind
    samples = {"boolean": True, "double": salt + 0.5, "string": f"s{salt}", "bytes": b"b%d" % salt}
    return samples.get(name, salt + 1)


def _definition(schema: BlockSchema) -> Any:
    return json.loads((resources.files(avro) / schema.record / f"v{schema.version}.avsc").read_text("utf-8"))


def _without_logical_types(schema: BlockSchema) -> Any:
    """So that times read as the numbers they are on the wire."""
    return json.loads(re.sub(r', "logicalType": "[a-z-]+"', "", json.dumps(_definition(schema))))


@pytest.mark.parametrize(("writer", "reader"), PAIRS)
def test_every_release_reads_every_other(writer: BlockSchema, reader: BlockSchema) -> None:
    wrote, wants = _without_logical_types(writer), _without_logical_types(reader)
    row = _sample(wrote, 1)
    stream = BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(wrote), row)
    stream.seek(0)
    read = fastavro.schemaless_reader(stream, fastavro.parse_schema(wrote), fastavro.parse_schema(wants))
    for field in wants["fields"]:
        name = field["name"]
        if name in row and not isinstance(row[name], list):
            assert read[name] == row[name], name
        elif name not in row:
            assert read[name] == field["default"], name
        else:
            assert len(read[name]) == len(row[name]), name
    assert stream.read() == b""


@pytest.mark.parametrize("record", RECORDS)
def test_polars_can_read_it(record: str) -> None:
    """Polars reads no maps and no unions of more than null and one type."""

    def walk(node: Any) -> None:
        if isinstance(node, list):
            assert len(node) == 2
            assert node[0] == "null"
        elif isinstance(node, dict):
            assert node["type"] != "map"
            for key in ("items", "type"):
                walk(node.get(key))
            for field in node.get("fields", ()):
                walk(field["type"])

    walk(_definition(newest(record)))


@pytest.mark.parametrize("record", ["count_delta", "rate_row"])
def test_the_counters_are_in_step(record: str) -> None:
    names = [field["name"] for field in _definition(newest(record))["fields"]]
    start = names.index(COUNTERS[0])
    assert tuple(names[start : start + len(COUNTERS)]) == COUNTERS


def test_the_counters_of_clickhouse_are_in_step() -> None:
    files = resources.files("schemas") / "clickhouse"
    texts = [entry.read_text("utf-8") for entry in files.iterdir() if entry.name.endswith(".sql")]
    statement = re.compile(r"CREATE TABLE[^;]*\brate_rows\b[^;]*;", re.IGNORECASE)
    (table,) = [match for text in texts for match in statement.findall(text)]
    columns = re.findall(r"^\s+`?(\w+)`?\s+(?:\w+\(.*)?U?Int64", table, re.MULTILINE)
    assert [name for name in columns if name in COUNTERS] == list(COUNTERS)


AVRO_TYPES = {str: "string", int: "long", bool: "boolean", bytes: "bytes"}


def _matches(hint: Any, kind: Any) -> bool:
    if isinstance(kind, dict) and "logicalType" in kind:
        kind = kind["type"]
    if get_origin(hint) is list:
        return bool(kind["type"] == "array") and _matches(get_args(hint)[0], kind["items"])
    if hint is bytes and isinstance(kind, dict):
        return bool(kind["type"] == "fixed")
    if hint in AVRO_TYPES:
        return bool(kind == AVRO_TYPES[hint])
    fields = {field["name"]: field["type"] for field in kind["fields"]}
    hints = get_type_hints(hint)
    return list(hints) == list(fields) and all(_matches(hints[name], fields[name]) for name in fields)


@pytest.mark.parametrize(("typed", "record"), [(SesEvent, "ses_event"), (DeadLetter, "dead_letter")])
def test_the_typed_rows_are_in_step_with_avro(typed: type, record: str) -> None:
    assert _matches(typed, _definition(newest(record)))


def test_a_dead_letter_fits_its_schema_and_keeps_its_identity() -> None:
    def rejected(time: int, detail: str, source: str) -> DeadLetter:
        payload = b"x" * 70_000
        return dead_letter(
            time=time, stage="parse", cause="bad", detail=detail, source=source, payload=payload
        )

    first = rejected(1, "d" * 9000, "file:///a#1")
    again = rejected(2, "other words", "file:///a#1")
    other = rejected(1, "d", "file:///a#2")
    assert validate(first, newest("dead_letter").item)
    assert first["dead_letter_id"] == again["dead_letter_id"] != other["dead_letter_id"]
    assert (len(first["payload"]), first["payload_size"], len(first["detail"])) == (65_536, 70_000, 4096)
