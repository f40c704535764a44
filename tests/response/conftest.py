"""SES v2 on this machine, as far as pausing goes; a log of actions; transitions."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest

from connectors.response.responder import Patience, Responder
from connectors.response.ses import Ses
from connectors.response.settings import Response
from schemas.alarms import Alarm, AlarmAction, alarm_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOW = 1_795_000_000.0
HOUR = 3600.0
ARN = "arn:aws:ses:eu-west-1:111122223333:tenant/{}/tn-1"
SETS = re.compile(r"/v2/email/configuration-sets/([^/]+)(/sending)?")
ENTITIES = re.compile(r"/v2/email/reputation/entities/RESOURCE/([^/]+)(/customer-managed-status)?")


class SesServer:
    """What may send (`sets`, `tenants`), what was changed (`changes`), and what goes awry (`awry`)."""

    def __init__(self) -> None:
        self.sets: dict[str, bool] = {}
        self.tenants: dict[str, str | None] = {}
        self.by_ses: set[str] = set()
        self.changes: list[tuple[str, Any]] = []
        self.paths: list[str] = []
        self.awry: list[tuple[str, int | None, str, Any]] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()

    def goes_awry(self, method: str, status: int | None, code: str = "", done: Any = None) -> None:
        """The next request of a method gets this error (None: the connection is closed), done or not."""
        self.awry.append((method, status, code, done))

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        ses = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path = urlsplit(self.path).path
                ses.paths.append(f"{self.command} {path}")
                fault = next((each for each in ses.awry if each[0] == self.command), None)
                answer: tuple[int, str, Any] = (0, "", {})
                if fault is None or fault[3]:
                    answer = ses.answer(self.command, path, json.loads(body) if body else {})
                if fault is not None:
                    ses.awry.remove(fault)
                    if fault[1] is None:
                        self.close_connection = True
                        return
                    answer = (fault[1], fault[2], {"message": "no"})
                self.reply(*answer)

            def reply(self, status: int, code: str, told: Any) -> None:
                data = json.dumps(told).encode()
                self.send_response(status)
                if code:
                    self.send_header("x-amzn-ErrorType", code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        for method in ("GET", "PUT", "POST"):
            setattr(Handler, f"do_{method}", Handler.serve)
        return Handler

    def answer(self, method: str, path: str, body: Any) -> tuple[int, str, Any]:
        missing = (404, "NotFoundException", {"message": "none such"})
        if found := SETS.fullmatch(path):
            name = unquote(found[1])
            if name not in self.sets:
                return missing
            if method == "PUT" and found[2] and isinstance(body["SendingEnabled"], bool):
                self.sets[name] = body["SendingEnabled"]
                self.changes.append((name, body["SendingEnabled"]))
                return 200, "", {}
            if method == "GET" and not found[2]:
                options = {"SendingEnabled": self.sets[name]}
                return 200, "", {"ConfigurationSetName": name, "SendingOptions": options}
        if (method, path) == ("POST", "/v2/email/tenants/get"):
            name = body["TenantName"]
            return (200, "", {"Tenant": {"TenantArn": ARN.format(name)}}) if name in self.tenants else missing
        if found := ENTITIES.fullmatch(path):
            return self._entity(method, unquote(found[1]), bool(found[2]), body)
        return 400, "BadRequestException", {"message": f"{method} {path} is not for pausing"}

    def _entity(self, method: str, arn: str, change: Any, body: Any) -> tuple[int, str, Any]:
        name = next(each for each in self.tenants if ARN.format(each) == arn)
        if method == "PUT" and change and body["SendingStatus"] in {"ENABLED", "REINSTATED", "DISABLED"}:
            self.tenants[name] = body["SendingStatus"]
            self.changes.append((name, body["SendingStatus"]))
            return 200, "", {}
        if method == "GET" and not change:
            own, by_ses = self.tenants[name], "DISABLED" if name in self.by_ses else "ENABLED"
            told = {
                "ReputationEntityReference": arn,
                "AwsSesManagedStatus": {"Status": by_ses},
                "SendingStatusAggregate": "DISABLED" if "DISABLED" in {own, by_ses} else own or "ENABLED",
                **({"CustomerManagedStatus": {"Status": own}} if own else {}),
            }
            return 200, "", {"ReputationEntity": told}
        return 400, "BadRequestException", {"message": "what?"}


class MemoryActions:
    """Rows as Kafka keeps them; `before` and `after` are called around each write."""

    def __init__(self) -> None:
        self.rows: list[AlarmAction] = []
        self.before: Callable[[], None] = lambda: None
        self.after: Callable[[], None] = lambda: None

    def record(self, row: AlarmAction) -> AlarmAction:
        self.before()
        self.rows.append(row)
        self.after()
        return row

    def told(self) -> list[tuple[str, str, str]]:
        """Action, target and outcome of each row, in order."""
        return [(row["action"], row["target"], row["outcome"]) for row in self.rows]


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def ses_server() -> Iterator[SesServer]:
    server = SesServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def credentials() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/nonexistent",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        }.items():
            patch.setenv(name, value)
        yield


@pytest.fixture
def ses(ses_server: SesServer) -> SesServer:
    ses_server.sets = {
        "bulk": True,
        "news": True,
        "offers": True,
        "more": True,
        "off": False,
        "50% off/now": True,
    }
    ses_server.tenants = {"acme": "ENABLED", "fresh": None, "forgiven": "REINSTATED", "stopped": "DISABLED"}
    ses_server.by_ses = set()
    ses_server.changes, ses_server.paths, ses_server.awry = [], [], []
    return ses_server


def response(url: str, **fields: Any) -> Response:
    return Response(
        **{"enabled": True, "dry_run": False, "region": "eu-west-1", "endpoint_url": url, **fields}
    )


@pytest.fixture
def actions() -> MemoryActions:
    return MemoryActions()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def connected(ses_server: SesServer, credentials: None) -> Iterator[Ses]:
    made = Ses(response(ses_server.url), timeout_s=30)
    yield made
    made.close()


@pytest.fixture
def sending(ses: SesServer, connected: Ses) -> Ses:
    """The switch, of a SES that nothing has happened to, whatever test came before."""
    return connected


@pytest.fixture
def make_responder(
    ses: SesServer, sending: Ses, actions: MemoryActions, clock: Clock
) -> Callable[..., Responder]:
    """A responder that knows all rows that were written so far: another one is one that was started again."""

    def make(switch: Any = None, **fields: Any) -> Responder:
        made = Responder(
            response(ses.url, **fields),
            switch or sending,
            actions,
            clock,
            max_age_s=6 * HOUR,
            patience=Patience(),
        )
        for row in actions.rows:
            made.learn(row)
        return made

    return make


def alarm(value: str = "bulk", dimension: str = "configuration_set", **fields: Any) -> Alarm:
    made: dict[str, Any] = {
        "alarm_key": alarm_key("complaint_rate", dimension, value),
        "seq": 1,
        "revision": 0,
        "time": int(NOW * 1000) - 60_000,
        "state": "firing",
        "severity": "critical",
        "signal": "complaint_rate",
        "dimension": dimension,
        "value": value,
        "rate": 0.009,
        "limit": 0.003,
        "e_value": 8800.0,
        "evidence": "{}",
        "rule": "complaint_rate",
        "incident": 1,
        "opened_time": int(NOW * 1000) - 60_000,
        "cause": "evidence",
        "operator": "",
        "silenced_until": 0,
        "written_time": int(NOW * 1000),
        "machine": b"",
    }
    return made | fields  # type: ignore[return-value]


@dataclass(frozen=True)
class World:
    """All of it, for tests that need all of it."""

    ses: SesServer
    sending: Ses
    actions: MemoryActions
    clock: Clock
    make_responder: Callable[..., Responder]


@pytest.fixture
def world(
    ses: SesServer,
    sending: Ses,
    actions: MemoryActions,
    clock: Clock,
    make_responder: Callable[..., Responder],
) -> World:
    return World(ses, sending, actions, clock, make_responder)


@pytest.fixture
def make_alarm() -> Callable[..., Alarm]:
    return alarm


@pytest.fixture
def make_response() -> Callable[..., Response]:
    return response
