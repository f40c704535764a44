from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from connectors.simulator.traffic import Traffic
from connectors.simulator.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = (sys.executable, "-m", "connectors.cli.main")
NOW_MS = 1_790_000_000_000
VIEWS = {
    "events": "SELECT * FROM events ORDER BY event_id",
    "rates": "SELECT * FROM rates ORDER BY dimension, value, hour",
    "campaign_health": "SELECT * FROM campaign_health ORDER BY campaign, hour",
    "dead_letters": "SELECT * FROM dead_letters ORDER BY 1, 2, 3",
    "mails": "SELECT * FROM mails ORDER BY mail_id",
    "threads": "SELECT * FROM threads ORDER BY thread_id",
    "dmarc_records": "SELECT * FROM dmarc_records ORDER BY ALL",
}


@dataclass(frozen=True, slots=True)
class Line:
    """The result line of a replay."""

    accepted: int
    duplicates: int
    dead_letters: int

    @classmethod
    def of(cls, text: str) -> Line:
        match = re.fullmatch(r"accepted=(\d+) duplicates=(\d+) dead_letters=(\d+)", text.splitlines()[-1])
        assert match, text
        return cls(*(int(each) for each in match.groups()))


@pytest.fixture(autouse=True)
def _no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("SES_STREAMS_", "AWS_")):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of every shape, with a truth."""
    root = tmp_path_factory.mktemp("tree")
    Tree(root, Traffic(7, NOW_MS, 6000)).write()
    return root / "events"


@pytest.fixture(scope="session")
def truth(tree: Path) -> dict[str, Any]:
    return dict(json.loads((tree.parent / "truth.json").read_text()))


@pytest.fixture(scope="session")
def undisturbed(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Line]:
    """A data directory after one replay that nothing disturbed, and what that said."""
    data = tmp_path_factory.mktemp("undisturbed") / "data"
    return data, Cli.replay(tree, data)


class Cli:
    """The command line as a user has it, and what to look at from outside."""

    Line = Line

    @staticmethod
    def run(*arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([*COMMAND, *arguments], capture_output=True, timeout=timeout, check=False)

    @staticmethod
    def replay(tree: Path, data: Path) -> Line:
        done = Cli.run("replay", str(tree), "--data", str(data), "--once")
        assert done.returncode == 0, done.stderr.decode()
        return Line.of(done.stdout.decode())

    @staticmethod
    def sql(query: str, data: Path, fmt: str = "TSV") -> bytes:
        done = Cli.run("sql", query, "--data", str(data), "--format", fmt)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    @staticmethod
    def views(data: Path) -> dict[str, bytes]:
        # Attachments are in the data directory, and rows say where.
        here = str(data).encode()
        return {name: Cli.sql(query, data).replace(here, b"DATA") for name, query in VIEWS.items()}

    @staticmethod
    def start(*arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    @staticmethod
    def pids(data: Path, process: subprocess.Popen[bytes] | None = None) -> dict[str, int]:
        """Of the parts, as soon as the instance is up; none when its process has ended."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                return dict(json.loads((data / "instance.json").read_text())["pids"])
            except (OSError, ValueError):
                if process is not None and process.poll() is not None:
                    return {}
                time.sleep(0.02)
        raise AssertionError(f"{data}: no instance came up")

    @staticmethod
    def parts_of(parent: int) -> list[int]:
        """Children of a process (proc(5))."""
        found: list[int] = []
        for tasks in Path(f"/proc/{parent}/task").glob("*/children"):
            found += [int(pid) for pid in tasks.read_text().split()]
        return found

    @staticmethod
    def alive(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    @staticmethod
    def all_gone(processes: list[int]) -> bool:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            if not any(Cli.alive(pid) for pid in processes):
                return True
            time.sleep(0.02)
        return False


@pytest.fixture(scope="session")
def cli() -> type[Cli]:
    return Cli


@pytest.fixture
def up(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A running `up`, stopped by SIGTERM at the end."""
    data = tmp_path / "data"
    process = Cli.start("up", "--data", str(data), "--http", "127.0.0.1:0")
    try:
        Cli.pids(data)
        yield process, data
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
