"""What a report says of alarms."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from connectors.clickhouse import door
from connectors.clickhouse.sql import Through
from connectors.reports.alarms import alarms, render, shown
from connectors.reports.notices import notices
from connectors.reports.report import render as render_report
from connectors.reports.report import report

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.embedded

DAY = 86_400_000
T = 1_767_225_600_000


@pytest.fixture
def through(client: Any, engine: Path, database: str) -> Iterator[Through]:
    opened = door.serve(engine, database)
    yield Through(opened.address, opened.token)
    opened.stop()


def row(campaign: str, seq: int = 1, **fields: Any) -> dict[str, Any]:
    base = {
        "alarm_key": f"complaint_rate:campaign:{campaign}",
        "seq": seq,
        "time": T + seq * 1000,
        "state": "firing",
        "severity": "warning",
        "signal": "complaint_rate",
        "dimension": "campaign",
        "value": campaign,
        "rate": 0.02,
        "limit": 0.001,
        "evidence": json.dumps({"rate_low": 0.01, "rate_high": 0.03}),
        "incident": 1,
        "opened_time": T,
        "cause": "evidence",
        "written_time": T,
        "machine": b"",
    }
    return base | fields


def test_nothing_is_wrong(through: Through) -> None:
    assert render(alarms(through)) == ["no open alarms"]
    assert "0 events\n\nno open alarms\n" in render_report(report(through))


def test_open_incidents_the_worst_first_and_what_ended_in_a_day_of_event_time(
    insert: Any, through: Through
) -> None:
    drivers = {"drivers": [{"factor": "provider", "value": "yahoo"}]}
    insert(
        "ses.alarms",
        [
            row("warm"),
            row("hot", severity="critical", revision=1, evidence=json.dumps(drivers)),
            row("hot", 2, severity="critical", cause="acknowledged", operator="jo", evidence="{}"),
            row("old"),
            row("old", 2, state="resolved", cause="clean"),
            row("new", time=T + 2 * DAY),
            row("new", 2, state="resolved", cause="clean", time=T + 2 * DAY + 5000),
            row("early", severity="notice", signal="baseline_drift"),
            {**row("otp", signal="delivery_latency", rate=95.0, limit=30.0, evidence="{}"), "incident": 1},
        ],
    )
    found = alarms(through)
    assert [each.alarm_key.rpartition(":")[2] for each in found.open] == ["hot", "otp", "warm"]
    assert [each.alarm_key.rpartition(":")[2] for each in found.resolved] == ["new"]
    opened, resolved = render(found)
    lines = [line.split("  ") for line in opened.splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert cells[0] == ["open alarms", "severity", "since (UTC)", "state", "rate (95 %)", "limit", "driver"]
    assert cells[1] == [
        *("complaint_rate:campaign:hot", "critical", "2026-01-01 00:00", "firing, acknowledged by jo"),
        *("2.000%", "0.100%", "provider yahoo"),
    ]
    assert cells[2][4:] == ["95 s", "30 s"]
    assert cells[3][4] == "2.000% (1.000% to 3.000%)"
    assert "2026-01-03 00:00" in resolved
    (notice,) = notices(through)
    assert notice.startswith(
        "baseline drift of campaign early since 2026-01-01 00:00 UTC: 2.000% (limit 0.100%)"
    )


def test_pages_that_failed_are_told(insert: Any, through: Through) -> None:
    now = int(time.time() * 1000)
    base = {"time": now, "action": "page", "target": "slack", "detail": "500 from hooks\nat once"}
    outcomes = {"a": "failed", "b": "failed", "c": "retrying", "d": "delivered"}
    rows = [base | {"action_id": name, "outcome": outcome} for name, outcome in outcomes.items()]
    rows.append(base | {"action_id": "e", "outcome": "failed", "action": "pause"})
    rows.append(base | {"action_id": "f", "outcome": "failed", "time": now - 8 * DAY})
    insert("ses.alarm-actions", rows)
    (failed,) = alarms(through).undelivered
    assert (failed.route, failed.failed, failed.retrying) == ("slack", 2, 1)
    assert "500 from hooks at once" in render(alarms(through))[-1]


def test_figures_are_in_the_unit_of_their_signal() -> None:
    assert shown("hard_bounce_rate", 0.05) == "5.000%"
    assert shown("traffic_stopped", 45.0) == "45 min"
    assert shown("pipeline", 1234.0) == "1,234"
    assert shown("complaint_rate", None) == "-"
