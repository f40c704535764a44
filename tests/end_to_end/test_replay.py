from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.embedded

COUNTED = (
    "sends",
    "deliveries",
    "eligible",
    "complaints",
    "hard_bounces",
    "soft_bounces",
    "suppressed",
    "rejects",
    "rendering_failures",
    "delays",
    "opens",
    "clicks",
    "machine_opens",
    "unsubscribes",
    "blocks",
)


def test_the_counts_are_the_truth(cli: Any, undisturbed: tuple[Path, Any], truth: dict[str, Any]) -> None:
    _, line = undisturbed
    mails = sum(truth["mails"].values())
    duplicates = truth["duplicates"] + truth["mail_copies"] - mails
    assert line == cli.Line(truth["events"] + mails, duplicates, truth["dead_letters"])


def test_every_counter_of_every_campaign_and_hour_is_the_truth(
    cli: Any, undisturbed: tuple[Path, Any], truth: dict[str, Any]
) -> None:
    columns = ", ".join(COUNTED)
    names = f"value AS campaign, toUnixTimestamp(hour) AS hour, {columns}"
    query = f"SELECT {names} FROM rates WHERE dimension = 'campaign'"
    rows = [json.loads(line) for line in cli.sql(query, undisturbed[0], "JSONEachRow").splitlines()]
    found = {(row["campaign"], int(row["hour"])): {name: int(row[name]) for name in COUNTED} for row in rows}
    expected = {
        (row["campaign"], row["hour"]): {name: row[name] for name in COUNTED}
        for row in truth["campaign_hours"]
    }
    assert found == expected


def test_events_of_every_type_are_there_once(
    cli: Any, undisturbed: tuple[Path, Any], truth: dict[str, Any]
) -> None:
    published = "origin NOT IN ('dsn', 'arf')"
    query = f"SELECT event_type, count(), uniqExact(event_id) FROM events WHERE {published} GROUP BY 1"
    rows = [line.split("\t") for line in cli.sql(query, undisturbed[0]).decode().splitlines()]
    assert {kind: int(number) for kind, number, _ in rows} == truth["by_type"]
    assert all(number == distinct for _, number, distinct in rows)


def test_mail_joins_what_it_answers(cli: Any, undisturbed: tuple[Path, Any], truth: dict[str, Any]) -> None:
    health = "SELECT campaign AS what, sum({0}) AS n FROM campaign_health GROUP BY campaign HAVING n > 0"
    told = "origin IN ('dsn', 'arf')"
    counts = {
        "mails": "SELECT kind AS what, count() AS n FROM mails GROUP BY kind",
        "replies": health.format("replies"),
        "out_of_office": health.format("out_of_office"),
        "told_by_mail": f"SELECT event_type AS what, count() AS n FROM events WHERE {told} GROUP BY event_type",
        "conversations": "SELECT '' AS what, countIf(inbound > 0) AS n FROM threads WHERE outbound = 1",
        "dmarc_rows": "SELECT '' AS what, count() AS n FROM dmarc_records",
    }
    # In one query: opening ClickHouse takes longer than all of them.
    parts = (f"SELECT '{name}', toString(what), toInt64(n) FROM ({each})" for name, each in counts.items())
    lines = cli.sql(" UNION ALL ".join(parts), undisturbed[0], "JSONCompactEachRow").splitlines()
    found: dict[str, dict[str, int]] = {name: {} for name in counts}
    for name, what, number in map(json.loads, lines):
        found[name][what] = int(number)
    totals = {name: {"": truth[name]} for name in ("conversations", "dmarc_rows")}
    assert found == {name: totals.get(name, truth[name]) for name in counts}


def test_again_changes_no_view(
    cli: Any, undisturbed: tuple[Path, Any], tree: Path, truth: dict[str, Any]
) -> None:
    data, first = undisturbed
    before = cli.views(data)
    second = cli.replay(tree, data)
    assert second == cli.Line(0, first.accepted + first.duplicates, first.dead_letters)
    assert cli.views(data) == before


def test_sql_prints_the_bytes_of_any_format(cli: Any, undisturbed: tuple[Path, Any]) -> None:
    data, _ = undisturbed
    assert cli.sql("SELECT 1 AS a, 'x' AS b", data, "TSVWithNames") == b"a\tb\n1\tx\n"
    assert cli.sql("SELECT 1 AS a", data, "Parquet")[:4] == b"PAR1"


def test_sql_refuses_to_write(cli: Any, undisturbed: tuple[Path, Any]) -> None:
    done = cli.run("sql", "TRUNCATE TABLE event_rows", "--data", str(undisturbed[0]))
    assert done.returncode == 5
    assert done.stderr.startswith(b"ses-streams: only reading is allowed")
    assert done.stdout == b""


def test_report_and_dead_letters_read_what_is_there(cli: Any, undisturbed: tuple[Path, Any]) -> None:
    data = str(undisturbed[0])
    assert b"november-newsletter" in cli.run("report", "--data", data).stdout
    listed = cli.run("dead-letters", "list", "--cause", "not_json", "--data", data).stdout.decode()
    shown = cli.run("dead-letters", "show", listed.split()[0], "--data", data).stdout
    assert b"503 Service Unavailable" in shown


def test_when_it_exits_its_alarms_are_there_and_say_what_drives_them(
    cli: Any, undisturbed: tuple[Path, Any]
) -> None:
    query = (
        "SELECT alarm_key, seq, evidence FROM alarms WHERE state = 'firing'"
        " AND cause IN ('evidence', 'escalated', 'relapse') ORDER BY seq DESC, alarm_key"
    )
    rows = [json.loads(line) for line in cli.sql(query, undisturbed[0], "JSONEachRow").splitlines()]
    told = {(row["alarm_key"], int(row["seq"])): json.loads(row["evidence"]) for row in rows}
    assert told
    assert [key for key, evidence in told.items() if evidence.get("explained") is not True] == []
    assert [key for key, evidence in told.items() if "unexplained" in evidence] == []
    # The query in the evidence runs as it is, and shows what the strongest driver is one of. An alarm proven by a
    # few hits may have none; how many had come by then depends on how fast this machine was.
    for shown in sorted(told.values(), key=lambda each: -len(each["drivers"]))[:2]:
        lines = [line.split("\t")[:2] for line in cli.sql(shown["sql"], undisturbed[0]).decode().splitlines()]
        assert lines
        if shown["drivers"] and (strongest := shown["drivers"][0])["factor"] != "link":
            assert [strongest["value"], str(strongest["hits"])] in lines
