from __future__ import annotations

from typing import Any

from connectors.cli.progress import Progress
from connectors.cli.replay import Tally


def facts(unit: str, events: int, letters: int = 0, mails: int = 0) -> dict[str, Any]:
    return {
        "units_done": 1,
        "units_total": 9,
        "current": unit,
        "current_events": events,
        "current_mails": mails,
        "current_dead_letters": letters,
        "bytes_done": 0,
        "bytes_total": 0,
    }


def line(*reports: dict[str, Any]) -> str:
    tally = Tally(Progress("x", 0, "KiB"), before={"events": 10, "mails": 5, "later_letters": 1})
    for report in reports:
        tally.read(report)
    return tally.line({"events": 410, "mails": 5 + 7, "later_letters": 3})


def test_what_a_new_generation_reads_again_counts_once() -> None:
    read = (facts("a", 100, 1), facts("b", 150), facts("c", 60))
    again = (facts("", 0), facts("b", 80), facts("b", 150), facts("c", 60), facts("c", 200, 1))
    assert line(*read, *again) == "accepted=407 duplicates=50 dead_letters=4"


def test_units_may_become_safe_in_any_order() -> None:
    read = (facts("a", 100), facts("b", 150), facts("c", 200))
    again = (facts("a", 30), facts("a", 100), facts("", 0), facts("", 0))
    assert line(*read, *again) == "accepted=407 duplicates=50 dead_letters=2"


def test_a_resumed_run_counts_what_it_reads() -> None:
    assert line(facts("", 0), facts("b", 420)) == "accepted=407 duplicates=20 dead_letters=2"


def test_a_mail_is_one_as_an_event_is() -> None:
    read = (facts("a", 400, mails=3), facts("b", 0, mails=6, letters=1))
    assert line(*read) == "accepted=407 duplicates=2 dead_letters=3"
