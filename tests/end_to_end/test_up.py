from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.embedded

Up = tuple[subprocess.Popen[bytes], "Path"]


def all_parts(cli: Any, pid: int) -> list[int]:
    """Broker, sink, worker, bridge; and what delivers alarms, which starts when they are up."""
    deadline = time.monotonic() + 60
    while len(parts := cli.parts_of(pid)) < 5 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(parts) == 5
    return list(parts)


@pytest.fixture(scope="module")
def running(cli: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data directory of an instance for those who leave it as it is, or add to it."""
    data = tmp_path_factory.mktemp("running") / "data"
    process = cli.start("up", "--data", str(data), "--http", "127.0.0.1:0")
    try:
        assert cli.pids(data, process), process.communicate()
        yield data
    finally:
        process.terminate()
        process.communicate(timeout=30)


def test_what_is_posted_is_in_sql_and_sigterm_leaves_nothing_behind(cli: Any, up: Up) -> None:
    process, data = up
    parts = all_parts(cli, process.pid)
    url = json.loads((data / "instance.json").read_text())["http"]
    sent = cli.run("simulate", "--http", url, "--events", "600", "--seed", "3")
    assert sent.returncode == 0, sent.stderr.decode()
    count = int(sent.stdout.split()[0])
    # An endpoint answers only once ClickHouse has the events: no waiting here.
    assert cli.sql("SELECT count() FROM events", data) == b"%d\n" % count
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert cli.all_gone(parts)
    assert not (data / "instance.json").exists()
    assert cli.sql("SELECT count() FROM events", data) == b"%d\n" % count, "and when nothing runs"


def test_replay_feeds_the_instance_that_runs(cli: Any, running: Path, tree: Path) -> None:
    generation = cli.pids(running)
    line = cli.replay(tree, running)
    events = "(SELECT count() FROM events WHERE origin NOT IN ('dsn', 'arf'))"
    assert line.accepted == int(cli.sql(f"SELECT {events} + (SELECT count() FROM mails)", running))
    assert cli.pids(running) == generation


def test_a_second_instance_is_refused(cli: Any, running: Path) -> None:
    done = cli.run("up", "--data", str(running))
    assert done.returncode == 6
    assert b"is in use by another ses-streams" in done.stderr


def test_nothing_outlives_a_killed_up(cli: Any, tmp_path: Path) -> None:
    data = tmp_path / "data"
    process = cli.start("up", "--data", str(data), "--http", "127.0.0.1:0")
    cli.pids(data)
    parts = all_parts(cli, process.pid)
    process.kill()
    process.communicate()
    assert cli.all_gone(parts)
    again = cli.start("up", "--data", str(data), "--http", "127.0.0.1:0")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not set(cli.pids(data).values()) & set(cli.parts_of(again.pid)):
        time.sleep(0.05)
    again.send_signal(signal.SIGINT)
    assert again.wait(30) == 0
    again.communicate()


def test_a_taken_port_is_one_sentence(cli: Any, running: Path, tmp_path: Path) -> None:
    taken = json.loads((running / "instance.json").read_text())["http"].removeprefix("http://")
    done = cli.run("up", "--data", str(tmp_path / "other"), "--http", taken)
    assert done.returncode == 3
    assert done.stderr.count(b"\n") == 1
    assert b"cannot listen on" in done.stderr


def test_an_unknown_queue_is_one_sentence(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "SES_STREAMS_BRIDGE__QUEUES",
        '[{url = "http://127.0.0.1:1/0/none", endpoint_url = "http://127.0.0.1:1", region = "us-east-1"}]',
    )
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    done = cli.run("up", "--data", str(tmp_path), "--http", "127.0.0.1:0")
    assert done.returncode == 3, done.stderr.decode()
    assert b"cannot be reached" in done.stderr
    assert not os.path.lexists(tmp_path / "instance.json")
