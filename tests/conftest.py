"""What every suite shares: the refusal of sockets, the hunt for left-over processes, and a broker."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from connectors.settings import Kafka

SOCKET_MARKS = ("sockets", "embedded", "kafka", "chaos")
CHILD_GRACE_S = 5


def pytest_itemcollected(item: pytest.Item) -> None:
    """Where a Kafka is named, the tests that use a broker are tests of it too (`make test-kafka`)."""
    if os.environ.get("KAFKA_BROKER") and "broker" in getattr(item, "fixturenames", ()):
        item.add_marker(pytest.mark.kafka)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first, whatever order chance has given them among each other.

    Workers share out whole files, and one that has a long file left at the end leaves the others with nothing to do.
    """
    starting = {item.path for item in items if item.get_closest_marker("embedded")}
    items.sort(key=lambda item: (item.path.parent.name != "end_to_end", item.path not in starting))


class SocketRefusedError(RuntimeError):
    """An unmarked test opened a socket."""


class _Refusal:
    """Stands before connect and bind; keeps the stack of each attempt, even of one that was caught."""

    def __init__(self) -> None:
        self.attempts: list[str] = []

    def guard(self, name: str) -> Any:
        original = getattr(socket.socket, name)

        def refuse(sock: socket.socket, address: Any) -> Any:
            if sock.family == socket.AF_UNIX:
                return original(sock, address)
            self.attempts.append("".join(traceback.format_stack(limit=12)[:-1]))
            raise SocketRefusedError(f"{name} to {address} in a test without the `sockets` mark")

        return refuse


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """moto's server, an AWS on this machine: its URL. Those of one process share what they hold."""
    from moto.server import ThreadedMotoServer

    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture(autouse=True)
def _sockets_only_where_marked(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Refuse IP sockets to unmarked tests; event loops' AF_UNIX pairs work."""
    if any(request.node.get_closest_marker(mark) for mark in SOCKET_MARKS):
        yield
        return
    refusal = _Refusal()
    for name in ("connect", "connect_ex", "bind"):
        monkeypatch.setattr(socket.socket, name, refusal.guard(name))
    yield
    if refusal.attempts:
        pytest.fail("opened a socket without the `sockets` mark:\n" + refusal.attempts[0])


def _children() -> dict[int, str]:
    """Live child processes of this one, of any thread, with their command lines (proc(5); Linux only)."""
    found: dict[int, str] = {}
    for tasks in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for text in tasks.read_text().split():
                if command := _command(int(text)):
                    found[int(text)] = command
    return found


def _command(pid: int) -> str:
    """Command line of a live process; empty for one that is gone or only waits to be reaped."""
    with contextlib.suppress(OSError):
        name, _, state = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
        if state.split()[0] in "ZX":
            return ""
        # Between exec and its first instruction a process has no command line yet: it has its name.
        line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        return line or name
    return ""


@pytest.fixture(autouse=True)
def _no_process_left_behind() -> Iterator[None]:
    """Fail a test that leaves a child running; what wider fixtures started came before and may stay."""
    before = set(_children())
    yield
    deadline = time.monotonic() + CHILD_GRACE_S
    while left := {
        pid: command
        for pid, command in _children().items()
        # The resource tracker is multiprocessing's own, one for the life of the interpreter.
        if pid not in before and "resource_tracker" not in command
    }:
        if time.monotonic() > deadline:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            pytest.fail(f"left processes behind: {left}")
        time.sleep(0.02)


@pytest.fixture(scope="session")
def broker() -> Iterator[str]:
    """`host:port` of a Kafka broker: the one named by `KAFKA_BROKER`, else an embedded one for the session.

    It is shared: tests choose topics and groups of their own.
    """
    if named := os.environ.get("KAFKA_BROKER"):
        yield named
        return
    with _embedded_broker() as address:
        yield address


@pytest.fixture
def kafka() -> Iterator[Kafka]:
    """An empty embedded broker of the test's own, with our topics: how to reach it."""
    from connectors import kafka as kafka_clients
    from connectors.settings import Kafka

    with _embedded_broker() as address:
        settings = Kafka(brokers=address, partitions=2, replication=1, rebalance_timeout_ms=2000)
        kafka_clients.ensure_topics(settings)
        yield settings


@contextlib.contextmanager
def _embedded_broker() -> Iterator[str]:
    from connectors.embedded import broker as embedded
    from connectors.embedded import lifeline

    port = embedded.free_port()
    process = subprocess.Popen(
        lifeline.wrap(embedded.command(port)),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        if not embedded.wait_for(port, process):
            pytest.fail("the embedded broker did not start")
        yield f"{embedded.HOST}:{port}"
    finally:
        process.kill()
        process.communicate()
