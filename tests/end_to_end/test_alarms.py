"""Alarms of replayed files: those that the truth asks for, each once, whatever is repeated or dies."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from connectors.cli.alarm_verdict import NO_DATA_SQL, TRANSITIONS_SQL, lines
from connectors.simulator.traffic import Traffic
from connectors.simulator.tree import Tree
from pipelines.alarms.rules import defaults

if TYPE_CHECKING:
    from pathlib import Path

    from connectors.simulator.truth import Truth

pytestmark = [pytest.mark.embedded, pytest.mark.timeout(600)]

NOW_MS = 1_790_000_000_000
EVENTS = 16_000
BAD = "complaint_rate:campaign:black-friday"
PARTS = ("broker", "sink", "worker", "bridge")
# What a key's own past was like is known only once late messages of it have come, so drifts depend on when they do.
# How much of an hour a batch brings decides whether an incident passes "warning" on its way to "critical", and when it
# is seen to be over; and whether a rate that was high for a moment is seen at all: the truth says "may fire" then.
ENDS_SQL = (
    "SELECT alarm_key, argMax(state, seq) = 'firing', argMax(severity, seq), countIf(cause = 'evidence') FROM alarms"
    " WHERE signal != 'baseline_drift' GROUP BY alarm_key ORDER BY alarm_key"
)
FULL_SQL = (
    "SELECT alarm_key, seq, time, state, severity, rate, limit, e_value, cause, incident FROM alarms"
    " WHERE signal != 'baseline_drift' ORDER BY alarm_key, seq"
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    root = tmp_path_factory.mktemp("alarming")
    truth = Tree(root, Traffic(18, NOW_MS, EVENTS)).write()
    return root / "events", truth


@pytest.fixture(scope="module")
def replayed(cli: Any, files: tuple[Path, Truth], tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("alarmed") / "data"
    cli.replay(files[0], data)
    return data


def rows(cli: Any, sql: str, data: Path) -> list[list[Any]]:
    return [json.loads(line) for line in cli.sql(sql, data, "JSONCompactEachRow").splitlines()]


def judged(cli: Any, truth: Truth, data: Path) -> tuple[list[list[Any]], set[str]]:
    """The transitions, which are what the truth asks for; the alarms that may fire, or not."""
    transitions = rows(cli, TRANSITIONS_SQL, data)
    for each in transitions:
        each[1], each[2] = int(each[1]), int(each[2])
    without = {name for (name,) in rows(cli, NO_DATA_SQL, data)}
    found = lines(truth, defaults().in_force, transitions, without, NOW_MS)
    assert [each for each in found if not each.agrees] == []
    return transitions, {each.alarm_key for each in found if each.truth == "may fire"}


def certain(cli: Any, sql: str, data: Path, perhaps: set[str]) -> list[list[Any]]:
    """Rows that begin with an alarm key, without those that may fire."""
    return [each for each in rows(cli, sql, data) if each[0] not in perhaps]


def test_a_replay_alarms_as_the_truth_asks(cli: Any, files: tuple[Path, Truth], replayed: Path) -> None:
    transitions, _ = judged(cli, files[1], replayed)
    fired = [each for each in transitions if each[0] == BAD and each[7] == "evidence"]
    assert len(fired) == 1
    drivers = json.loads(fired[0][-1])["drivers"]
    assert drivers[0]["value"] == "purchased-list"


@pytest.mark.chaos
def test_again_nothing_is_added(cli: Any, files: tuple[Path, Truth], replayed: Path) -> None:
    before = rows(cli, FULL_SQL, replayed)
    cli.replay(files[0], replayed)
    _, perhaps = judged(cli, files[1], replayed)
    found = [each for each in before if each[0] not in perhaps]
    assert found
    assert certain(cli, FULL_SQL, replayed, perhaps) == found


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(int(os.environ.get("CHAOS_SEEDS", "2"))))
def test_killed_parts_change_nothing(
    cli: Any, files: tuple[Path, Truth], replayed: Path, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    data = tmp_path / "data"
    process = cli.start("replay", str(files[0]), "--data", str(data), "--once")
    before: dict[str, int] = {}
    for victim in rng.sample(PARTS, 3):
        while (now := cli.pids(data, process)) == before and process.poll() is None:
            time.sleep(0.02)
        time.sleep(rng.uniform(0.0, 4.0))
        with contextlib.suppress(ProcessLookupError, KeyError):  # it was quicker
            os.kill(now[victim], signal.SIGKILL)
        before = now
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors.decode()
    perhaps = judged(cli, files[1], data)[1] | judged(cli, files[1], replayed)[1]
    assert (found := certain(cli, ENDS_SQL, data, perhaps))
    assert found == certain(cli, ENDS_SQL, replayed, perhaps)
    # A number is never given to two different transitions, in any revision.
    twice = "SELECT alarm_key, seq FROM alarm_rows GROUP BY 1, 2 HAVING uniqExact(state, severity, time, cause) > 1"
    assert cli.sql(twice, data) == b""
