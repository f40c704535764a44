"""A Confluent-compatible schema registry, as far as blocks need it.

Subjects follow the record-name strategy: `ses_streams.RateRow-blocks` holds the array of `RateRow`, whichever
topic it travels in (a topic of ours carries one record type, but a schema outlives a topic's name).
Credentials stand in the URL: `https://key:secret@registry.example.org`.

    POST /subjects/SUBJECT/versions  {"schema": "…"}  →  {"id": 7}
    GET  /schemas/ids/7                               →  {"schema": "…"}
"""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from http.client import HTTPException
from threading import Lock
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from fastavro.schema import SchemaParseException

from connectors.errors import BrokerError, SettingsError
from schemas.avro import RECORDS, BlockSchema, by_fingerprint, load, released
from schemas.blocks import UnknownSchema

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTENT_TYPE: Final = "application/vnd.schemaregistry.v1+json"
TIMEOUT_S: Final = 10
_NOT_FOUND: Final = 404
_REFUSED: Final = (401, 403)


class SchemaRegistry:
    """A client that remembers what it asked; implements `schemas.blocks.SchemaIds`. Threads may share it."""

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise SettingsError("kafka.schema_registry is not a URL: write http://host:8081 or https://…")
        host = parts.netloc.rpartition("@")[2]
        self._url = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
        self._headers = {"Content-Type": CONTENT_TYPE, "Accept": CONTENT_TYPE}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode("ascii")
        self._timeout_s = timeout_s
        self._lock = Lock()
        self._ids: dict[bytes, int] = {}
        self._schemas: dict[int, BlockSchema] = {}

    def id_of(self, schema: BlockSchema) -> int:
        """The id of the array of a schema; registers it the first time.

        Raises:
            BrokerError: when the registry does not answer, or refuses the schema.
        """
        with self._lock:
            if schema.fingerprint not in self._ids:
                body = {"schema": json.dumps({"type": "array", "items": json.loads(schema.json)})}
                answer = self._ask(f"/subjects/{quote(subject(schema), safe='')}/versions", body)
                self._ids[schema.fingerprint] = _number(answer, "id")
            return self._ids[schema.fingerprint]

    def schema_of(self, schema_id: int) -> BlockSchema:
        """The schema with an id.

        Raises:
            UnknownSchema: when the registry does not know it, or it is not the array of a record of ours.
            BrokerError: when the registry does not answer.
        """
        with self._lock:
            if schema_id not in self._schemas:
                answer = self._ask(f"/schemas/ids/{schema_id}", None)
                if answer is None:
                    raise UnknownSchema(f"the schema registry has no schema {schema_id}")
                self._schemas[schema_id] = _block_schema(schema_id, answer.get("schema"))
            return self._schemas[schema_id]

    def _ask(self, path: str, body: Mapping[str, str] | None) -> dict[str, Any] | None:
        """A request's answer; None when a GET finds nothing."""
        data = None if body is None else json.dumps(body).encode()
        url = self._url + path
        request = urllib.request.Request(url, data=data, headers=self._headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s) as response:  # noqa: S310
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == _NOT_FOUND and body is None:
                    return None
                raise self._refusal(error) from None
        except (OSError, HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise BrokerError(f"the schema registry at {self._url} does not answer: {reason}") from None
        if not isinstance(answer, dict):
            raise BrokerError(
                f"what answers at {self._url} is not a schema registry: check kafka.schema_registry"
            )
        return answer

    def _refusal(self, error: urllib.error.HTTPError) -> BrokerError:
        if error.code in _REFUSED:
            return BrokerError(
                f"the schema registry at {self._url} refuses us ({error.code}): "
                "check the user and password in kafka.schema_registry"
            )
        try:
            message = str(json.load(error)["message"])
        except (OSError, ValueError, KeyError, TypeError):
            message = error.reason
        return BrokerError(f"the schema registry at {self._url} answers {error.code}: {message}")


def subject(schema: BlockSchema) -> str:
    """The subject of a schema's array: the record's full name, then `-blocks`."""
    definition = json.loads(schema.json)
    return f"{definition['namespace']}.{definition['name']}-blocks"


def _number(answer: Mapping[str, Any] | None, key: str) -> int:
    value = (answer or {}).get(key)
    if not isinstance(value, int):
        raise BrokerError(f"the schema registry's answer has no {key}: is it Confluent-compatible?")
    return value


def _block_schema(schema_id: int, text: Any) -> BlockSchema:
    """A registered schema as one of ours; a release that we do not have yet keeps its own definition."""
    try:
        definition = json.loads(text)
        items = definition["items"]
        record = _record(items["namespace"], items["name"])
        schema = load(record, json.dumps(items), version=0)
    except (TypeError, ValueError, KeyError, SchemaParseException):
        raise UnknownSchema(f"schema {schema_id} is not the array of a record of ours") from None
    return by_fingerprint().get(schema.fingerprint, schema)


def _record(namespace: str, name: str) -> str:
    for record in RECORDS:
        definition = json.loads(released(record)[-1].json)
        if (definition["namespace"], definition["name"]) == (namespace, name):
            return record
    raise KeyError(name)
