from __future__ import annotations

import contextlib
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

READ = """
import json, sys
from argparse import Namespace
from pathlib import Path
from connectors.cli.clickhouse_at import target_of
from connectors.clickhouse.sql import run_sql

with target_of(Namespace(config=None, data=Path(sys.argv[1]))) as target:
    found = {name: b"".join(run_sql(query, "TSV", target)) for name, query in json.loads(sys.argv[2]).items()}
print(json.dumps({name: rows.decode("latin-1") for name, rows in found.items()}))
"""
"""What `sql` does, for many queries: opening ClickHouse is most of the work of one."""


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
        command = [sys.executable, "-c", READ, str(data), json.dumps(VIEWS)]
        done = subprocess.run(command, capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr.decode()
        found = json.loads(done.stdout)
        return {name: found[name].encode("latin-1").replace(here, b"DATA") for name in VIEWS}

    @staticmethod
    def start(*arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    @staticmethod
    def pids(data: Path, process: subprocess.Popen[bytes] | None = None) -> dict[str, int]:
        """Of the parts, as soon as the instance is up; none when its process has ended.

        Where the process is given, what another left when it was killed does not count.
        """
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, ValueError):
                told = json.loads((data / "instance.json").read_text())
                if process is None or told["pid"] == process.pid:
                    return dict(told["pids"])
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
