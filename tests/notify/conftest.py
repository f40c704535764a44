"""Transitions as the worker writes them, a desk whose clock stands still, and places to deliver to."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from connectors.notify.desk import Desk
from connectors.notify.settings import Notify, Route
from connectors.secret import Secret
from schemas.alarms import Alarm, AlarmAction, alarm_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from connectors.notify.attempts import Policy
    from connectors.notify.page import NotDelivered, Page

NOW = 1_795_348_800.0
"""2026-11-22T12:00:00Z."""


def make_alarm(seq: int = 1, state: str = "firing", **fields: Any) -> Alarm:
    """The `seq`-th transition of an incident that the first opened; `ago`: seconds before `NOW` it was of."""
    time_ms = round((NOW - fields.pop("ago", 60)) * 1000)
    cause = {"firing": "evidence", "recovering": "clean", "resolved": "clean", "ok": "reset"}[state]
    value = fields.get("value", "spring")
    row: dict[str, Any] = {
        "alarm_key": alarm_key("complaint_rate", "campaign", value),
        "seq": seq,
        "revision": 1 if state == "firing" else 0,
        "time": time_ms,
        "state": state,
        "severity": "warning",
        "signal": "complaint_rate",
        "dimension": "campaign",
        "value": value,
        "rate": 0.002,
        "limit": 0.001,
        "e_value": 9000.0,
        "evidence": '{"hits": 10, "trials": 5000}',
        "rule": "complaint_rate",
        "incident": 1,
        "opened_time": time_ms,
        "cause": cause,
        "operator": "",
        "silenced_until": 0,
        "written_time": max(time_ms, round(NOW * 1000)),
        "machine": b"",
    }
    return row | fields  # type: ignore[return-value]


@pytest.fixture(scope="session")
def alarm() -> Callable[..., Alarm]:
    return make_alarm


class Place:
    """A channel that does as it is told, and remembers what it was given."""

    repeats_every_s = 0.0

    def __init__(self) -> None:
        self.sent: list[Page] = []
        self.refreshed: list[tuple[str, ...]] = []
        self.failures: list[NotDelivered] = []
        """Of the next tries."""
        self.broken: NotDelivered | None = None
        """Of all tries."""
        self.tries = 0
        self.open = threading.Event()
        """Cleared: a try hangs."""
        self.open.set()

    def send(self, page: Page) -> str:
        self.tries += 1
        self.open.wait(60)
        if self.failures:
            raise self.failures.pop(0)
        if self.broken:
            raise self.broken
        self.sent.append(page)
        return "taken"

    def refresh(self, pages: Sequence[Page]) -> str:
        self.refreshed.append(tuple(page.dedup_key for page in pages))
        return "still so"

    def close(self) -> None:
        self.open.set()

    @property
    def told(self) -> list[tuple[str, int]]:
        return [(page.kind, page.alarm["seq"]) for page in self.sent]


class Book:
    """A log in memory; `durable` decides whether rows are written at once."""

    def __init__(self) -> None:
        self.rows: list[AlarmAction] = []
        self.durable = True

    def write(self, row: AlarmAction) -> int:
        self.rows.append({**row, "time": max(row["time"], self.rows[-1]["time"] + 1 if self.rows else 0)})
        return len(self.rows)

    def written(self, number: int) -> bool:
        return self.durable or not number

    def outstanding(self, alarm_key: str) -> int:
        return 0 if self.durable else sum(row["alarm_key"] == alarm_key for row in self.rows)

    def tend(self) -> None:
        pass

    def last(self) -> dict[tuple[str, str], str]:
        """Outcome of each deed, by route and action: that of its last row."""
        return {(row["target"], row["action"]): row["outcome"] for row in self.rows}


class Scene:
    """A desk, the places of its routes, its log, and clocks that stand still until they are moved."""

    def __init__(self, routes: Sequence[Route], **limits: Any) -> None:
        self.limits = Notify(**limits)
        self.now = NOW
        self.passed = 1000.0
        self.book = Book()
        self.routes = tuple(routes)
        self.places = {route.name: Place() for route in routes}
        self.desks: list[Desk] = []
        self.start()

    def start(self, policy: Policy | None = None) -> None:
        """A new process with the same book."""
        desk = Desk(
            self.limits,
            [(route, self.places[route.name]) for route in self.routes],
            self.book,
            clock=lambda: self.now,
            monotonic=lambda: self.passed,
            policy=policy,
        )
        desk.remember(list(self.book.rows))
        self.desks.append(desk)

    @property
    def desk(self) -> Desk:
        return self.desks[-1]

    def place(self) -> Place:
        return next(iter(self.places.values()))

    def learn(self, *alarms: Alarm) -> None:
        """Take transitions, and do all there is to do now."""
        for each in alarms:
            self.desk.learn(each)
        self.work()

    def wait(self, seconds: float) -> None:
        """Let time pass, and do what there is to do then."""
        self.now += seconds
        self.passed += seconds
        self.work()

    def until(self, condition: Callable[[], bool]) -> None:
        """For what other threads do."""
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def work(self) -> None:
        """Until every route that can deliver is idle, twice: an outcome may be followed by the next thing."""
        for _ in range(6):
            self.desk.step()
            deadline = time.monotonic() + 60
            while any(
                not each.carrier.free and self.places[each.name].open.is_set() for each in self._states()
            ):
                assert time.monotonic() < deadline
                time.sleep(0.0005)
                self.desk.step()

    def _states(self) -> list[Any]:
        return list(self.desk._routes.values())


def make_route(name: str = "on-call", **fields: Any) -> Route:
    kept = {
        "kind": "webhook",
        "url": Secret("http://127.0.0.1:1/"),
        "key": Secret("whsec_" + "c2VzLXN0cmVhbXMgdGVzdHMgc2VjcmV0IGtleQ=="),
    }
    return Route(name=name, **kept | fields)


@pytest.fixture(scope="session")
def route() -> Callable[..., Route]:
    return make_route


@pytest.fixture
def scene() -> Iterator[Callable[..., Scene]]:
    """Makes a scene of one route, or of those given: `scene(quiet=("22:00-07:00",))`, `scene(routes=[…])`."""
    made: list[Scene] = []

    def make(
        routes: Sequence[Route] | None = None, limits: dict[str, Any] | None = None, **fields: Any
    ) -> Scene:
        made.append(Scene([make_route(**fields)] if routes is None else routes, **(limits or {})))
        return made[-1]

    yield make
    for each in made:
        for place in each.places.values():
            place.open.set()
        for desk in each.desks:
            desk.close()


class Receiver:
    """A real HTTP server that remembers what it was posted."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str, str, int]] = []
        """Path, kind, dedup key and seq of each message."""
        self.status = 200
        self.hanging = threading.Event()
        self.ended = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if outer.hanging.is_set() and self.path == "/hangs":
                    outer.ended.wait(60)
                if outer.status == 200:
                    data = body["data"]
                    kind = body["type"].removeprefix("alarm.")
                    outer.got.append((self.path, kind, data["dedup_key"], data["seq"]))
                self.send_response(outer.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def kinds(self, path: str = "/good") -> list[str]:
        return [kind for where, kind, _, _ in self.got if where == path]

    def close(self) -> None:
        self.ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()
