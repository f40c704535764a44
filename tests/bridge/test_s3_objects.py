"""S3 objects through connections that break, on a stand-in client and on a local S3."""

from __future__ import annotations

import datetime as dt
import io
import itertools
import threading
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, IncompleteReadError, NoCredentialsError
from botocore.response import StreamingBody
from urllib3.exceptions import ProtocolError

from connectors.bridge import Bridge, Policy
from connectors.errors import SourceError
from connectors.inbound.mailroom import Mailroom
from connectors.inbound.settings import Inbound, policy_of
from connectors.sources.checkpoint import Checkpoint
from connectors.sources.replay import Replay
from connectors.sources.s3 import (
    ObjectForbidden,
    ObjectMissing,
    ObjectUnavailable,
    S3Prefix,
    read_object,
    split_uri,
)
from pipelines.intake.intake import Intake
from pipelines.intake.policy import NormalisePolicy
from schemas import topics
from schemas.blocks import decode

ROOM = Mailroom(policy_of(Inbound(), NormalisePolicy()))

if TYPE_CHECKING:
    from pathlib import Path

DATA = bytes(range(256)) * 8192


class Breaking(io.BytesIO):
    """Raw bytes of an answer whose connection breaks."""

    def __init__(self, data: bytes, good: int) -> None:
        super().__init__(data)
        self._good = good

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() >= self._good:
            raise ProtocolError("connection broken")
        return super().read(min(size or 0, self._good - self.tell()))


class Client:
    """One object; each answer breaks after some bytes."""

    def __init__(self, *good: int, data: bytes = DATA, etag: str = "e1") -> None:
        self._good = list(good)
        self.data = data
        self.etag = etag
        self.ranges: list[str] = []

    def get_object(self, **request: str) -> dict[str, Any]:
        begin = int(request.get("Range", "bytes=0-")[6:-1])
        self.ranges.append(request.get("Range", ""))
        if request.get("IfMatch", self.etag) != self.etag:
            raise refusal("PreconditionFailed")
        rest = self.data[begin:]
        good = self._good.pop(0) if self._good else len(rest) + 1
        when = dt.datetime(2026, 10, 5, tzinfo=dt.UTC)
        body = StreamingBody(Breaking(rest, good), len(rest))
        return {"ETag": self.etag, "Body": body, "ContentLength": len(rest), "LastModified": when}

    def get_paginator(self, _: str) -> Client:
        return self

    def paginate(self, **_: str) -> list[Any]:
        when = dt.datetime(2026, 10, 5, tzinfo=dt.UTC)
        entry = {"Size": 5, "ETag": "x", "LastModified": when}
        return [{"Contents": [entry | {"Key": "p/1"}, entry | {"Key": "p/folder/", "Size": 0}]}, {}]


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": code}}, "GetObject")


def test_a_broken_connection_is_resumed_where_it_was() -> None:
    client = Client(1_000_000, 300_001, 1)
    assert b"".join(read_object(client, "b", "k")) == DATA
    assert client.ranges == ["", "bytes=1000000-", "bytes=1300001-", "bytes=1300002-"]


def test_an_object_that_gives_nothing_is_unavailable() -> None:
    client = Client(*[0] * 50)
    with pytest.raises(ObjectUnavailable, match="s3://b/k"):
        list(read_object(client, "b", "k"))
    assert 3 <= len(client.ranges) <= 10


def test_an_object_that_was_replaced_is_not_mixed_with_the_old_one() -> None:
    client = Client(1000)
    chunks = read_object(client, "b", "k")
    assert len(next(chunks)) == 1000
    client.etag = "e2"
    with pytest.raises(ObjectUnavailable, match="replaced while it was read"):
        next(chunks)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("NoSuchKey", ObjectMissing),
        ("404", ObjectMissing),
        ("NoSuchBucket", ObjectMissing),
        ("AccessDenied", ObjectForbidden),
        ("InvalidObjectState", ObjectForbidden),
        ("SlowDown", ObjectUnavailable),
    ],
)
def test_refusals_are_typed(code: str, kind: type[Exception]) -> None:
    class Refusing:
        def get_object(self, **_: str) -> Any:
            raise refusal(code)

    with pytest.raises(kind, match=code):
        next(read_object(Refusing(), "b", "k"))


def test_listing_without_credentials_says_how_to_give_them() -> None:
    class Unknown(Client):
        def paginate(self, **_: str) -> list[Any]:
            raise NoCredentialsError

    with pytest.raises(SourceError, match=r"no AWS credentials for s3://b/p .*set AWS_PROFILE"):
        list(S3Prefix(Unknown(), "b", "p").units())


def test_an_answer_shorter_than_it_said_is_resumed() -> None:
    class Short(Client):
        def get_object(self, **request: str) -> dict[str, Any]:
            answer = super().get_object(**request)
            if len(self.ranges) == 1:
                answer["Body"] = StreamingBody(io.BytesIO(self.data[:777]), len(self.data))
            return answer

    client = Short()
    with pytest.raises(IncompleteReadError):
        list(Short().get_object()["Body"].iter_chunks(1 << 22))
    assert b"".join(read_object(client, "b", "k")) == DATA
    assert client.ranges == ["", "bytes=777-"]


def test_addresses() -> None:
    assert split_uri("s3://b/a/b c") == ("b", "a/b c")
    assert split_uri("s3://b") == ("b", "")
    for bad in ("s3:///x", "http://b/x", "b/x"):
        with pytest.raises(SourceError, match="s3://bucket/prefix"):
            split_uri(bad)


def test_a_prefix_is_replayed(memory: Any, tmp_path: Path) -> None:
    memory.automatic = True
    bridge = Bridge(Policy(1), memory)
    units = list(S3Prefix(Client(data=b"{bad}"), "b", "p").units())
    assert [unit.provenance.uri for unit in units] == ["s3://b/p/1"]
    assert units[0].provenance.path == "firehose"
    assert units[0].provenance.time == 1_791_158_400_000
    replay = Replay(
        [S3Prefix(Client(data=b"{bad}"), "b", "p")],
        Intake(NormalisePolicy()),
        ROOM,
        Checkpoint(tmp_path, ["s3://b/p"]),
    )
    replay.run(bridge, threading.Event())
    bridge.flush(10)
    bridge.close()
    logs = itertools.chain.from_iterable(memory.logs.values())
    [row] = [row for block in logs for row in decode(block)]
    assert row["source"] == "s3://b/p/1"
    assert row["payload"] == b"{bad}"


def test_an_object_deleted_after_it_was_listed_is_a_dead_letter(memory: Any, tmp_path: Path) -> None:
    class Deleted(Client):
        def get_object(self, **_: str) -> Any:
            raise refusal("NoSuchKey")

    memory.automatic = True
    bridge = Bridge(Policy(1), memory)
    checkpoint = Checkpoint(tmp_path, ["s3://b/p"])
    replay = Replay([S3Prefix(Deleted(), "b", "p")], Intake(NormalisePolicy()), ROOM, checkpoint)
    replay.run(bridge, threading.Event())
    bridge.flush(10)
    bridge.close()
    [row] = [row for block in memory.logs[topics.DEAD_LETTERS, 0] for row in decode(block)]
    assert row["cause"] == "object_missing"
    assert replay.progress.dead_letters == 1


def test_a_prefix_that_nothing_begins_with_is_an_error() -> None:
    class Empty(Client):
        def paginate(self, **_: str) -> list[Any]:
            return [{"KeyCount": 0}]

    with pytest.raises(SourceError, match=r"no object's key begins with s3://b/2025/: check the prefix"):
        list(S3Prefix(Empty(), "b", "2025/").units())
