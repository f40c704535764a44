from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from connectors.clickhouse import door
from connectors.clickhouse.dead_letters import list_letters, show_letter
from connectors.clickhouse.memory import ClickHouseMemory
from connectors.clickhouse.readonly import checked, own_format
from connectors.clickhouse.sql import Through, run_sql
from connectors.clickhouse.statements import split
from connectors.errors import ClickHouseError
from connectors.reports.report import render, report
from schemas.dead_letters import dead_letter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.embedded


@pytest.fixture
def through(engine: Path, client: Any, database: str) -> Iterator[Through]:
    opened = door.serve(engine, database)
    yield Through(opened.address, opened.token)
    opened.stop()


def ask(through: Through, sql: str, fmt: str = "TSV") -> bytes:
    return b"".join(run_sql(sql, fmt, through))


def test_results_come_in_any_format(through: Through, insert: Any, event: Any, tmp_path: Path) -> None:
    insert("ses.events", [event(n) for n in range(3)])
    sql = "SELECT message_id, arrivals FROM events ORDER BY message_id;"
    assert ask(through, sql) == b"m0\t1\nm1\t1\nm2\t1\n"
    assert [row["message_id"] for row in json.loads(ask(through, sql, "JSON"))["data"]] == ["m0", "m1", "m2"]
    assert ask(through, "SELECT 1 AS a FORMAT CSVWithNames", "JSON") == b'"a"\n1\n'
    parquet = tmp_path / "rows.parquet"
    parquet.write_bytes(ask(through, "SELECT toString(message_id) AS m FROM events ORDER BY m", "Parquet"))
    assert pl.read_parquet(parquet)["m"].cast(pl.String).to_list() == ["m0", "m1", "m2"]


def test_a_large_result_comes_whole(through: Through) -> None:
    got = ask(through, "SELECT number FROM numbers(1000000)", "RowBinary")
    assert len(got) == 8_000_000


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO dead_letter_rows (stage) VALUES ('x')",
        "CREATE TABLE t (a Int8) ENGINE = Memory",
        "CREATE TEMPORARY TABLE t (a Int8)",
        "DROP TABLE event_rows",
        "SET readonly = 0",
        "USE system",
        "KILL QUERY WHERE 1",
        "SYSTEM STOP MERGES",
        "SELECT 1 SETTINGS readonly = 0",
        "SELECT 1; DROP TABLE event_rows",
        "/* a */ -- b\n DROP TABLE event_rows",
        "SELECT 1 INTO OUTFILE '{out}'",
        "SELECT 1 into/**/outfile '{out}'",
        "EXPLAIN SELECT 1 INTO OUTFILE '{out}'",
        "INSERT INTO FUNCTION file('{out}', 'TSV', 'a String') SELECT 'x'",
        "SELECT * FROM file('{secret}', 'TSV', 'a String')",
        "SELECT file('{secret}')",
        "SELECT `file`('{secret}')",
        "SELECT \"file\" /**/ ('{secret}')",
        "SELECT FILE('{secret}')",
        "SELECT `fil\\x65`('{secret}')",
        "DESCRIBE TABLE file('{secret}')",
        "SELECT * FROM '{secret}'",
        "SELECT * FROM url('http://127.0.0.1:1/', 'TSV', 'a String')",
        "SELECT * FROM s3('http://127.0.0.1:1/bucket/x', 'TSV', 'a String')",
        "SELECT * FROM remote('127.0.0.1:1', system, one)",
        "SELECT * FROM python('secrets')",
        "SELECT * FROM sqlite('{secret}', 't')",
        "SELECT * FROM executable('x', 'TSV', 'a String')",
        "WITH 1 AS x SELECT file('{secret}')",
        "SELECT 'unfinished",
        "",
    ],
)
def test_only_reading_the_tables_is_possible(through: Through, sql: str, tmp_path: Path) -> None:
    secret, out = tmp_path / "secret.tsv", tmp_path / "out.tsv"
    secret.write_text("hidden\n")
    with pytest.raises(ClickHouseError) as caught:
        ask(through, sql.format(secret=secret, out=out))
    assert "hidden" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not out.exists()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 'INTO OUTFILE; file(' AS a",
        "SELECT 1 -- ; DROP TABLE x\n",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "FROM events SELECT count()",
        "(SELECT 1) UNION ALL (SELECT 2)",
        "SHOW TABLES",
        "DESCRIBE events",
        "EXPLAIN SELECT 1",
        "EXISTS TABLE events",
        "SELECT format('{}', 'a')",
        "SELECT 1 /* ; */ ;",
    ],
)
def test_reading_in_any_form_works(through: Through, sql: str) -> None:
    assert ask(through, sql)


