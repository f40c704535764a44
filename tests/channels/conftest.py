"""Receivers on this machine that speak the APIs strictly, and misbehave when told to; pages to send them."""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from connectors.notify.page import Page
from schemas.alarms import Alarm, alarm_key, dedup_key

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
OPENED = int((NOW - timedelta(minutes=9)).timestamp() * 1000)
Reply = tuple[int, dict[str, str], bytes]
LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True)
class Place:
    """A route as a channel sees it."""

    kind: str
    name: str = "test"
    url: str = ""
    key: str = ""
    to: tuple[str, ...] = ()
    sender: str = ""
    topic_arn: str = ""
    configuration_set: str = ""
    region: str = ""
    role_arn: str = ""
    endpoint_url: str = ""
    link: str = ""
    timeout_s: float = 60.0


@dataclass(frozen=True)
class Request:
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = Request(self.path, {name.lower(): text for name, text in self.headers.items()}, body)
        self.server.receiver.requests.append(request)
        faults = self.server.receiver.faults
        if faults:
            faults.pop(0)(self)
        else:
            self.answer(self.server.receiver.api(request))

    def answer(self, reply: Reply) -> None:
        status, headers, body = reply
        self.send_response(status)
        for name, text in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    receiver: Receiver

    def handle_error(self, *_: Any) -> None:
        """Those who hang up on us are right to."""


class Receiver:
    """A server: what it got (`requests`), what it answers (`api`), and what goes wrong before that (`faults`)."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.faults: list[Callable[[Handler], None]] = []
        self.api: Callable[[Request], Reply] = lambda _: (200, {}, b"")
        self.stopped = threading.Event()
        self._server = Server(("127.0.0.1", 0), Handler)
        if context:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._server.receiver = self
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def fails(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.faults.append(lambda handler: handler.answer((status, headers or {}, body)))

    def hangs(self) -> None:
        self.faults.append(lambda _: bool(self.stopped.wait(60)) or None)

    def hangs_up(self, after: bytes = b"") -> None:
        """A reset, maybe in the middle of an answer."""

        def close(handler: Handler) -> None:
            handler.wfile.write(after)
            handler.wfile.flush()
            linger = struct.pack("ii", 1, 0)
            if not after:
                handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            handler.close_connection = True
            handler.connection.close()

        self.faults.append(close)

    def drips(self, head: bytes) -> None:
        """Sends the head, then a byte each now and then, for ever."""

        def drip(handler: Handler) -> None:
            handler.wfile.write(head)
            while not self.stopped.wait(0.05):
                handler.wfile.write(b"x")
                handler.wfile.flush()

        self.faults.append(drip)

    def floods(self, status: int) -> None:
        """An answer that never ends."""

        def flood(handler: Handler) -> None:
            handler.send_response(status)
            handler.send_header("Content-Length", str(1 << 40))
            handler.end_headers()
            while not self.stopped.is_set():
                handler.wfile.write(b"x" * 65536)

        self.faults.append(flood)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    started = Receiver()
    yield started
    started.close()


class AlertmanagerApi:
    """Knows alerts by their labels; refuses what Alertmanager's validation refuses."""

    def __init__(self) -> None:
        self.now = NOW
        self.alerts: dict[frozenset[tuple[str, str]], dict[str, Any]] = {}

    def __call__(self, request: Request) -> Reply:
        if request.path != "/api/v2/alerts" or request.headers["content-type"] != "application/json":
            return 404, {}, b""
        for alert in request.json():
            if problem := self._problem(alert):
                return 400, {}, json.dumps(problem).encode()
        for alert in request.json():
            self.alerts[frozenset(alert["labels"].items())] = alert
        return 200, {}, b""

    def _problem(self, alert: dict[str, Any]) -> str:
        if set(alert) - {"labels", "annotations", "startsAt", "endsAt", "generatorURL"}:
            return "unknown field"
        if not alert["labels"].get("alertname"):
            return "no alertname"
        for name, text in [*alert["labels"].items(), *alert["annotations"].items()]:
            if not LABEL.fullmatch(name) or not isinstance(text, str) or not text:
                return f"label {name}"
        start, end = (datetime.fromisoformat(alert[name]) for name in ("startsAt", "endsAt"))
        return "start time must be before end time" if end < start else ""

    def active(self, at: datetime | None = None) -> list[dict[str, str]]:
        when = at or self.now
        return [
            alert["labels"]
            for alert in self.alerts.values()
            if datetime.fromisoformat(alert["endsAt"]) > when
        ]


