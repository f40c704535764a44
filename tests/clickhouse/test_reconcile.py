"""Events by several paths, of which some copies are known to be lost."""

from __future__ import annotations

import json
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from connectors.cli import reconcile as command
from connectors.cli.main import parser
from connectors.clickhouse import door
from connectors.clickhouse.migrations import migrate
from connectors.clickhouse.sql import Through, run_sql
from connectors.errors import ClickHouseError
from connectors.reports.reconcile import agree, hours, missing_sql, paths, reconcile, render

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.embedded

HOUR = 1_767_225_600
START = datetime.fromtimestamp(HOUR, UTC)
TYPES = ("Send", "Delivery", "Bounce", "Complaint")


@pytest.fixture
def through(client: Any, engine: Path, database: str) -> Iterator[Through]:
    opened = door.serve(engine, database)
    yield Through(opened.address, opened.token)
    opened.stop()


def copies(event: Any, number: int, hour: float, found: tuple[str, ...], **more: Any) -> list[dict[str, Any]]:
    """An event of an hour after the first, as each path brought it."""
    at = int((HOUR + hour * 3600) * 1000)
    return [
        event(number, path=path, sent_time=at, event_time=at, arrival_id=number * 10 + index, **more)
        for index, path in enumerate(found)
    ]


def test_every_lost_copy_is_found_and_nothing_else(through: Through, insert: Any, event: Any) -> None:
    chance = random.Random(5)
    rows: list[dict[str, Any]] = []
    lost: Counter[tuple[str, str, int, str]] = Counter()
    both: Counter[tuple[str, str, int, str]] = Counter()
    for number in range(900):
        kind, hour = TYPES[number % 4], number % 5
        found = ("sns", "firehose")
        # Each type comes by both paths in the first hour; losses begin later.
        if hour and chance.random() < 0.1:
            found = (chance.choice(found),)
        rows += copies(event, number, hour, found, event_type=kind)
        for path, other in (("sns", "firehose"), ("firehose", "sns")):
            if other in found:
                (both if path in found else lost)[path, other, hour, kind] += 1
    chance.shuffle(rows)
    insert("ses.events", rows)
    insert("ses.events", rows[:400])
    asked = hours(through, None, None)
    assert asked.until == START + timedelta(hours=5)
    found = reconcile(through, asked, limit=1000)
    got = {
        (
            gap.path,
            gap.other,
            int(datetime.fromisoformat(gap.hour + "Z").timestamp() - HOUR) // 3600,
            gap.event_type,
        ): (
            gap.both,
            gap.missing,
        )
        for gap in found.gaps
    }
    assert got == {key: (both[key], number) for key, number in lost.items()}
    for pair in found.pairs:
        assert pair.missing == sum(
            number for key, number in lost.items() if key[:2] == (pair.path, pair.other)
        )
        assert pair.both == both.total() // 2
    assert {pair.path for pair in found.pairs} == {"sns", "firehose"}
    assert not agree(found, 0.0)
    assert agree(found, 0.5)
    listed = [
        json.loads(line)
        for line in b"".join(run_sql(missing_sql(asked, "sns"), "JSONEachRow", through)).splitlines()
    ]
    assert len(listed) == sum(number for key, number in lost.items() if key[0] == "sns")
    assert all(row["found"] == ["firehose"] for row in listed)
    gone = {f"m{row['event_id']}" for row in listed}
    assert {row["message_id"] for row in listed} == {f"m{int(each[1:], 16)}" for each in gone}


def test_a_path_that_fails_for_hours_is_missed_for_a_week(through: Through, insert: Any, event: Any) -> None:
    rows = copies(event, 0, 0, ("sns", "firehose"))
    for number, hour in enumerate((30, 100, 167, 169, 400), 1):
        rows += copies(event, number, hour, ("sns",))
    insert("ses.events", rows)
    found = reconcile(through, hours(through, START, None))
    assert [(gap.hour, gap.path, gap.missing) for gap in found.gaps] == [
        ("2026-01-07 23:00:00", "firehose", 1),
        ("2026-01-05 04:00:00", "firehose", 1),
        ("2026-01-02 06:00:00", "firehose", 1),
    ]
    # Asked for a range in which it brought nothing at all.
    later = reconcile(through, hours(through, START + timedelta(hours=99), START + timedelta(hours=120)))
    assert [(pair.path, pair.both, pair.missing) for pair in later.pairs] == [("firehose", 0, 1)]


def test_what_a_path_never_carries_or_not_yet_it_does_not_miss(
    through: Through, insert: Any, event: Any
) -> None:
    rows = copies(event, 1, 0, ("firehose",)) + copies(event, 2, 3, ("firehose", "sns"))
    rows += copies(event, 3, 4, ("firehose",), event_type="Open") + copies(event, 4, 4, ("sns", "firehose"))
    rows += copies(event, 5, 4, ("firehose",), region="us-east-1", event_type="Send")
    # A replay from a file, of one hour.
    rows += copies(event, 6, 4, ("file", "sns", "firehose")) + copies(event, 7, 5, ("firehose", "sns"))
    insert("ses.events", rows)
    found = reconcile(through, hours(through, None, None))
    assert found.gaps[0].hour == "2026-01-01 04:00:00"
    assert [(gap.path, gap.other, gap.both, gap.missing) for gap in found.gaps] == [
        ("file", "firehose", 1, 1),
        ("file", "sns", 1, 1),
    ]
    without = [pair for pair in found.pairs if "file" not in (pair.path, pair.other)]
    assert [(pair.path, pair.both, pair.missing) for pair in without] == [("firehose", 4, 0), ("sns", 4, 0)]