def test_the_door_wants_its_token(through: Through) -> None:
    with pytest.raises(ClickHouseError, match="token"):
        ask(Through(through.address, "guess"), "SELECT 1")


def test_a_closed_door_is_a_sentence(engine: Path, client: Any, database: str) -> None:
    opened = door.serve(engine, database)
    opened.stop()
    with pytest.raises(ClickHouseError, match="is it still running"):
        ask(Through(opened.address, opened.token), "SELECT 1")


def test_a_query_that_fails_half_way_does_not_look_whole(through: Through) -> None:
    with pytest.raises(ClickHouseError):
        ask(through, "SELECT throwIf(number = 3000000) FROM numbers(4000000)", "TSV")


def test_no_data_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ClickHouseError, match="no data in"):
        list(run_sql("SELECT 1", "TSV", f"chdb://{tmp_path / 'none'}"))


def test_the_memory_holds_every_event_and_the_newest_counters(
    through: Through, insert: Any, event: Any
) -> None:
    rows = [event(n << 64, tagged=n % 2 == 0, arrival_id=n) for n in range(1, 5)]
    insert("ses.events", rows + rows[:2])
    cell = {"dimension": "campaign", "value": 'a"b\té', "hour": 7_226_582_400}
    insert("ses.rates", [cell | {"version": 5, "sends": 2}, cell | {"version": 9, "sends": 3, "blocks": 1}])
    insert("ses.rates", [{"dimension": "account", "value": "none", "hour": 0, "version": 11}])
    memory = ClickHouseMemory(through)
    found = list(memory.seen(0))
    seen = {int(key) for _, keys in found for key in keys}
    assert {int(hour) for hours, _ in found for hour in hours} == {
        row["sent_time"] // 3_600_000 for row in rows
    }
    assert memory.watermark() == max(row["event_time"] for row in rows) // 3_600_000
    assert not [keys for _, keys in memory.seen(memory.watermark() + 24) if keys.size]
    wanted = {int.from_bytes(row["event_id"][:8], "little") & ~1 | int(row["tagged"]) for row in rows}
    assert seen == wanted
    assert list(memory.counters(36_500)) == [("campaign", 'a"b\té', 7_226_582_400, (3, *[0] * 13, 1))]
    assert memory.last_version() == 11


def test_the_memory_gives_counters_of_retained_hours(through: Through, insert: Any) -> None:
    hours = (1_760_000_400, 1_760_000_400 - 3 * 86_400, 1_760_000_400 - 3 * 86_400 - 3600, 7_226_582_400)
    cell = {"dimension": "account", "value": "1", "version": 1, "sends": 1}
    insert("ses.rates", [cell | {"hour": hour} for hour in hours])
    # What lies ahead of the clock ages nothing.
    assert {row[2] for row in ClickHouseMemory(through).counters(3)} == {hours[0], hours[1], hours[3]}


def test_an_empty_memory(through: Through) -> None:
    memory = ClickHouseMemory(through)
    assert (list(memory.seen(0)), list(memory.counters(36_500)), memory.last_version()) == ([], [], 0)
    assert memory.watermark() == 0


