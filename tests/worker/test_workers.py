"""Several workers of one group take over from each other, and the rows are those of one."""

from __future__ import annotations

import signal
from random import Random
from typing import TYPE_CHECKING

import pytest
from crew import Crew, traffic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.sockets, pytest.mark.embedded]


@pytest.fixture
def crew(broker: str, tmp_path: Path) -> Iterator[Crew]:
    made = Crew(broker, tmp_path)
    yield made
    made.close()


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_a_second_joins_and_is_killed_while_events_flow(crew: Crew) -> None:
    first = crew.hire()
    with traffic(crew, Random(1)):
        crew.until_shared(first)
        second = crew.hire()
        crew.until_shared(first, second)
        second.end(signal.SIGKILL)
        crew.until_shared(first)
    crew.until_counted()
    assert first.end(signal.SIGTERM) == 0
    assert "or were skipped" not in first.said()
