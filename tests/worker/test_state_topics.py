"""Changelogs that no worker may start on."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.worker.config import WorkerConfig, changelogs, rebuilding
from pipelines.worker.errors import TopicsError
from pipelines.worker.topics import _check_state

CONFIG = WorkerConfig(brokers="", partitions=4, data=Path("none"))
OWN = list(changelogs())


def test_changelogs_that_are_whole_or_not_there_yet_will_do() -> None:
    _check_state(CONFIG, dict.fromkeys(OWN, 4), OWN)
    _check_state(CONFIG, {}, OWN)
    # Without tables there are none to look at.
    _check_state(CONFIG, {rebuilding(): 1}, [])


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ({OWN[0]: 4, OWN[1]: 3}, "have another number of partitions than the topics"),
        (dict.fromkeys(OWN, 4) | {rebuilding(): 1}, "were not written to the end"),
    ],
)
def test_others_have_to_be_rebuilt(found: dict[str, int], why: str) -> None:
    with pytest.raises(TopicsError, match=f"{why}: run `ses-streams rebuild rates`"):
        _check_state(CONFIG, found, OWN)