class PagerDutyApi:
    """Keeps incidents by dedup key."""

    def __init__(self) -> None:
        self.incidents: dict[str, list[dict[str, Any]]] = {}

    def __call__(self, request: Request) -> Reply:
        errors = list(self._errors(request))
        if errors:
            told = {"status": "invalid event", "message": "Event object is invalid", "errors": errors}
            return 400, {}, json.dumps(told).encode()
        event = request.json()
        self.incidents.setdefault(event["dedup_key"], []).append(event)
        told = {"status": "success", "message": "Event processed", "dedup_key": event["dedup_key"]}
        return 202, {}, json.dumps(told).encode()

    def _errors(self, request: Request) -> Iterator[str]:
        if request.path != "/v2/enqueue":
            yield "not here"
            return
        event = request.json()
        if len(request.body) > 512_000:
            yield "Event is too large"
        if not re.fullmatch(r"\w{32}", event.get("routing_key", "")):
            yield f"Length of 'routing_key' is incorrect: {event.get('routing_key')}"
        if event.get("event_action") not in {"trigger", "acknowledge", "resolve"}:
            yield "'event_action' is invalid"
        if not 0 < len(event.get("dedup_key", "")) <= 255:
            yield "'dedup_key' is invalid"
        if event.get("event_action") == "trigger":
            payload = event.get("payload", {})
            if not 0 < len(payload.get("summary", "")) <= 1024 or not payload.get("source"):
                yield "'payload.summary' or 'payload.source' is invalid"
            if payload.get("severity") not in {"critical", "error", "warning", "info"}:
                yield "'payload.severity' is invalid"
            datetime.fromisoformat(payload["timestamp"])


class SlackApi:
    """An incoming webhook at /services/…, and chat.postMessage."""

    TOKEN = "xoxb-123-very-secret"
    HOOK = "/services/T000/B000/very-secret"

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def __call__(self, request: Request) -> Reply:
        message = request.json()
        if request.path == self.HOOK:
            if "channel" in message or not self._valid(message):
                return 400, {}, b"invalid_payload"
            self.messages.append(message)
            return 200, {}, b"ok"
        if request.path == "/api/chat.postMessage":
            error = self._refusal(request, message)
            if not error:
                self.messages.append(message)
            return 200, {}, json.dumps({"ok": True} if not error else {"ok": False, "error": error}).encode()
        return 404, {}, b"no_service"

    def _refusal(self, request: Request, message: dict[str, Any]) -> str:
        if request.headers.get("authorization") != f"Bearer {self.TOKEN}":
            return "invalid_auth"
        if message.get("channel") != "C123":
            return "channel_not_found"
        return "" if self._valid(message) else "invalid_blocks"

    def _valid(self, message: dict[str, Any]) -> bool:
        blocks = message["blocks"]
        if not message["text"] or not 0 < len(blocks) <= 50:
            return False
        for block in blocks:
            text = block["text"]["text"]
            limit = {"header": 150, "section": 3000}[block["type"]]
            kind = {"header": "plain_text", "section": "mrkdwn"}[block["type"]]
            if not 0 < len(text) <= limit or block["text"]["type"] != kind:
                return False
        return True


def alarm(**fields: Any) -> Alarm:
    dimension, value = fields.get("dimension", "campaign"), fields.get("value", "black-friday")
    made: dict[str, Any] = {
        "alarm_key": alarm_key("complaint_rate", dimension, value),
        "seq": 1,
        "revision": 0,
        "time": int(NOW.timestamp() * 1000),
        "state": "firing",
        "severity": "warning",
        "signal": "complaint_rate",
        "dimension": dimension,
        "value": value,
        "rate": 0.009,
        "limit": 0.001,
        "e_value": 8761.5,
        "evidence": "{}",
        "rule": "complaint_rate",
        "incident": 1,
        "opened_time": OPENED,
        "cause": "evidence",
        "operator": "",
        "silenced_until": 0,
        "written_time": int(NOW.timestamp() * 1000),
        "machine": b"\x01\x02",
    }
    return made | fields  # type: ignore[return-value]


def page(
    kind: str = "page", text: str = "9 of 1,000", title: str = "warning: complaints", **fields: Any
) -> Page:
    told = alarm(**fields)
    evidence = {"hits": 9, "trials": 1000, "sql": "SELECT 1 WHERE a < 2", "sample_message_ids": ["m1"]}
    key = dedup_key(told["alarm_key"], told["incident"])
    return Page(kind, told, evidence, key, title, text)  # type: ignore[arg-type]


@pytest.fixture
def make_page() -> Callable[..., Page]:
    return page


@pytest.fixture
def make_place() -> type[Place]:
    return Place


@pytest.fixture
def alertmanager(receiver: Receiver) -> AlertmanagerApi:
    receiver.api = api = AlertmanagerApi()
    return api


@pytest.fixture
def pagerduty(receiver: Receiver) -> PagerDutyApi:
    receiver.api = api = PagerDutyApi()
    return api


@pytest.fixture
def slack(receiver: Receiver) -> SlackApi:
    receiver.api = api = SlackApi()
    return api


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def new_receiver() -> type[Receiver]:
    return Receiver
