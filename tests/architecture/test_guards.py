"""The refusals of `tests/conftest.py`, seen from outside: pytest runs on small files of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
# A pytest of its own starts in a second or so; the three cases share one.
CASES = """
import asyncio, socket, subprocess
import pytest

def test_connects():
    try:
        socket.create_connection(("127.0.0.1", 9), timeout=1)
    except Exception:
        pass  # swallowed: teardown tells

async def test_event_loop_alone():
    await asyncio.sleep(0)

@pytest.mark.sockets
def test_marked():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))

def test_leaves_a_child():
    subprocess.Popen(["sleep", "60"])

def test_reaps_its_child():
    subprocess.run(["true"])
"""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("guarded")
    text = CONFTEST.read_text().replace("CHILD_GRACE_S = 5", "CHILD_GRACE_S = 0.5")
    (folder / "conftest.py").write_text(text)
    (folder / "test_cases.py").write_text(CASES)
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\nmarkers =\n    sockets: may\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:randomly", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    return done.stdout


def test_a_socket_of_an_unmarked_test_fails_it_with_its_stack(outcome: str) -> None:
    assert "ERROR test_cases.py::test_connects" in outcome
    assert "opened a socket without the `sockets` mark" in outcome
    assert ", in test_connects" in outcome


def test_event_loops_and_marked_tests_run(outcome: str) -> None:
    assert "PASSED test_cases.py::test_event_loop_alone" in outcome
    assert "PASSED test_cases.py::test_marked" in outcome
    assert "ERROR test_cases.py::test_marked" not in outcome


def test_a_child_left_behind_fails_the_test(outcome: str) -> None:
    assert "ERROR test_cases.py::test_leaves_a_child" in outcome
    assert "left processes behind" in outcome
    assert "ERROR test_cases.py::test_reaps_its_child" not in outcome
