"""How long rows are kept; and that what is counted does not shrink with the events that it was counted from."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from connectors.clickhouse import door
from connectors.clickhouse.answers import Answers
from connectors.clickhouse.horizon import Horizon, dropped_after, horizon
from connectors.clickhouse.memory import ClickHouseMemory
from connectors.clickhouse.repair import repair
from connectors.clickhouse.retention import TABLES, retain
from connectors.clickhouse.retention_settings import Retention
from connectors.clickhouse.sql import Through
from connectors.errors import ClickHouseError
from schemas import topics

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.embedded

DAY_S = 86_400
ALL = dict.fromkeys(TABLES, 30)
NOW = int(time.time())
OLD = (NOW - 100 * DAY_S) // 3600 * 3600
"""A cohort hour, seconds."""
NEW = (NOW - 10 * DAY_S) // 3600 * 3600


def sent(event: Any, number: int, hour: int, **fields: Any) -> dict[str, Any]:
    times = {"sent_time": hour * 1000 + number, "event_time": hour * 1000 + 60_000}
    row: dict[str, Any] = event(number, message_id=f"m{number}", **times | fields)
    return row


def rate(hour: int, **counters: int) -> dict[str, Any]:
    return {"dimension": "campaign", "value": "spring", "hour": hour, "version": 5, **counters}


def stored(client: Any, hour: int) -> list[int]:
    (row,) = client.query(
        f"SELECT sends, deliveries, complaints FROM rates WHERE dimension = 'campaign' AND hour = {hour}"
    ).result_rows
    return list(row)


def counts(client: Any, *tables: str) -> list[int]:
    found = []
    for table in tables:
        client.command(f"OPTIMIZE TABLE {table} FINAL")
        found.append(int(client.query(f"SELECT count() FROM {table}").first_row[0]))
    return found


def answered(client: Any, *hours: int) -> dict[int, list[int]]:
    """What a recount says of some hours of the campaign, and not of those whose events are gone."""
    answers = Answers(client, lambda ask: ask())
    keys = {("campaign", "spring", hour) for hour in hours}
    rows = [row for some in answers(keys - answers.gone(keys)) for row in some]
    return {row["hour"]: [row["sends"], row["deliveries"], row["complaints"]] for row in rows}


def test_tables_are_changed_once(client: Any) -> None:
    assert retain(client, Retention()) == ()
    changed = retain(client, Retention(**ALL))
    assert {each.split()[0] for each in changed} == {table for some in TABLES.values() for table, _ in some}
    assert "event_rows keeps rows for 30 days from sent_time on; it kept them forever" in changed
    assert retain(client, Retention(**ALL)) == ()
    assert retain(client, Retention(**ALL | {"mail": 40, "rates": 0})) == (
        "rate_rows keeps rows forever; it kept them for 30 days",
        "mail_rows keeps rows for 40 days from received on; it kept them for 30 days",
        "mail_forward_rows keeps rows for 40 days from time on; it kept them for 30 days",
    )
    assert len(retain(client, Retention())) == sum(map(len, TABLES.values())) - 1
    assert retain(client, Retention()) == ()


def test_a_ttl_that_does_more_is_its_owners(client: Any) -> None:
    client.command("ALTER TABLE tls_rows MODIFY TTL toDateTime(end_time) + INTERVAL 30 DAY WHERE row > 0")
    assert retain(client, Retention()) == ()
    with pytest.raises(ClickHouseError, match=r"tls_rows has a TTL of its own.*leave retention\.reports out"):
        retain(client, Retention(reports=30))


def test_what_is_past_goes_and_what_says_no_time_stays(client: Any, insert: Any, event: Any) -> None:
    mail = {"kind": "reply", "path": "s3", "verdicts": {}}
    # Some are there before the tables are told, some come after it.
    for part in (0, 1):
        insert(topics.EVENTS, [sent(event, 10 * part + n, hour) for n, hour in ((1, OLD), (2, NEW))])
        times = ((1, OLD * 1000), (2, NEW * 1000), (3, 0), (4, (NOW + 900 * DAY_S) * 1000))
        rows = [mail | {"mail_id": bytes([10 * part + n]) * 16, "received_time": at} for n, at in times]
        insert(topics.INBOUND, rows)
        insert(topics.RATES, [rate(OLD - part * 3600, sends=1), rate(NEW - part * 3600, sends=1)])
        if not part:
            retain(client, Retention(events=30, mail=30))
    tables = ("event_rows", "mail_rows", "rate_rows", "path_activity")
    deadline = time.monotonic() + 60
    while (found := counts(client, *tables)) != [2, 6, 4, 1]:
        # Parts of before are marked beside what else goes on.
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def test_hours_whose_events_are_gone_are_not_counted_again(client: Any, insert: Any, event: Any) -> None:
    insert(topics.RATES, [rate(hour, sends=7, complaints=1) for hour in (OLD, NEW)])
    assert horizon(lambda sql: client.query(sql).result_rows) == Horizon()
    retain(client, Retention(events=30))
    # A late complaint, and an archive of a part of what there was.
    for hour, first in ((OLD, 10), (NEW, 20)):
        complaint = sent(event, first, hour, event_type="Complaint", complaint_type="abuse")
        insert(topics.EVENTS, [complaint, sent(event, first + 1, hour)])
    assert answered(client, OLD, NEW) == {NEW: [1, 0, 1]}
    repair(client, NOW * 1_000_000, everything=True)
    assert (stored(client, OLD), stored(client, NEW)) == ([7, 0, 1], [1, 0, 1])


def test_where_events_were_dropped_once_no_counter_falls(client: Any, insert: Any, event: Any) -> None:
    retain(client, Retention(events=30))
    retain(client, Retention())
    found = horizon(lambda sql: client.query(sql).result_rows)
    assert found.gone == 0
    assert abs(found.doubtful - (NOW - 30 * DAY_S)) < 2 * 3600
    insert(topics.RATES, [rate(hour, sends=3, complaints=1) for hour in (OLD, NEW)])
    some = [sent(event, n, OLD) for n in (1, 2)]
    insert(topics.EVENTS, [*some, sent(event, 3, OLD, event_type="Delivery"), sent(event, 4, NEW)])
    assert answered(client, OLD, NEW) == {OLD: [3, 1, 1], NEW: [1, 0, 0]}
    repair(client, NOW * 1_000_000, everything=True)
    assert (stored(client, OLD), stored(client, NEW)) == ([3, 1, 1], [1, 0, 0])
    # The whole archive, which stays now, is counted.
    insert(topics.EVENTS, [sent(event, n, OLD) for n in range(30, 40)])
    assert answered(client, OLD)[OLD] == [12, 1, 1]


def test_a_worker_begins_with_hours_closed_whose_ids_are_gone(
    client: Any, insert: Any, event: Any, engine: Path, database: str
) -> None:
    insert(topics.EVENTS, [sent(event, 1, OLD)])
    opened = door.serve(engine, database)
    memory = ClickHouseMemory(Through(opened.address, opened.token))
    try:
        assert memory.watermark() == OLD // 3600
        retain(client, Retention(events=30))
        closed_before = memory.watermark() - 14 * 24
        assert 0 <= closed_before - (NOW // 3600 - 30 * 24) <= 3
    finally:
        opened.stop()


@pytest.mark.parametrize(
    ("engine", "seconds"),
    [
        ("MergeTree ORDER BY a SETTINGS index_granularity = 8192", None),
        ("MergeTree ORDER BY a TTL toDateTime(b) + toIntervalDay(30) SETTINGS x = 1", 30 * DAY_S),
        ("MergeTree ORDER BY a TTL b + toIntervalMonth(2)", 56 * DAY_S),
        ("MergeTree ORDER BY a TTL b + toIntervalDay(7) TO VOLUME 'cold' SETTINGS x = 1", None),
        ("MergeTree ORDER BY a TTL b + toIntervalDay(7) TO DISK 'c', b + toIntervalDay(9)", 9 * DAY_S),
        ("MergeTree ORDER BY a TTL b + toIntervalDay(9) WHERE c > 1", 9 * DAY_S),
        ("MergeTree ORDER BY a TTL expires", 0),
    ],
)
def test_what_a_ttl_takes(engine: str, seconds: int | None) -> None:
    assert dropped_after(engine) == seconds
