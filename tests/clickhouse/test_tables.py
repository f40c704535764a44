from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.clickhouse.client import open_client
from connectors.clickhouse.migrations import migrate
from connectors.errors import ClickHouseError
from schemas.clickhouse import migrations
from schemas.counters import COUNTERS
from schemas.dead_letters import dead_letter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.embedded

HOUR = 1_767_225_600
TABLES = ("event_rows", "rate_rows", "dead_letter_rows", "path_activity")
VIEWS = (
    *("events", "rates", "campaign_health", "dead_letters"),
    *("campaign_regions", "region_shifts", "reconciliation", "missing_events"),
)


def _pool(event: Any) -> dict[str, list[dict[str, Any]]]:
    """Rows that overlap in every way: copies by other paths, untagged twins, older and newer versions."""
    events = []
    for number in range(6):
        events += [
            event(number, path="sns", arrival_id=number, tags=[{"name": "a", "values": ["b"]}]),
            event(number, path="firehose", arrival_id=-number, tags=[{"name": "a", "values": ["b"]}]),
            event(number, path="sns", arrival_id=90, origin="notification", campaign="", tagged=False),
        ]
    rates = [
        {"dimension": "campaign", "value": value, "hour": HOUR, "version": version, "sends": version * 10}
        for value in ("spring", "summer")
        for version in (1, 2, 3)
    ]
    letters = [
        dict(
            dead_letter(
                time=time, stage="parse", cause="bad", detail="d", source="s", payload=bytes([n, 255])
            )
        )
        for n in range(3)
        for time in (5000, 6000)
    ]
    return {"ses.events": events, "ses.rates": rates, "ses.dead-letter": letters}


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_repetition_order_or_grouping_of_inserts_changes_a_view(
    data: st.DataObject, client: Any, event: Any, insert: Any, contents: Callable[[str], str]
) -> None:
    pool = _pool(event)

    def fill(*, repeat: bool) -> list[str]:
        for table in TABLES:
            client.command(f"TRUNCATE TABLE {table} SYNC")
        for topic, rows in pool.items():
            plan = rows + (data.draw(st.lists(st.sampled_from(rows), max_size=20)) if repeat else [])
            plan = data.draw(st.permutations(plan)) if repeat else plan
            cut = data.draw(st.integers(0, len(plan))) if repeat else len(plan)
            insert(topic, plan[:cut])
            insert(topic, plan[cut:])
        if repeat and data.draw(st.booleans()):
            for table in TABLES:
                client.command(f"OPTIMIZE TABLE {table} FINAL")
        return [contents(view) for view in VIEWS]

    assert fill(repeat=True) == fill(repeat=False)


def test_an_event_is_one_row_that_prefers_what_the_tagged_copy_says(
    client: Any, event: Any, insert: Any
) -> None:
    untagged = event(1, campaign="", tagged=False, origin="notification", path="sns", arrival_id=7)
    tagged = event(1, path="firehose", arrival_id=8, tags=[{"name": "k", "values": ["v", "w"]}])
    insert("ses.events", [untagged])
    insert("ses.events", [tagged])
    insert("ses.events", [untagged])
    row = json.loads(client.raw_query("SELECT * FROM events", fmt="JSONEachRow"))
    assert row["event_id"] == "00000000000000000000000000000001"
    assert (row["campaign"], row["tagged"], row["origin"]) == ("spring", True, "event")
    assert row["paths"] == ["firehose", "sns"]
    assert int(row["arrivals"]) == 2
    assert row["tags"] == [{"name": "k", "values": ["v", "w"]}]
    assert row["recipients"][0]["provider"] == "yahoo"


def test_one_insert_takes_events_of_hundreds_of_months(client: Any, event: Any, insert: Any) -> None:
    months = [631_152_000_000 + month * 2_629_800_000 for month in range(0, 209 * 12, 7)]
    insert("ses.events", [event(n, sent_time=at, event_time=at) for n, at in enumerate(months)])
    rows = client.query(
        "SELECT count(), toString(min(sent_time)), toYear(max(sent_time)) FROM events"
        " WHERE sent_time < '2199-01-01'"
    ).result_rows
    assert rows == [(len(months), "1990-01-01 00:00:00.000", 2198)]


