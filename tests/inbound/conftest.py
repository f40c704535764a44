"""A bridge into memory, a mailroom, and mails."""

from __future__ import annotations

import base64
import heapq
import itertools
import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

import hypothesis
import pytest

from connectors.attachments.directory import DirectoryStore
from connectors.bridge import Bridge, Policy
from connectors.inbound.mailroom import Mailroom
from connectors.inbound.settings import Inbound, Tenant, policy_of
from connectors.sources.reading import Desk
from pipelines.intake.intake import Intake
from pipelines.intake.policy import NormalisePolicy
from schemas import topics
from schemas.blocks import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Machines that run tests are busy: how long one example takes says nothing.
hypothesis.settings.register_profile("no-deadline", deadline=None)
hypothesis.settings.load_profile("no-deadline")

NORMALISE = NormalisePolicy(pii="plain")


class MemoryKafka:
    """Stores blocks, and acknowledges them at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stored: list[tuple[str, bytes]] = []

    def send(self, topic: str, _: int, block: bytes, sent: Any, failed: Any) -> None:
        with self._lock:
            self._stored.append((topic, block))
            offset = len(self._stored)
        sent(offset)

    def close(self) -> None:
        """Nothing to close."""

    def rows(self, topic: str) -> list[dict[str, Any]]:
        with self._lock:
            return [row for at, block in self._stored if at == topic for row in decode(block)]

    @property
    def mails(self) -> list[dict[str, Any]]:
        return self.rows(topics.INBOUND)

    @property
    def dead_letters(self) -> list[dict[str, Any]]:
        return self.rows(topics.DEAD_LETTERS)


@pytest.fixture
def kafka() -> MemoryKafka:
    return MemoryKafka()


@pytest.fixture
def bridge(kafka: MemoryKafka) -> Iterator[Bridge]:
    made = Bridge(Policy(partitions=2, linger_s=0.005), kafka)
    yield made
    made.close()


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "attachments", 90)


@pytest.fixture
def inbound() -> Inbound:
    return Inbound(tenants=(Tenant(subdomain_of="in.example.com"),), readers=4)


@pytest.fixture
def mailroom(store: DirectoryStore, inbound: Inbound) -> Mailroom:
    return Mailroom(policy_of(inbound, NORMALISE), store)


@pytest.fixture
def new_intake() -> Callable[[], Intake]:
    return lambda: Intake(NORMALISE)


@pytest.fixture
def desk(mailroom: Mailroom, bridge: Bridge, new_intake: Callable[[], Intake]) -> Desk:
    return Desk(new_intake(), mailroom, bridge, threading.Event())


@pytest.fixture
def mail() -> Callable[..., bytes]:
    """A mail with an attachment, as SES stores it."""

    def make(number: int = 0, *, attached: bytes = b"%PDF-1.4", body: str = "Hello", to: str = "in") -> bytes:
        return (
            f"Return-Path: <a{number}@example.org>\r\n"
            f"Received: from mx.example.org (mx.example.org [192.0.2.1]) by inbound-smtp.eu-west-1.amazonaws.com"
            f" with SMTP id o3vrnil0e2ic28trm7dfhrc2v0clambda4nb{number:04} for {to}@acme.in.example.com;"
            " Fri, 20 Nov 2026 10:00:00 +0000 (UTC)\r\n"
            "X-SES-Spam-Verdict: PASS\r\n"
            f"From: A <a{number}@example.org>\r\nTo: {to}@acme.in.example.com\r\n"
            f"Subject: Number {number}\r\nMessage-ID: <{number}@example.org>\r\nMIME-Version: 1.0\r\n"
            'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
            f"--b\r\nContent-Type: text/plain\r\n\r\n{body}\r\n"
            "--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n"
            'Content-Disposition: attachment; filename="a.pdf"\r\n\r\n'
            f"{base64.encodebytes(attached).decode()}\r\n--b--\r\n"
        ).encode()

    return make


class LocalQueue:
    """An SQS queue as far as a reader needs it, in SQS's JSON protocol; quick with thousands of messages.

    Amazon SQS API reference, "Making requests using the AWS JSON protocol". A message received is hidden for its
    timeout, then comes again behind those that wait. `receipts` counts how often each was received.
    """

    def __init__(self, bodies: list[str]) -> None:
        self._lock = threading.Lock()
        self._order = itertools.count()
        self._visible = [(0.0, next(self._order), number) for number in range(len(bodies))]
        self._bodies = dict(enumerate(bodies))
        self._hidden_until: dict[int, float] = {}
        self.receipts: Counter[int] = Counter()
        queue = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                action = self.headers["X-Amz-Target"].removeprefix("AmazonSQS.")
                answer = json.dumps(getattr(queue, action)(request)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-amz-json-1.0")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self.url = f"{self.endpoint}/111122223333/mails"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __len__(self) -> int:
        """Messages that are not deleted."""
        return len(self._bodies)

    def ReceiveMessage(self, request: Any) -> Any:  # noqa: N802 - SQS's name
        """At once if there is any; else after a little of the time that may be waited."""
        messages = self._receive(request)
        if not messages:
            time.sleep(0.05)
            messages = self._receive(request)
        return {"Messages": messages} if messages else {}

    def _receive(self, request: Any) -> list[dict[str, Any]]:
        messages = []
        with self._lock:
            now = time.monotonic()
            while self._visible and self._visible[0][0] <= now:
                if len(messages) == request["MaxNumberOfMessages"]:
                    break
                at, _, number = heapq.heappop(self._visible)
                if number not in self._bodies or at < self._hidden_until.get(number, 0.0):
                    continue
                self.receipts[number] += 1
                self._hide(number, now + request["VisibilityTimeout"])
                attributes = {"ApproximateReceiveCount": str(self.receipts[number]), "SentTimestamp": "1"}
                messages.append(
                    {
                        "MessageId": f"m{number}",
                        "ReceiptHandle": str(number),
                        "Body": self._bodies[number],
                        "Attributes": attributes,
                    }
                )
        return messages

    def _hide(self, number: int, until: float) -> None:
        self._hidden_until[number] = until
        heapq.heappush(self._visible, (until, next(self._order), number))

    def ChangeMessageVisibilityBatch(self, request: Any) -> Any:  # noqa: N802
        """All succeed."""
        with self._lock:
            for entry in request["Entries"]:
                self._hide(int(entry["ReceiptHandle"]), time.monotonic() + entry["VisibilityTimeout"])
        return {"Successful": [{"Id": entry["Id"]} for entry in request["Entries"]], "Failed": []}

    def DeleteMessageBatch(self, request: Any) -> Any:  # noqa: N802
        """All succeed."""
        with self._lock:
            for entry in request["Entries"]:
                self._bodies.pop(int(entry["ReceiptHandle"]), None)
        return {"Successful": [{"Id": entry["Id"]} for entry in request["Entries"]], "Failed": []}


@pytest.fixture
def local_queue() -> type[LocalQueue]:
    return LocalQueue


@pytest.fixture
def until() -> Callable[..., Any]:
    def poll(condition: Callable[[], Any], timeout: float = 60) -> Any:
        deadline = time.monotonic() + timeout
        while not (result := condition()):
            assert time.monotonic() < deadline, "it did not come true in time"
            time.sleep(0.01)
        return result

    return poll
