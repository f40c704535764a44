from __future__ import annotations

from typing import Any

from connectors.cli.progress import Progress
from connectors.cli.replay import Tally


def facts(units: int, events: int, letters: int = 0) -> dict[str, Any]:
    return {
        "units_done": units,
        "units_total": 9,
        "events": events,
        "dead_letters": letters,
        "bytes_done": 0,
        "bytes_total": 0,
    }


def test_what_a_new_generation_reads_again_counts_once() -> None:
    tally = Tally(Progress("x", 0, "KiB"), before={"events": 10, "later_letters": 0})
    tally.restart(0)
    for units, events in ((1, 100), (2, 250), (2, 300)):  # killed in the third file, the second not safe yet
        tally.read(facts(units, events, letters=units))
    tally.restart(1)
    tally.read(facts(2, 150, letters=1))
    tally.read(facts(2, 170, letters=1))
    tally.restart(2)
    tally.read(facts(3, 200, letters=1))
    assert tally.line({"events": 410, "later_letters": 0}) == "accepted=400 duplicates=50 dead_letters=3"


def test_a_first_file_that_is_begun_again_counts_once() -> None:
    tally = Tally(Progress("x", 0, "KiB"))
    tally.restart(0)
    tally.read(facts(0, 180))
    tally.restart(0)
    tally.read(facts(1, 400))
    assert tally.line({"events": 400, "later_letters": 0}) == "accepted=400 duplicates=0 dead_letters=0"


def test_a_resumed_run_counts_what_it_reads() -> None:
    tally = Tally(Progress("x", 0, "KiB"))
    tally.restart(5)
    tally.read(facts(6, 40))
    assert tally.line({"events": 30, "later_letters": 2}) == "accepted=30 duplicates=10 dead_letters=2"
