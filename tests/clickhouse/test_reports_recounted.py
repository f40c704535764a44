"""Received reports in SQL: the rule of what counts, and the marks that a worker starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import naive
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from storms import quarrels

from connectors.alarms.query import factors_sql, shown_sql
from connectors.alarms.subject import HOUR_S, Subject
from connectors.clickhouse.inserts import TARGETS, insert_blocks
from connectors.clickhouse.marks import marks_sql
from connectors.clickhouse.recount import recount_sql
from pipelines.counting.count import count
from pipelines.counting.dedup import keys
from pipelines.counting.hours import Opening
from pipelines.counting.reading import Source
from schemas import topics
from schemas.blocks import decode, encode, open_block
from schemas.counters import COUNTERS
from schemas.events import REPORTS

if TYPE_CHECKING:
    from connectors.clickhouse.client import Client

pytestmark = pytest.mark.embedded

Row = dict[str, Any]
DIMENSIONS = (
    "account",
    "campaign",
    "from_domain",
    "provider",
    "provider_campaign",
    "outgoing_ip",
    "tag:team",
)
NOW = Opening(10**8, 10**7)
few = settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def landed(client: Client, rows: list[Row]) -> None:
    """Nothing but these rows, in two parts."""
    client.command("TRUNCATE TABLE event_rows")
    for part in (rows[::2], rows[1::2]):
        insert_blocks(client, TARGETS[topics.EVENTS][0], [open_block(encode("ses_event", part))])


@few
@given(quarrels())
def test_a_recount_is_a_naive_count(client: Client, rows: list[Row]) -> None:
    landed(client, rows)
    found = {
        (dimension, value, hour): tuple(map(int, counters))
        for dimension, value, hour, *counters in client.query(recount_sql(None, DIMENSIONS)).result_rows
    }
    assert found == naive.table(decode(encode("ses_event", rows)), DIMENSIONS)
    assert all(len(counters) == len(COUNTERS) for counters in found.values())


def marks_of(row: Row) -> set[int]:
    """What a worker remembers of an event beside its id."""
    source = Source(0, 0, open_block(encode("ses_event", [row])))
    counted = count([source], lambda _, __, ids: (np.zeros(ids.size, np.bool_),) * 2, NOW, {}, DIMENSIONS)
    own = keys(np.frombuffer(row["event_id"][:8], np.uint64), np.array([row["tagged"]]))
    return {key for fresh in counted.fresh for key in fresh.keys.tolist()} - set(own.tolist())


@few
@given(quarrels())
def test_the_marks_of_what_has_landed_are_those_that_a_worker_remembers(
    client: Client, rows: list[Row]
) -> None:
    copies = {row["event_id"]: row for row in rows}.values()
    made = {row["event_id"]: marks_of(row) for row in copies}
    # Reports as nobody should make them leave no marks where they stream by: their hours are recounted.
    sound = [row for row in copies if made[row["event_id"]] or row["origin"] not in REPORTS]
    landed(client, sound)
    found = {int(key) for key, *_ in client.query(marks_sql(DIMENSIONS, "1")).result_rows}
    assert found == {mark for row in sound for mark in made[row["event_id"]]}


@settings(few, max_examples=6)
@given(quarrels(least=5))
def test_what_drives_an_alarm_is_counted_alike(client: Client, rows: list[Row]) -> None:
    landed(client, [row for row in rows if row["origin"] not in REPORTS or len(row["recipients"]) < 2])
    dimensions = ("account", "provider")
    counted = [
        (row[0], row[1], row[2], row[3:]) for row in client.query(recount_sql(None, dimensions)).result_rows
    ]
    for dimension, value in {(dimension, value) for dimension, value, _, _ in counted}:
        hours = [hour for *key, hour, _ in counted if key == [dimension, value]]
        for signal, counter in (("complaint_rate", "complaints"), ("hard_bounce_rate", "hard_bounces")):
            subject = Subject(dimension, value, signal, 0.01, min(hours), max(hours) + HOUR_S)
            found = {
                row[0]: int(row[2]) for row in client.query(factors_sql(subject)).result_rows if row[0] == ""
            }
            sums = [counters for *key, _, counters in counted if key == [dimension, value]]
            assert found.get("", 0) == sum(int(each[COUNTERS.index(counter)]) for each in sums)


@settings(few, max_examples=6)
@given(quarrels(least=5))
def test_regions_of_campaigns_count_alike(client: Client, rows: list[Row]) -> None:
    landed(client, [row for row in rows if row["origin"] not in REPORTS or len(row["recipients"]) < 2])
    names = ("complaints", "hard_bounces", "soft_bounces")
    columns = f"campaign, toUnixTimestamp(hour), {', '.join(names)}"
    shown = client.query(f"SELECT {columns} FROM campaign_regions").result_rows
    counted = client.query(recount_sql(None, ("campaign",))).result_rows
    at = [3 + COUNTERS.index(name) for name in names]
    assert {tuple(map(str, row)) for row in shown if any(row[2:])} == {
        tuple(map(str, (row[1], row[2], *(row[place] for place in at))))
        for row in counted
        if any(row[place] for place in at)
    }


def test_every_kind_of_counter_of_ses_is_as_if_there_were_no_reports(
    client: Client, event: Any, to: Any
) -> None:
    people = [to("yahoo", address="x"), to("gmail", address="y")]
    facts = {"recipients": people, "message_id": "m"}
    own = [
        event(1, event_type="Bounce", bounce_type="Permanent", **facts),
        event(2, event_type="Bounce", bounce_type="Transient", **facts),
        event(3, event_type="Complaint", complaint_type="abuse", **facts),
        event(4, event_type="Complaint", complaint_type="fraud", **facts),
        event(5, event_type="Delivery", **facts),
    ]
    reports = [
        event(
            6,
            event_type="Bounce",
            bounce_type="Permanent",
            origin="dsn",
            **facts | {"recipients": people[:1]},
        ),
        event(7, event_type="Complaint", complaint_type="abuse", origin="arf", **facts),
    ]
    landed(client, own)
    before = client.query(recount_sql() + " ORDER BY 1, 2").result_rows
    landed(client, own + reports)
    assert client.query(recount_sql() + " ORDER BY 1, 2").result_rows == before


def test_the_query_shown_to_people_leaves_out_what_only_repeats(client: Client, event: Any, to: Any) -> None:
    def bounce(number: int, message: str, address: str, origin: str, **fields: Any) -> Row:
        whom = [to(address=address)]
        about = {"event_type": "Bounce", "bounce_type": "Permanent", "message_id": message} | fields
        return dict(event(number, **about, recipients=whom, origin=origin))

    rows = [
        *(event(n, message_id=f"m{n}") for n in range(5)),
        bounce(10, "m0", "a", "event"),
        bounce(11, "m0", "A", "dsn"),
        bounce(12, "m1", "a", "dsn"),
        bounce(13, "m1", "a", "dsn", smtp_reply="550"),
        bounce(14, "m2", "a", "event", bounce_type="Transient", out_of_office=True),
        bounce(15, "m2", "a", "dsn"),
        bounce(16, "m3", "a", "event"),
        bounce(17, "m3", "b", "dsn"),
    ]
    landed(client, rows)
    repeated = client.query("SELECT event_id FROM repeated_reports ORDER BY event_id").result_rows
    assert [int(row[0], 16) for row in repeated] == [11, 13]
    start = rows[0]["sent_time"] // 3_600_000 * HOUR_S
    subject = Subject("campaign", "spring", "hard_bounce_rate", 0.01, start, start + HOUR_S)
    assert client.query(shown_sql(subject, "provider")).result_rows[0][:3] == ("yahoo", 5, 5)
