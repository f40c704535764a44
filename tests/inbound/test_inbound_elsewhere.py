"""Objects of other regions and accounts, and mails that SNS posts, against an S3 that is as strict as AWS's."""

from __future__ import annotations

import json
import re
import threading
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from connectors.aws import Access
from connectors.inbound.fetching import Buckets
from connectors.settings import Http
from connectors.sources.http import HttpSource
from connectors.sources.s3 import ObjectEncrypted, ObjectForbidden, ObjectMissing
from connectors.sources.sns_http import SnsEndpoint
from pipelines.intake.outcomes import ObjectRef

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.sockets

HOME, AWAY = "eu-west-1", "us-west-2"
TOPIC = "arn:aws:sns:eu-west-1:111122223333:received"


class StrictS3:
    """Objects by path. A request that is signed for another region than the bucket's is redirected.

    Amazon S3 user guide, "Making requests using DNS", and API reference, "Error responses".
    """

    def __init__(self) -> None:  # noqa: C901 - a handler of its own
        self.objects: dict[str, tuple[bytes, dict[str, str]]] = {}
        self.regions: dict[str, str] = {}
        self.refusal = "PermanentRedirect"
        self.told = True
        self.asked: list[tuple[str, str, int]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer()

            def do_HEAD(self) -> None:
                self._answer()

            def _answer(self) -> None:
                bucket, _, key = self.path.partition("?")[0].lstrip("/").partition("/")
                scope = re.search(r"Credential=[^/]+/\d+/([^/]+)/s3/", self.headers["Authorization"])
                signed = scope[1] if scope else ""
                region = server.regions[bucket]
                if signed != region:
                    self._refuse(region, bucket)
                elif not key:
                    self._send(200, b"", {"x-amz-bucket-region": region})
                elif bucket == "theirs":
                    self._send(403, _error("AccessDenied"), {})
                elif f"{bucket}/{key}" in server.objects:
                    data, metadata = server.objects[f"{bucket}/{key}"]
                    facts = {"ETag": '"e"', "Last-Modified": formatdate(1_795_000_000, usegmt=True)}
                    self._send(200, data, facts | metadata)
                else:
                    self._send(404, _error("NoSuchKey"), {})
                server.asked.append((self.command, signed, self.status))

            def _refuse(self, region: str, bucket: str) -> None:
                headers = {"x-amz-bucket-region": region} if server.told or self.command == "HEAD" else {}
                malformed = server.refusal == "AuthorizationHeaderMalformed"
                body = _error(
                    server.refusal,
                    f"<Region>{region}</Region>" if malformed else f"<Bucket>{bucket}</Bucket>",
                )
                self._send(400 if malformed else 301, body, headers)

            def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
                self.status = status
                self.send_response(status)
                for name, value in (headers | {"Content-Length": str(len(body))}).items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _error(code: str, more: str = "") -> bytes:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message>{more}</Error>".encode()


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[StrictS3]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    server = StrictS3()
    server.regions = {"home": HOME, "away": AWAY, "theirs": HOME}
    yield server
    server.close()


@pytest.fixture
def buckets(s3: StrictS3) -> Buckets:
    return Buckets(Access(region=HOME, endpoint_url=s3.endpoint))


def ref(bucket: str, key: str, region: str = "") -> ObjectRef:
    return ObjectRef(bucket, key, "", -1, region, "Received")


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("refusal", ["PermanentRedirect", "AuthorizationHeaderMalformed"])
def test_a_bucket_of_another_region_is_asked_there(
    s3: StrictS3,
    buckets: Buckets,
    refusal: str,
    told: bool,  # noqa: FBT001
) -> None:
    s3.refusal, s3.told = refusal, told
    s3.objects = {"away/in/1": (b"one", {}), "away/in/2": (b"two", {})}
    facts, chunks = buckets.open(ref("away", "in/1"))
    assert (facts.size, facts.modified, b"".join(chunks)) == (3, 1_795_000_000_000, b"one")
    before = len(s3.asked)
    assert b"".join(buckets.open(ref("away", "in/2"))[1]) == b"two"
    assert s3.asked[before:] == [("GET", AWAY, 200)], "where it is has been remembered"


def test_what_may_not_be_read_is_told_apart(s3: StrictS3, buckets: Buckets) -> None:
    secret = {"x-amz-meta-x-amz-key-v2": "AAAA", "x-amz-meta-x-amz-wrap-alg": "kms"}
    third = {"x-amz-meta-x-amz-3": "AAAA", "x-amz-meta-x-amz-w": "12", "x-amz-meta-x-amz-c": "115"}
    s3.objects = {"home/secret": (b"\x00" * 10, secret), "home/third": (b"\x00" * 10, third)}
    for key in ("secret", "third"):
        with pytest.raises(ObjectEncrypted, match=f"s3://home/{key} was encrypted"):
            buckets.open(ref("home", key))
    with pytest.raises(ObjectForbidden, match="s3:GetObject"):
        buckets.open(ref("theirs", "1"))
    with pytest.raises(ObjectMissing):
        buckets.open(ref("home", "gone"))


def test_an_event_of_another_region_makes_a_client_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not asked: only which endpoint would be."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    here = Buckets(Access(region=HOME))
    assert "us-west-2" in here._client(AWAY).meta.endpoint_url
    assert here._client(AWAY) is here._client(AWAY)
    assert here._client("") is here._client(HOME)
    assert here._client("no region at all!") is here._client(HOME)


class Trusting:
    """Signatures have tests of their own."""

    def check(self, message: object) -> None:
        """All are SNS's."""


@pytest.fixture
def sns(buckets: Buckets, mailroom: Any, new_intake: Any, bridge: Any) -> Iterator[Callable[[Any], Any]]:
    hosts: Any = Trusting()
    endpoint = SnsEndpoint((TOPIC,), hosts, lambda: 0, buckets=buckets)
    source = HttpSource(Http(bind="127.0.0.1:0"), new_intake, mailroom, sns=endpoint)
    stop = threading.Event()
    thread = threading.Thread(target=source.run, args=(bridge, stop))
    thread.start()
    url = f"http://{source.address(60)}/sns"

    async def tell(document: Any) -> int:
        message = {
            "Type": "Notification",
            "TopicArn": TOPIC,
            "MessageId": "m",
            "Timestamp": "2026-11-20T10:00:00Z",
        }
        body = json.dumps(message | {"Message": json.dumps(document)})
        async with aiohttp.ClientSession() as session, session.post(url, data=body) as answer:
            return answer.status

    yield tell
    stop.set()
    thread.join(60)


def received(action: dict[str, Any], **more: Any) -> dict[str, Any]:
    receipt = {"recipients": ["in@acme.in.example.com"], "action": action}
    return {"notificationType": "Received", "mail": {"messageId": "x"}, "receipt": receipt} | more


async def test_mails_that_sns_posts_are_read_whether_they_are_in_it_or_in_a_bucket(
    sns: Any, s3: StrictS3, kafka: Any, mail: Any
) -> None:
    s3.objects = {"away/in/1": (mail(1), {}), "home/in/2": (mail(2), {})}
    content = {"type": "SNS", "encoding": "UTF8"}
    thing = {"bucket": {"name": "home"}, "object": {"key": "in/2", "size": len(mail(2))}}
    event = {"Records": [{"eventName": "ObjectCreated:Put", "awsRegion": HOME, "s3": thing}]}
    in_s3 = {"type": "S3", "bucketName": "away", "objectKey": "in/1"}
    for document in (received(content, content=mail(3).decode()), received(in_s3), event):
        assert await sns(document) == 200
    assert sorted(row["message_id"] for row in kafka.mails) == [
        f"{number}@example.org" for number in (1, 2, 3)
    ]
    assert {row["tenant"] for row in kafka.mails} == {"acme"}


async def test_what_cannot_be_read_is_a_dead_letter_or_comes_again(
    sns: Any, s3: StrictS3, kafka: Any, store: Any, mail: Any
) -> None:
    import shutil

    in_s3 = {"type": "S3", "bucketName": "home", "objectKey": "gone"}
    assert await sns(received(in_s3)) == 200
    assert [letter["cause"] for letter in kafka.dead_letters] == ["object_missing"]
    assert await sns(received(in_s3 | {"bucketName": "theirs"})) == 503
    thing = {"bucket": {"name": "home"}, "object": {"key": "large", "size": 50 * 1024 * 1024}}
    assert await sns({"Records": [{"eventName": "ObjectCreated:Put", "s3": thing}]}) == 200
    assert kafka.dead_letters[-1]["cause"] == "object_not_fetched"
    shutil.rmtree(store.path)
    store.path.write_bytes(b"in the way")
    content = received({"type": "SNS"}, content=mail(3).decode())
    assert await sns(content) == 503
    store.path.unlink()
    (store.path / "writing").mkdir(parents=True)
    (store.path / "lock").touch()
    assert await sns(content) == 200
    assert len(kafka.mails) == 1
