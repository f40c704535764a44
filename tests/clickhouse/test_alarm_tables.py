"""Transitions, actions and incidents in ClickHouse: what lands, what wins, and what the views say of it."""

from __future__ import annotations

import json
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest

from connectors.clickhouse import door
from connectors.clickhouse.sql import Through, run_sql

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.embedded

T = 1_767_225_600_000
KEY = "complaint_rate:campaign:spring"


@pytest.fixture
def through(client: Any, engine: Path, database: str) -> Iterator[Through]:
    opened = door.serve(engine, database)
    yield Through(opened.address, opened.token)
    opened.stop()


def row(seq: int, **fields: Any) -> dict[str, Any]:
    base = {
        "alarm_key": KEY,
        "seq": seq,
        "time": T + seq * 3_600_000,
        "state": "firing",
        "severity": "warning",
        "signal": "complaint_rate",
        "dimension": "campaign",
        "value": "spring",
        "rate": 0.02,
        "limit": 0.001,
        "e_value": 1e300,
        "evidence": '{"hits":4,"rate_low":0.01,"rate_high":0.03}',
        "rule": "complaint_rate",
        "incident": 1,
        "opened_time": T + 3_600_000,
        "cause": "evidence",
        "written_time": T + seq,
        "machine": bytes(range(256)),
    }
    return base | fields


def action(number: int, **fields: Any) -> dict[str, Any]:
    base = {"action_id": f"a{number}", "time": T, "action": "page", "target": "slack", "outcome": "delivered"}
    return base | {"alarm_key": KEY, "seq": 1, "incident": 1, "dedup_key": "d", "attempts": 1} | fields


def asked(client: Any, sql: str) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = client.query(sql).result_rows
    return rows


def test_views_lead_with_the_columns_analysts_rely_on(client: Any) -> None:
    def columns(view: str) -> str:
        return " ".join(each[0] for each in asked(client, f"DESCRIBE {view}"))

    assert columns("alarms").startswith(
        "alarm_key seq time state severity signal dimension value rate limit e_value evidence"
    )
    assert "machine" not in columns("alarms")
    assert columns("incidents").startswith(
        "alarm_key incident state severity signal dimension value opened_time changed_time resolved_time rate limit"
    )


def test_of_a_transition_the_highest_revision_is_seen_whatever_comes_when(
    client: Any, insert: Any, contents: Any
) -> None:
    first, second, other = row(1), row(1, revision=1, evidence='{"drivers":[]}'), row(2)
    seen = set()
    for order in permutations([first, second, other]):
        client.command("TRUNCATE TABLE alarm_rows SYNC")
        for each in order:
            insert("ses.alarms", [each])
        insert("ses.alarms", [first, other, first])
        seen.add(contents("alarms"))
    (text,) = seen
    found = [json.loads(line) for line in text.splitlines()]
    assert [(int(each["seq"]), each["evidence"]) for each in found] == [
        (1, '{"drivers":[]}'),
        (2, first["evidence"]),
    ]


def test_absent_figures_are_null_and_the_machine_keeps_its_bytes(client: Any, insert: Any) -> None:
    insert("ses.alarms", [row(1, rate=None, limit=None, e_value=None, incident=0, opened_time=0)])
    insert("ses.alarms", [row(2, silenced_until=T)])
    assert asked(
        client,
        "SELECT rate, limit, e_value, opened_time, silenced_until, toUnixTimestamp64Milli(time) FROM alarms"
        " WHERE seq = 1",
    ) == [(None, None, None, None, None, T + 3_600_000)]
    assert asked(
        client, "SELECT toUnixTimestamp64Milli(silenced_until), e_value FROM alarms WHERE seq = 2"
    ) == [(T, 1e300)]
    assert asked(client, "SELECT DISTINCT lower(hex(machine)) FROM alarm_rows") == [
        (bytes(range(256)).hex(),)
    ]


def test_limit_needs_no_quotes(insert: Any, through: Through) -> None:
    insert("ses.alarms", [row(1)])
    for query in (
        "SELECT limit FROM alarms",
        "SELECT max(limit) FROM alarms",
        "SELECT limit FROM alarms WHERE rate > limit ORDER BY limit LIMIT 1",
        "SELECT a.limit FROM alarms AS a GROUP BY limit",
    ):
        assert b"".join(run_sql(query, "TSV", through)) == b"0.001\n", query


def test_of_an_action_the_latest_outcome_is_seen(client: Any, insert: Any) -> None:
    insert("ses.alarm-actions", [action(1, time=T + 5, attempts=2)])
    insert("ses.alarm-actions", [action(1, outcome="retrying"), action(2, expires_time=T, outcome="dry_run")])
    assert asked(
        client,
        "SELECT action_id, outcome, attempts, toUnixTimestamp64Milli(expires_time) FROM alarm_actions"
        " ORDER BY action_id",
    ) == [("a1", "delivered", 2, None), ("a2", "dry_run", 1, T)]


def test_an_incident_is_told_from_its_transitions(client: Any, insert: Any) -> None:
    drivers = {
        "drivers": [{"factor": "provider", "value": "yahoo"}],
        "summary": "89% of the excess comes from yahoo",
    }
    rows = [
        row(1),
        row(1, revision=1, evidence=json.dumps({"rate_low": 0.01, **drivers}), rate=0.02),
        row(
            2,
            severity="critical",
            cause="escalated",
            rate=0.05,
            limit=0.003,
            revision=1,
            evidence=json.dumps(drivers),
        ),
        row(3, cause="acknowledged", operator="jo", severity="critical", evidence='{"order_id":"x"}'),
        row(4, cause="clean", state="recovering", severity="critical", rate=0.0001),
        row(5, cause="clean", state="resolved", severity="critical", rate=0.0),
        row(6, cause="silenced", state="resolved", incident=0, severity="", opened_time=0),
        row(7, incident=7, opened_time=T + 7 * 3_600_000),
    ]
    insert("ses.alarms", rows)
    found = asked(
        client,
        "SELECT incident, state, severity, toUnixTimestamp64Milli(opened_time), toUnixTimestamp64Milli(resolved_time),"
        " rate, limit, rate_low, summary, driver, acknowledged_by, cause, transitions FROM incidents ORDER BY incident",
    )
    hour = 3_600_000
    assert found == [
        (
            1,
            "resolved",
            "critical",
            T + hour,
            T + 5 * hour,
            0.05,
            0.003,
            None,
            drivers["summary"],
            "provider yahoo",
            "jo",
            "clean",
            5,
        ),
        (7, "firing", "warning", T + 7 * hour, None, 0.02, 0.001, 0.01, "", "", "", "evidence", 1),
    ]