def test_columns_lead_as_documented(client: Any) -> None:
    def columns(view: str) -> list[str]:
        return [row[0] for row in client.query(f"DESCRIBE {view}").result_rows]

    assert " ".join(columns("events")).startswith(
        "event_id event_type event_time sent_time message_id account region configuration_set tenant"
        " from_domain feedback_a feedback_b feedback_c campaign recipients bounce_type bounce_subtype"
        " complaint_type smtp_reply tags origin paths arrivals"
    )
    assert " ".join(columns("campaign_health")) == (
        "campaign hour sends deliveries eligible complaints complaint_rate complaint_rate_low"
        " complaint_rate_high hard_bounces hard_bounce_rate soft_bounces opens clicks machine_opens"
        " unsubscribes replies gmail_fbl_spam_rate gmail_fbl_domain gmail_domain_spam_rate"
        " reply_rate time_to_first_reply out_of_office out_of_office_rate"
    )
    assert columns("rates")[:3] == ["dimension", "value", "hour"]
    assert set(COUNTERS) <= set(columns("rates"))
    assert columns("dead_letters")[:6] == ["time", "stage", "cause", "detail", "source", "payload"]
    assert not {"landed", "now"} & {name for view in VIEWS for name in columns(view)}


def test_rates_are_net_of_the_suppressed_never_above_one_and_null_without_data(
    client: Any, insert: Any
) -> None:
    base = {"dimension": "campaign", "hour": 7_226_582_400, "version": 1}
    insert(
        "ses.rates",
        [
            base
            | {"value": "a", "sends": 10, "suppressed": 4, "hard_bounces": 3, "eligible": 4, "complaints": 1},
            base | {"value": "b", "sends": 2, "suppressed": 3, "complaints": 5},
            base | {"value": "c", "eligible": 2, "complaints": 3},
            base | {"value": "gone", "version": 1, "sends": 5},
            base | {"value": "gone", "version": 2},
        ],
    )
    found = client.query(
        "SELECT campaign, toString(hour), sends, complaint_rate, hard_bounce_rate FROM campaign_health"
        " ORDER BY campaign"
    ).result_rows
    assert found == [
        ("a", "2199-01-01 00:00:00", 6, 0.25, 0.5),
        ("b", "2199-01-01 00:00:00", 0, None, None),
        ("c", "2199-01-01 00:00:00", 0, 1.0, None),
    ]


def test_migrating_again_does_nothing_and_a_changed_file_is_refused(client: Any) -> None:
    assert migrate(client) == ()
    client.insert("schema_migrations", [["001_event_rows.sql", "other"]], column_names=["name", "checksum"])
    with pytest.raises(ClickHouseError, match="applied in another form"):
        migrate(client)


def test_a_migration_that_died_half_way_is_finished(client: Any, insert: Any, event: Any) -> None:
    insert("ses.events", [event(1)])
    client.command("DROP VIEW campaign_health")
    client.command("TRUNCATE TABLE schema_migrations")
    assert len(migrate(client)) == len(migrations())
    assert client.query("SELECT (SELECT count() FROM events), count() FROM campaign_health").result_rows == [
        (1, 0)
    ]


def test_a_missing_database_is_a_sentence(engine: Path) -> None:
    with pytest.raises(ClickHouseError, match="no database nowhere: run `ses-streams migrate"):
        open_client(f"chdb://{engine}", database="nowhere")


def test_an_unreachable_server_is_a_sentence_without_the_password() -> None:
    with pytest.raises(ClickHouseError, match=r"127\.0\.0\.1:1 does not answer") as caught:
        open_client("clickhouse://me:hunter2@127.0.0.1:1/ses")
    assert "hunter2" not in str(caught.value)