def test_legacy_notifications_stand_for_every_configuration_set(
    through: Through, insert: Any, event: Any
) -> None:
    def bounce(number: int, hour: int, **more: Any) -> list[dict[str, Any]]:
        return copies(event, number, hour, **{"event_type": "Bounce"} | more)

    legacy = {"found": ("sns",), "tagged": False, "origin": "notification", "campaign": ""}
    published = {"found": ("firehose",), "configuration_set": "main"}
    rows = (
        bounce(1, 0, **legacy)
        + bounce(1, 0, **published)
        + bounce(2, 1, **published)
        + bounce(3, 1, **legacy)
    )
    insert("ses.events", rows)
    found = reconcile(through, hours(through, None, None))
    assert [(gap.path, gap.other, gap.missing, gap.message_id) for gap in found.gaps] == [
        ("sns", "firehose", 1, "m2")
    ]
    assert found.legacy_only == (("Bounce", 1),)
    assert "1 Bounce events came as legacy notifications alone" in render(found)


def test_what_happened_just_now_is_not_missing_yet(through: Through, insert: Any, event: Any) -> None:
    now = (datetime.now(UTC) - START) / timedelta(hours=1)
    insert(
        "ses.events", copies(event, 1, now - 2, ("sns", "firehose")) + copies(event, 2, now - 0.05, ("sns",))
    )
    found = reconcile(through, hours(through, None, None))
    assert found.gaps == ()
    assert agree(found, 0.0)


def test_a_database_that_is_older_learns_which_path_brought_what(
    client: Any, through: Through, insert: Any, event: Any
) -> None:
    for name in ("path_activity_of_events", "path_activity"):
        client.command(f"DROP TABLE {name} SYNC")
    client.command(
        "ALTER TABLE schema_migrations DELETE WHERE name LIKE '%reconciliation%' SETTINGS mutations_sync = 1"
    )
    insert("ses.events", copies(event, 1, 0, ("sns", "firehose")) + copies(event, 2, 0, ("sns",)))
    assert migrate(client) == ("011_reconciliation.sql",)
    insert("ses.events", copies(event, 3, 1, ("firehose",)))
    found = reconcile(through, hours(through, None, None))
    assert [(gap.path, gap.message_id) for gap in found.gaps] == [("sns", "m3"), ("firehose", "m2")]


def test_one_path_alone_cannot_be_compared(through: Through, insert: Any, event: Any) -> None:
    assert "no events: there is nothing to compare" in render(reconcile(through, hours(through, None, None)))
    insert("ses.events", copies(event, 1, 0, ("sns",)))
    found = reconcile(through, hours(through, None, None))
    assert "all 1 events came by sns alone" in render(found)
    assert agree(found, 0.0)


def test_the_command_exits_with_1_beyond_the_tolerance(
    through: Through, insert: Any, event: Any, monkeypatch: pytest.MonkeyPatch, capsysbinary: Any
) -> None:
    from contextlib import nullcontext

    monkeypatch.setattr(command, "target_of", lambda _: nullcontext(through))
    rows = [row for n in range(9) for row in copies(event, n, 0, ("sns", "firehose"))]
    insert("ses.events", rows + copies(event, 9, 0, ("sns",)))

    def run(*arguments: str) -> tuple[int, str]:
        args = parser().parse_args(["reconcile", *arguments])
        return int(args.run(args)), capsysbinary.readouterr().out.decode()

    code, text = run()
    assert code == 1
    assert ["firehose", "sns", "9", "1", "10.000%", "1"] in [line.split() for line in text.splitlines()]
    assert run("--tolerance", "0.1")[0] == 0
    assert run("--tolerance", "0.09")[0] == 1
    code, text = run("--missing", "firehose")
    assert (code, [line.split("\t")[:3] for line in text.splitlines()[1:]]) == (
        1,
        [[f"{9:032x}", "Send", "m9"]],
    )
    assert run("--missing", "sns", "--format", "JSONEachRow") == (0, "")
    code, text = run("--format", "JSONEachRow", "--from", "2026-01-01", "--to", "2026-01-01T01:00")
    assert {(row["path"], int(row["missing"])) for row in map(json.loads, text.splitlines())} == {
        ("sns", 0),
        ("firehose", 1),
    }
    assert run("--from", "2026-01-02T00:00+00:00", "--to", "2026-01-03")[0] == 0
    with pytest.raises(ClickHouseError, match=r"no event ever came by a path pigeon: .*firehose, sns"):
        run("--missing", "pigeon")
    assert paths(through) == ["firehose", "sns"]
    for wrong in (["--from", "soon"], ["--tolerance", "2"]):
        with pytest.raises(SystemExit):
            run(*wrong)
