"""kill -9 of any part, or of everything, at any moment, then the same command again: the same views."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PARTS = ("broker", "sink", "worker", "bridge")


@pytest.fixture(scope="module")
def expected(cli: Any, undisturbed: tuple[Path, Any]) -> dict[str, bytes]:
    return cli.views(undisturbed[0])


def kill_parts(cli: Any, tree: Path, data: Path, moments: list[tuple[str, float]]) -> Any:
    """Kill a part of one generation after the other; the supervisor recovers, the command ends well.

    Args:
        moments: the part, and how long its generation has been up by then, seconds.
    """
    process = cli.start("replay", str(tree), "--data", str(data), "--once")
    before: dict[str, int] = {}
    for victim, delay_s in moments:
        while (now := cli.pids(data, process)) == before and process.poll() is None:
            time.sleep(0.02)
        time.sleep(delay_s)
        with contextlib.suppress(ProcessLookupError, KeyError):  # it was quicker
            os.kill(now[victim], signal.SIGKILL)
        before = now
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors.decode()
    return cli.Line.of(output.decode())


def kill_everything(cli: Any, tree: Path, data: Path, delay_s: float, *, once_up: bool = False) -> None:
    """So long after the start, or after the instance has come up."""
    process = cli.start("replay", str(tree), "--data", str(data), "--once")
    if once_up:
        cli.pids(data, process)
    time.sleep(delay_s)
    for pid in [process.pid, *cli.parts_of(process.pid)]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.communicate()


@pytest.mark.embedded
@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_each_part_is_killed_in_turn(
    cli: Any, tree: Path, tmp_path: Path, expected: dict[str, bytes], undisturbed: tuple[Path, Any]
) -> None:
    data = tmp_path / "data"
    moments = [("bridge", 0.2), ("worker", 0.6), ("sink", 0.4), ("broker", 0.8)]
    assert kill_parts(cli, tree, data, moments) == undisturbed[1]
    assert cli.views(data) == expected


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_everything_is_killed_twice(cli: Any, tree: Path, tmp_path: Path, expected: dict[str, bytes]) -> None:
    data = tmp_path / "data"
    kill_everything(cli, tree, data, 0.7, once_up=True)
    kill_everything(cli, tree, data, 1.5, once_up=True)
    line = cli.replay(tree, data)
    assert cli.views(data) == expected
    assert line.accepted <= expected["events"].count(b"\n") + expected["mails"].count(b"\n")


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(int(os.environ.get("CHAOS_SEEDS", "2"))))
def test_random_moments(cli: Any, tree: Path, tmp_path: Path, expected: dict[str, bytes], seed: int) -> None:
    rng = random.Random(seed)
    data = tmp_path / "data"
    for _ in range(rng.randint(1, 4)):
        if rng.random() < 0.5:
            kill_everything(cli, tree, data, rng.uniform(0.5, 9.0))
        else:
            kill_parts(cli, tree, data, [(rng.choice(PARTS), rng.uniform(0.0, 4.0)) for _ in range(2)])
    cli.replay(tree, data)
    assert cli.views(data) == expected
