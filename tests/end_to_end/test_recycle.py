"""A broker that is replaced again and again while one file is read."""

from __future__ import annotations

import contextlib
import gzip
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from connectors.simulator import wire
from connectors.simulator.traffic import Traffic

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(600)

EVENTS = 8_000
FULL = b"the embedded broker is full"


@pytest.fixture(scope="module")
def one_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("one") / "events.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.writelines(wire.bare(event) for event in Traffic(11, 1_790_000_000_000, EVENTS))
    return path


@pytest.fixture(scope="module")
def expected(cli: Any, one_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """What one run with one broker makes of it."""
    data = tmp_path_factory.mktemp("recycle") / "data"
    line = cli.replay(one_file, data)
    return line, cli.views(data)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any broker is full at once; little is under way, so that the file outlasts several."""
    monkeypatch.setenv("SES_STREAMS_EMBEDDED__BROKER_LIMIT_MB", "1")
    monkeypatch.setenv("SES_STREAMS_BRIDGE__MAX_IN_FLIGHT_MB", "1")


@pytest.mark.chaos
def test_a_file_outlasts_its_brokers(
    cli: Any, one_file: Path, tmp_path: Path, expected: tuple[Any, Any]
) -> None:
    done = cli.run("replay", str(one_file), "--data", str(tmp_path), "--once", timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr.count(FULL) >= 2
    assert b"starting again" not in done.stderr
    assert (cli.Line.of(done.stdout.decode()), cli.views(tmp_path)) == expected


@pytest.mark.chaos
def test_a_bridge_killed_between_two_brokers(
    cli: Any, one_file: Path, tmp_path: Path, expected: tuple[Any, Any]
) -> None:
    process = cli.start("replay", str(one_file), "--data", str(tmp_path), "--once")
    bridge = cli.pids(tmp_path, process)["bridge"]
    killer = threading.Thread(target=kill_when_withdrawn, args=(tmp_path, bridge))
    killer.start()
    output, errors = process.communicate(timeout=300)
    killer.join()
    assert process.returncode == 0, errors.decode()
    assert b"the bridge was killed by signal 9" in errors
    assert (cli.Line.of(output.decode()), cli.views(tmp_path)) == expected


def kill_when_withdrawn(data: Path, pid: int) -> None:
    """Between two brokers an instance does not say where it answers."""
    deadline = time.monotonic() + 60
    while (data / "instance.json").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
