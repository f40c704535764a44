"""The schema registry client against a server that speaks Confluent's API."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import TYPE_CHECKING, Any

import fastavro
import polars as pl
import pytest

from connectors.errors import BrokerError, SettingsError
from connectors.registry import SchemaRegistry, subject
from schemas.avro import newest
from schemas.blocks import Confluent, UnknownSchema, container, decode, encode, open_block

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.sockets
ROW = {"dimension": "campaign", "value": "welcome", "hour": 3600, "version": 4, "sends": 10}


@dataclass
class Registry:
    """What the server has been told and asked."""

    port: int = 0
    credentials: str = ""
    schemas: list[str] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    refuse: tuple[int, bytes] | None = None

    def post(self, body: dict[str, Any]) -> tuple[int, Any]:
        fastavro.parse_schema(json.loads(body["schema"]))
        if body["schema"] not in self.schemas:
            self.schemas.append(body["schema"])
        return 200, {"id": 100 + self.schemas.index(body["schema"])}

    def get(self, path: str) -> tuple[int, Any]:
        number = int(path.rpartition("/")[2]) - 100
        if not path.startswith("/schemas/ids/") or not 0 <= number < len(self.schemas):
            return 404, {"error_code": 40403, "message": "Schema not found"}
        return 200, {"schema": self.schemas[number]}


def _handler(registry: Registry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def answer(self, status: int, body: Any) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

        def handle_any(self) -> None:
            registry.requests.append((self.command, self.path))
            data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers.get("Authorization", "") != registry.credentials:
                self.answer(401, {"error_code": 401, "message": "Unauthorized"})
            elif registry.refuse:
                self.answer(*registry.refuse)
            else:
                self.answer(
                    *(registry.get(self.path) if self.command == "GET" else registry.post(json.loads(data)))
                )

        do_GET = do_POST = handle_any  # noqa: N815 - http.server names them

    return Handler


@pytest.fixture
def registry() -> Iterator[Registry]:
    state = Registry()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(state)) as server:
        state.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        server.shutdown()
        thread.join()


@pytest.fixture
def client(registry: Registry) -> SchemaRegistry:
    return SchemaRegistry(f"http://127.0.0.1:{registry.port}/")


def test_blocks_cross_the_registry_from_one_process_to_another(
    registry: Registry, client: SchemaRegistry
) -> None:
    data = encode("rate_row", [ROW], Confluent(client))
    assert data[:5] == b"\0\0\0\0\x64"
    reader = Confluent(SchemaRegistry(f"http://127.0.0.1:{registry.port}"))
    assert decode(data, reader)[0]["value"] == "welcome"
    assert open_block(data, reader).schema is newest("rate_row")


def test_each_schema_is_asked_for_once(registry: Registry, client: SchemaRegistry) -> None:
    for _ in range(3):
        assert client.schema_of(client.id_of(newest("rate_row"))) is newest("rate_row")
    assert client.id_of(newest("ses_event")) == 101
    assert registry.requests == [
        ("POST", "/subjects/ses_streams.RateRow-blocks/versions"),
        ("GET", "/schemas/ids/100"),
        ("POST", "/subjects/ses_streams.SesEvent-blocks/versions"),
    ]
    assert subject(newest("ses_event")) == "ses_streams.SesEvent-blocks"


def test_what_is_registered_is_the_array_of_the_record(registry: Registry, client: SchemaRegistry) -> None:
    data = encode("rate_row", [ROW, ROW], Confluent(client))
    schema = fastavro.parse_schema(json.loads(registry.schemas[0]))
    rows = fastavro.schemaless_reader(BytesIO(data[5:]), schema, None)
    assert [row["sends"] for row in rows] == [10, 10]


def test_a_release_newer_than_ours_is_spliced_with_its_own_schema(
    registry: Registry, client: SchemaRegistry
) -> None:
    definition = json.loads(newest("rate_row").json)
    definition["fields"].insert(3, {"name": "replies", "type": "long", "default": 0})
    array = {"type": "array", "items": definition}
    registry.schemas.append(json.dumps(array))
    stream = BytesIO()
    nulls = dict.fromkeys([f["name"] for f in definition["fields"] if isinstance(f["type"], list)])
    counters = {f["name"]: 0 for f in definition["fields"] if f["type"] == "long"}
    fastavro.schemaless_writer(
        stream, fastavro.parse_schema(array), [counters | nulls | ROW | {"replies": 5}]
    )
    framing = Confluent(client)
    data = b"\0\0\0\0\x64" + stream.getvalue()
    frame = pl.read_avro(BytesIO(container([open_block(data, framing)])))
    assert frame.select("value", "replies", "sends").row(0) == ("welcome", 5, 10)
    assert decode(data, framing)[0]["sends"] == 10
    assert "replies" not in decode(data, framing)[0]


@pytest.mark.parametrize(
    "schema",
    [
        '"string"',
        '{"type": "array", "items": "long"}',
        "not json",
        '{"type": "array", "items": {"type": "record"}}',
        '{"type": "array", "items": {"type": "record", "name": "Other", "namespace": "x", "fields": []}}',
    ],
)
def test_a_strangers_schema_is_unknown(registry: Registry, client: SchemaRegistry, schema: str) -> None:
    registry.schemas.append(schema)
    with pytest.raises(UnknownSchema, match="not the array of a record of ours"):
        client.schema_of(100)


def test_an_id_nobody_registered_is_unknown(client: SchemaRegistry) -> None:
    with pytest.raises(UnknownSchema, match="has no schema 7"):
        client.schema_of(7)


def test_credentials_come_from_the_url_and_show_in_no_error(registry: Registry) -> None:
    registry.credentials = "Basic a2V5OnMzY3IvZXQ="  # key:s3cr/et
    allowed = SchemaRegistry(f"http://key:s3cr%2Fet@127.0.0.1:{registry.port}")
    assert allowed.id_of(newest("rate_row")) == 100
    with pytest.raises(BrokerError, match="check the user and password") as caught:
        SchemaRegistry(f"http://key:wr0ng@127.0.0.1:{registry.port}").id_of(newest("rate_row"))
    assert "wr0ng" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (
            409,
            b'{"error_code": 409, "message": "incompatible with an earlier schema"}',
            "409: incompatible with",
        ),
        (500, b"<html>", "answers 500"),
        (200, b"<html>", "does not answer"),
        (200, b"[]", "not a schema registry"),
        (200, b"{}", "no id"),
    ],
)
def test_trouble_is_one_sentence(
    registry: Registry, client: SchemaRegistry, status: int, body: bytes, says: str
) -> None:
    registry.refuse = (status, body)
    with pytest.raises(BrokerError, match=says) as caught:
        client.id_of(newest("rate_row"))
    assert "\n" not in str(caught.value)


def test_nobody_there_is_one_sentence_and_is_asked_again_later(registry: Registry) -> None:
    gone = SchemaRegistry("http://127.0.0.1:1", timeout_s=1)
    with pytest.raises(BrokerError, match=r"at http://127\.0\.0\.1:1 does not answer"):
        gone.id_of(newest("rate_row"))
    with pytest.raises(SettingsError, match="not a URL"):
        SchemaRegistry("registry:8081")