def test_the_report_shows_campaigns_paths_and_dead_letters(through: Through, insert: Any, event: Any) -> None:
    insert(
        "ses.events", [event(1, path="sns"), event(1, path="firehose", arrival_id=5), event(2, path="sns")]
    )
    cell = {"dimension": "campaign", "version": 1, "hour": 0}
    insert("ses.rates", [cell | {"value": "fine", "sends": 1000, "eligible": 900, "complaints": 1}])
    insert(
        "ses.rates",
        [cell | {"value": "bad", "sends": 100, "suppressed": 50, "eligible": 40, "complaints": 20}],
    )
    insert("ses.rates", [cell | {"value": "bad", "hour": 3600, "sends": 10, "deliveries": 7}])
    insert(
        "ses.dead-letter",
        [dict(dead_letter(time=0, stage="parse", cause="x", detail="", source="", payload=b""))],
    )
    found = report(through, campaigns=2)
    assert [each.name for each in found.campaigns] == ["bad", "fine"]
    worst = found.campaigns[0]
    assert (worst.sends, worst.deliveries, worst.eligible, worst.complaints) == (60, 7, 40, 20)
    assert worst.complaint_rate is not None
    assert worst.complaint_rate.value == 0.5
    # Clopper and Pearson's limits of 20 in 40, from a table.
    assert (round(worst.complaint_rate.low, 3), round(worst.complaint_rate.high, 3)) == (0.338, 0.662)
    assert [(each.name, each.events, each.missed) for each in found.paths] == [
        ("firehose", 1, 1),
        ("sns", 2, 0),
    ]
    assert [(each.stage, each.cause, each.letters) for each in found.causes] == [("parse", "x", 1)]
    assert "50.000% (33.802% to 66.198%)" in render(found)


def test_dead_letters_are_listed_and_shown_with_their_bytes(through: Through, insert: Any) -> None:
    def letter(stage: str, time: int, payload: bytes) -> dict[str, Any]:
        return dict(
            dead_letter(
                time=time,
                stage=stage,
                cause="odd",
                detail="first\nsecond",
                source="file:///a",
                payload=payload,
            )
        )

    insert("ses.dead-letter", [letter("parse", 1000, b"\xff\0{"), letter("sink", 2000, b"x")])
    assert [each.stage for each in list_letters(through)] == ["sink", "parse"]
    (listed,) = list_letters(through, stage="parse", cause="odd")
    assert (listed.detail, listed.payload_size, listed.time.timestamp()) == ("first", 3, 1.0)
    shown = show_letter(through, listed.dead_letter_id[:8])
    assert (shown.payload, shown.detail, shown.listed.stage) == (b"\xff\0{", "first\nsecond", "parse")
    insert("ses.dead-letter", [letter("read", 10**30, b"late"), letter("read", -(10**30), b"early")])
    assert [each.time.year for each in list_letters(through, stage="read")] == [2299, 1900]
    with pytest.raises(ClickHouseError, match="no dead letter begins"):
        show_letter(through, "0" * 32)
    with pytest.raises(ClickHouseError, match="no stage or cause"):
        list_letters(through, stage="' OR 1")


def test_statements_are_split_outside_strings_and_comments() -> None:
    script = "-- a;b\nSELECT ';', \"a;b\", `c;d`, 'it''s;', '\\';' /* ; */;\n\nSELECT $$;$$; -- end;\n"
    assert split(script) == [
        "-- a;b\nSELECT ';', \"a;b\", `c;d`, 'it''s;', '\\';' /* ; */",
        "SELECT $$;$$",
    ]


def test_a_format_inside_a_string_or_function_is_not_the_format() -> None:
    assert own_format("SELECT ' FORMAT JSON'") == ""
    assert own_format("SELECT format('{}', a)") == ""
    assert own_format("SELECT 1 FORMAT JSON") == "JSON"
    assert checked("SELECT 1 ; ;") == "SELECT 1"
