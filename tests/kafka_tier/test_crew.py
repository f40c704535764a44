"""One worker, two, three and one again, by kill -9 and by SIGTERM, while events flow: the rows are those of one."""

from __future__ import annotations

import logging
import os
import re
import signal
from random import Random
from typing import TYPE_CHECKING

import pytest
from crew import Crew, traffic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.sockets, pytest.mark.timeout(600)]

_log = logging.getLogger(__name__)
SEEDS = int(os.environ.get("CHAOS_SEEDS", "2"))


@pytest.fixture
def crew(broker: str, tmp_path: Path) -> Iterator[Crew]:
    made = Crew(broker, tmp_path)
    yield made
    made.close()


def nothing_skipped(crew: Crew) -> bool:
    return not any("or were skipped" in worker.said() for worker in crew.workers)


@pytest.mark.kafka
def test_from_one_to_three_workers_and_back(crew: Crew) -> None:
    first = crew.hire()
    with traffic(crew, Random(0)):
        crew.until_shared(first)
        second = crew.hire()
        joined = crew.until_shared(first, second)
        third = crew.hire()
        crew.until_shared(first, second, third)
        second.end(signal.SIGKILL)
        killed = crew.until_shared(first, third)
        assert third.end(signal.SIGTERM) == 0
        left = crew.until_shared(first)
    counted = crew.until_counted()
    assert first.end(signal.SIGTERM) == 0
    assert nothing_skipped(crew)
    times = {"joined": joined, "killed": killed, "left": left, "counted": counted}
    _log.info("seconds: %s", {name: round(seconds, 1) for name, seconds in times.items()})


@pytest.mark.kafka
def test_a_worker_that_loses_what_it_reads_ends_itself(crew: Crew) -> None:
    crew.write(range(200))
    for _ in range(3):
        deaf = crew.hire(deaf=2, stall_s=10.0)
        assert deaf.process.wait(120) == 1
        # On a machine that is slow enough, it may have ended because it took so long to get its partitions.
        if "restoring tables" not in deaf.said():
            break
    assert re.search(rf"though it has work \({crew.group}-(events|counts) 2\)", deaf.said())
    sound = crew.hire()
    crew.until_counted()
    assert sound.end(signal.SIGTERM) == 0


@pytest.mark.kafka
@pytest.mark.parametrize("seed", range(SEEDS))
def test_workers_come_and_go_at_random(crew: Crew, seed: int) -> None:
    random = Random(seed)
    crew.hire()
    with traffic(crew, random, pause_s=0.02):
        for _ in range(8):
            alive = [worker for worker in crew.workers if worker.process.poll() is None]
            if len(alive) < 3 and (len(alive) < 1 or random.random() < 0.6):
                crew.hire()
            else:
                # One that has not come as far as to heed SIGTERM ends by it.
                number = random.choice([signal.SIGKILL, signal.SIGTERM])
                assert random.choice(alive).end(number) in {0, -number}
            # Long enough that some rebalances end, short enough that some are interrupted.
            moment = crew.until(lambda: random.random() < 0.01, "a moment")
            assert moment >= 0
    if all(worker.process.poll() is not None for worker in crew.workers):
        crew.hire()
    crew.until_counted()
    assert nothing_skipped(crew)
