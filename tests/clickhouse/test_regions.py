"""Regions side by side: the views against hours known by hand and against the recount; what a report says."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from connectors.clickhouse import door
from connectors.clickhouse.recount import recount_sql
from connectors.clickhouse.sql import Through
from connectors.reports.regions import Shift, regions, render
from connectors.reports.report import render as render_report
from connectors.reports.report import report

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.embedded

HOUR = 1_767_225_600
EAST, WEST = "us-east-1", "eu-west-1"


@pytest.fixture
def through(client: Any, engine: Path, database: str) -> Iterator[Through]:
    opened = door.serve(engine, database)
    yield Through(opened.address, opened.token)
    opened.stop()


def cell(region: str, hour: int, sends: int, **more: int) -> dict[str, Any]:
    """Counters of a region; `hour` after the first."""
    return {
        "dimension": "region",
        "value": region,
        "hour": HOUR + hour * 3600,
        "version": 1,
        "sends": sends,
        **more,
    }


def test_a_region_that_lost_its_traffic_has_a_share_of_nothing(client: Any, insert: Any) -> None:
    rows = [cell(region, hour, 50) for hour in range(30) for region in (EAST, WEST)]
    rows += [cell(EAST, 30, 90, suppressed=10, eligible=40, complaints=1), cell(EAST, 300, 5)]
    insert("ses.rates", [*rows, cell("ap-south-1", 0, 100)])
    found = client.query(
        "SELECT toUnixTimestamp(hour), region, sends, share, share_24h, moved_24h, share_7d, complaint_rate"
        " FROM region_health ORDER BY hour, region"
    ).result_rows
    assert [row for row in found if row[0] == HOUR] == [
        (HOUR, "ap-south-1", 100, 0.5, None, None, None, None),
        (HOUR, WEST, 50, 0.25, None, None, None, None),
        (HOUR, EAST, 50, 0.25, None, None, None, None),
    ]
    hour = HOUR + 30 * 3600
    # 30 hours of 50 each, and 100 of the third region in the first of them, which is more than a day ago.
    assert [row for row in found if row[0] == hour] == [
        (hour, "ap-south-1", 0, 0.0, 0.0, 0.0, 100 / 3100, None),
        (hour, WEST, 0, 0.0, 0.5, -0.5, 1500 / 3100, None),
        (hour, EAST, 80, 1.0, 0.5, 0.5, 1500 / 3100, 1 / 40),
    ]
    late = HOUR + 300 * 3600
    assert [row for row in found if row[0] == late] == [(late, EAST, 5, 1.0, None, None, None, None)], (
        "a week is over"
    )


def some_events(event: Any, to: Any, number: int = 400) -> list[dict[str, Any]]:
    chance = random.Random(11)
    return [
        event(
            n << 64,
            arrival_id=n,
            sent_time=(HOUR + chance.randrange(3) * 3600) * 1000 + chance.randrange(3_600_000),
            event_type=chance.choice(
                ["Send", "Send", "Delivery", "Bounce", "Complaint", "DeliveryDelay", "Reject"]
            ),
            bounce_type=chance.choice(["Permanent", "Transient", "Undetermined"]),
            bounce_subtype=chance.choice(["General", "General", "OnAccountSuppressionList"]),
            complaint_type=chance.choice(["abuse", "abuse", "not-spam"]),
            complaint_subtype=chance.choice(["", "", "OnTenantSuppressionList"]),
            out_of_office=chance.random() < 0.2,
            region=chance.choice([EAST, WEST]),
            account=chance.choice(["111122223333", "444455556666"]),
            configuration_set=chance.choice(["main", "other"]),
            campaign=chance.choice(["spring", "summer"]),
            recipients=[
                to("yahoo", reports_complaints=chance.random() < 0.7, blocked=chance.random() < 0.3)
                for _ in range(chance.choice([1, 1, 1, 2, 3]))
            ],
        )
        for n in range(number)
    ]


def test_a_campaign_by_regions_sums_to_what_the_recount_has_of_the_regions(
    client: Any, insert: Any, event: Any, to: Any
) -> None:
    rows = some_events(event, to)
    # Bounces and complaints keep each other's subtype out.
    for row in rows:
        if row["event_type"] == "Bounce":
            row["complaint_subtype"] = ""
        else:
            row["bounce_subtype"] = ""
    insert("ses.events", rows)
    insert("ses.events", rows[::3])
    counters = (
        "deliveries",
        "eligible",
        "complaints",
        "hard_bounces",
        "soft_bounces",
        "delays",
        "blocks",
        "rejects",
    )
    sums = ", ".join(f"sum({name})" for name in counters)
    got = client.query(
        f"SELECT region, toUnixTimestamp(hour), {sums} FROM campaign_regions GROUP BY 1, 2 ORDER BY 1, 2"
    ).result_rows
    wanted = client.query(
        f"SELECT value, hour, {', '.join(counters)} FROM ({recount_sql()}) WHERE dimension = 'region' ORDER BY 1, 2"
    ).result_rows
    assert got == wanted
    assert len(got) == 6
    cells = client.query(
        "SELECT (SELECT sum(sends) FROM campaign_regions),"
        f" (SELECT sum(sends - suppressed) FROM ({recount_sql()}) WHERE dimension = 'region'),"
        " (SELECT groupUniqArray(round(s, 9)) FROM (SELECT sum(share) AS s FROM campaign_regions"
        " GROUP BY hour, campaign, configuration_set))"
    ).result_rows[0]
    assert cells[2] == [1.0]
    assert cells[0] >= cells[1] > 0, (
        "a cohort of four cells may have fewer sends than suppressed: then it has 0"
    )


def test_the_report_says_which_way_traffic_moved(through: Through, insert: Any, event: Any) -> None:
    before = [(EAST, WEST)[n % 2] for n in range(400)]
    now = [EAST if n % 10 else WEST for n in range(200)]
    sends = [
        event(n, region=region, sent_time=(HOUR + 3600 * (n % 100)) * 1000, campaign="spring")
        for n, region in enumerate(before)
    ]
    sends += [
        event(1000 + n, region=region, sent_time=(HOUR + 3600 * (124 + n % 20)) * 1000, campaign="spring")
        for n, region in enumerate(now)
    ]
    insert("ses.events", [*sends, event(2000, region=EAST, sent_time=HOUR * 1000, campaign="only before")])
    insert(
        "ses.rates",
        [
            cell(EAST, 0, 200),
            cell(WEST, 0, 200, delays=7),
            cell(EAST, 144, 180, blocks=3),
            cell(WEST, 144, 20),
        ],
    )
    found = regions(through)
    assert [(each.name, each.sends, each.delays, each.blocks) for each in found.regions] == [
        (EAST, 380, 0, 3),
        (WEST, 220, 7, 0),
    ]
    assert [(each.share_24h, each.share_before) for each in found.regions] == [(0.9, 0.5), (0.1, 0.5)]
    account = "111122223333"
    assert found.shifts == (
        Shift("", "", "", WEST, 0.5, 0.1),
        Shift("", "", "", EAST, 0.5, 0.9),
        Shift("spring", "", account, WEST, 0.5, 0.1),
        Shift("spring", "", account, EAST, 0.5, 0.9),
    )
    text = render_report(report(through))
    assert (
        "moved: us-east-1 has 90.0% of all traffic in the last 24 h, 50.0% in the 7 days before (+40 points)"
        in text
    )
    assert f"eu-west-1 has 10.0% of spring (configuration set none, account {account})" in text
    assert regions(through, 41).shifts == (), "none moved by so much"


def test_chance_is_no_shift_and_one_region_no_section(through: Through, insert: Any) -> None:
    # 2 of 6, then 4 of 6.
    insert("ses.rates", [cell(EAST, 0, 2), cell(WEST, 0, 4), cell(EAST, 40, 4), cell(WEST, 40, 2)])
    assert regions(through).shifts == ()
    assert "moved" not in "\n".join(render(regions(through)))
    insert("ses.rates", [{**cell(EAST, hour, 0), "version": 2} for hour in (0, 40)])
    assert render(regions(through)) == []
