"""`ses-streams postmaster fetch`, and `up` asking by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

pytestmark = [pytest.mark.embedded, pytest.mark.sockets]

COMMAND = (sys.executable, "-m", "connectors.cli.main")
TODAY = datetime.now(UTC).date()
FIGURES = "SELECT domain, today() - day < 5, metric, identifier, value FROM postmaster ORDER BY ALL"


def ago(days: int) -> date:
    return TODAY - timedelta(days=days)


@pytest.fixture
def data(google: Any, credentials: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory to be, and settings in the environment that lead to our Google."""
    for name in list(os.environ):
        if name.startswith("SES_STREAMS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SES_STREAMS_POSTMASTER__CREDENTIALS", str(credentials))
    monkeypatch.setenv("SES_STREAMS_POSTMASTER__ENDPOINT", google.url)
    google.domains = [{"name": "domains/a.example"}]
    google.say("a.example", "SPAM_RATE", {ago(2): 0.0012, ago(3): 0.0005})
    google.loops("a.example", {"spring": {ago(2): 0.004}, "summer": {ago(3): 0.0}})
    return tmp_path / "data"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=120, check=False)


def printed(*arguments: str) -> str:
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_fetch_is_in_the_report_and_another_only_corrects(
    google: Any, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = ("--data", str(data))
    assert printed("postmaster", "fetch", *where) == "domains=1 refused=0 figures=4 new=4 corrected=0\n"
    google.say("a.example", "SPAM_RATE", {ago(1): 0.0, ago(2): 0.0013, ago(3): 0.0005})
    monkeypatch.setenv("SES_STREAMS_POSTMASTER__DOMAINS", '["a.example", "gone.example"]')
    again = run("postmaster", "fetch", "--days", "5", *where)
    assert again.returncode == 0
    assert again.stdout == "domains=2 refused=1 figures=5 new=1 corrected=1\n"
    assert again.stderr.startswith("ses-streams: gone.example: Postmaster Tools gives reader@project")
    assert again.stderr.count("\n") == 1
    said = " ".join(printed("report", *where).split())
    assert f"a.example {ago(1)} 0.000% no data" in said
    assert f"spring a.example {ago(2)} 0.400%" in said
    assert "UTC: gone.example: Postmaster Tools gives reader@project" in said


def test_a_fetch_that_is_refused_everywhere_fails(google: Any, data: Path) -> None:
    google.domains += [{"name": "domains/b.example"}]
    for domain in ("a.example", "b.example"):
        google.goes_awry(f"{domain}/domainStats", 403, {"error": {"message": "no"}})
    done = run("postmaster", "fetch", "--data", str(data))
    assert done.returncode == 3
    assert done.stdout == "domains=2 refused=2 figures=0 new=0 corrected=0\n"
    *refused, last = done.stderr.splitlines()
    assert len(refused) == 2
    assert last == "ses-streams: Postmaster Tools refuses every domain: see what is said of each above"


def test_up_asks_by_itself(google: Any, data: Path) -> None:
    where = ("--data", str(data))
    process = subprocess.Popen(
        [*COMMAND, "up", "--http", "127.0.0.1:0", *where], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        deadline = time.monotonic() + 60
        while not (data / "instance.json").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        # An asking is written down once its figures are.
        asked = "SELECT domain, problem FROM postmaster_fetches"
        while printed("sql", asked, *where) != "a.example\t\n":
            assert time.monotonic() < deadline
        assert printed("sql", FIGURES, *where).splitlines() == [
            "a.example\t1\tfeedback_loop_spam_rate\tspring\t0.004",
            "a.example\t1\tfeedback_loop_spam_rate\tsummer\t0",
            "a.example\t1\tspam_rate\t\t0.0005",
            "a.example\t1\tspam_rate\t\t0.0012",
        ]
        refused = run("postmaster", "fetch", *where)
        assert refused.returncode == 6
        assert "has its ClickHouse open: stop it first" in refused.stderr
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0
