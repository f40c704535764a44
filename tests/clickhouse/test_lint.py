"""The identifiers of events in ClickHouse, as `report` shows them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from connectors.cli.main import main
from connectors.clickhouse import door
from connectors.clickhouse.sql import Through
from connectors.embedded.directory import DataDirectory, Endpoints
from connectors.reports import lint
from connectors.reports.lint import lint_of, render

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.embedded

SENT = 1_767_225_600_000
DAY = 86_400_000


@pytest.fixture
def through(engine: Path, client: Any, database: str) -> Iterator[Through]:
    opened = door.serve(engine, database)
    yield Through(opened.address, opened.token)
    opened.stop()


def found(target: Through, *tags: str, days: int = 7) -> dict[tuple[str, tuple[str, ...]], tuple[str, ...]]:
    return {(each.kind, each.fields): each.examples for each in lint_of(target, tags, days).findings}


def test_nothing_is_said_of_nothing_and_of_sound_identifiers(
    through: Through, insert: Any, event: Any
) -> None:
    assert render(lint_of(through)) == ""
    insert("ses.events", [event(n, feedback_a=f"c{n % 5}", feedback_b="shop") for n in range(300)])
    assert render(lint_of(through, ["journey"])) == ""


def test_what_is_wrong_is_found_by_field(through: Through, insert: Any, event: Any) -> None:
    rows = [
        event(
            n,
            feedback_a=f"id-{n}",
            feedback_b=["shop", "Shop", "mail"][n % 3],
            feedback_c="shop" if n % 7 else "eu-west-1.111122223333",
            tags=[{"name": "it's", "values": [f"t{n * 3 // 4}"]}, {"name": "plain", "values": ["x y"]}],
        )
        for n in range(400)
    ]
    insert("ses.events", rows)
    # Copies that are not merged, and other events of the same messages, make nothing less unique.
    insert("ses.events", rows[::2])
    insert("ses.events", [row | {"event_id": b"D" * 16, "event_type": "Delivery"} for row in rows[:1]])
    got = found(through, "it's", "plain", "absent")
    assert got == {
        ("unique", ("feedback_a",)): ("id-0", "id-1", "id-10"),
        ("unique", ("tag:it's",)): ("t1", "t10", "t100"),
        ("repeated", ("feedback_b", "feedback_c")): ("shop",),
        ("variants", ("feedback_b",)): ("shop / Shop",),
        ("characters", ("tag:plain",)): ("x y",),
    }


def test_the_last_days_are_those_before_the_newest_event(through: Through, insert: Any, event: Any) -> None:
    old = [event(n, feedback_a=f"id-{n}", sent_time=SENT - 9 * DAY) for n in range(200)]
    new = [event(1000 + n, feedback_a="spring", sent_time=SENT) for n in range(10)]
    ahead = [event(2000, feedback_a="x", sent_time=SENT + 400 * DAY, future=True)]
    insert("ses.events", [*old, *new, *ahead])
    assert found(through) == {}
    assert list(found(through, days=10)) == [("unique", ("feedback_a",))]


def test_without_sends_deliveries_tell(through: Through, insert: Any, event: Any) -> None:
    insert("ses.events", [event(n, feedback_a=f"id-{n}", event_type="Delivery") for n in range(200)])
    assert list(found(through)) == [("unique", ("feedback_a",))]


def test_of_very_many_values_a_share_is_looked_at_with_all_its_spellings(
    through: Through, insert: Any, event: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lint, "_MOST_VALUES", 50)
    rows = [event(2 * n, feedback_a=f"id_{n}") for n in range(400)]
    rows += [event(2 * n + 1, feedback_a=f"ID-{n}") for n in range(400)]
    insert("ses.events", rows)
    result = lint_of(through)
    unique, variants = result.findings
    assert (unique.kind, variants.kind) == ("unique", "variants")
    assert all(
        first.lower() == second.lower().replace("_", "-")
        for first, second in (each.split(" / ") for each in variants.examples)
    )
    told = int(unique.what.partition("about ")[2].split()[0].replace(",", ""))
    assert 400 <= told <= 1600


def test_report_shows_it_under_its_own_heading(
    *,
    through: Through,
    insert: Any,
    event: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    insert("ses.events", [event(n, feedback_a=f"\x1bid {n}") for n in range(300)])
    directory = DataDirectory(tmp_path / "data")
    directory.prepare()
    with directory.hold():
        directory.publish(Endpoints(1, 1, "127.0.0.1:1", through.address, through.token))
        monkeypatch.setattr(sys, "argv", ["ses-streams", "report", "--data", str(directory.path)])
        with pytest.raises(SystemExit) as ended:
            main()
    assert not ended.value.code
    out = capsys.readouterr().out
    assert "\n\nIdentifiers that spoil rates (last 7 days)\n- feedback_a looks unique per message" in out
    assert r"such as '\x1bid 0'" in out
    assert "\x1b" not in out
