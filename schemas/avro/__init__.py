"""The released Avro schemas: one folder a record, one `vN.avsc` a release, none ever changed once released.

A `BlockSchema` is the array of such a record: the unit that travels in one Kafka record (see `schemas.blocks`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

from fastavro import parse_schema
from fastavro.schema import fingerprint, to_parsing_canonical_form

RECORDS: Final = (
    "ses_event",
    "count_delta",
    "recount_request",
    "recount_row",
    "rate_row",
    "dead_letter",
    "alarm",
    "alarm_order",
    "alarm_action",
    "inbound_mail",
    "outbound_message",
    "thread_member",
    "dmarc_record",
    "tls_result",
    "mail_forward",
)


@dataclass(frozen=True, slots=True, eq=False)
class BlockSchema:
    """One release of a record, and of the array of it."""

    record: str
    """Folder name, such as `ses_event`."""
    version: int
    json: str
    """The record's schema as a writer states it in a container header: with logical types, without defaults and
    docs (a reader's business; and polars refuses some defaults)."""
    item: Any
    """The record's schema, parsed by fastavro."""
    array: Any
    """The array's schema, parsed by fastavro."""
    fingerprint: bytes
    """CRC-64-AVRO of the array's parsing canonical form, little-endian (Avro 1.12, "Schema Fingerprints")."""


def load(record: str, text: str, version: int) -> BlockSchema:
    """Parse the text of a record's schema.

    Raises:
        fastavro.schema.SchemaParseException: if it is not a schema.
    """
    definition = json.loads(text)
    array = {"type": "array", "items": definition}
    crc = fingerprint(to_parsing_canonical_form(array), "CRC-64-AVRO")
    return BlockSchema(
        record=record,
        version=version,
        json=json.dumps(_without_defaults(definition), separators=(",", ":")),
        item=parse_schema(definition),
        array=parse_schema(array),
        fingerprint=bytes.fromhex(crc),
    )


def _without_defaults(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_defaults(item) for item in node]
    if isinstance(node, dict):
        return {key: _without_defaults(value) for key, value in node.items() if key not in ("default", "doc")}
    return node


@cache
def released(record: str) -> tuple[BlockSchema, ...]:
    """Every release of a record, oldest first."""
    folder = resources.files(__name__) / record
    files = sorted(
        (int(entry.name.removeprefix("v").removesuffix(".avsc")), entry)
        for entry in folder.iterdir()
        if entry.name.endswith(".avsc")
    )
    return tuple(load(record, entry.read_text("utf-8"), version) for version, entry in files)


@cache
def newest(record: str) -> BlockSchema:
    """The release that is written today."""
    return released(record)[-1]


@cache
def by_fingerprint() -> dict[bytes, BlockSchema]:
    """Every release of every record by its fingerprint; among equals the newest."""
    return {schema.fingerprint: schema for record in RECORDS for schema in released(record)}
