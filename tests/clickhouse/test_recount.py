from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from connectors.clickhouse.recount import ranges_of, recount_sql
from connectors.clickhouse.repair import Repaired, differences_sql, mark_clean_stop, repair
from pipelines.counting.count import count
from pipelines.counting.hours import Opening
from pipelines.counting.reading import Source
from schemas.blocks import encode, open_block
from schemas.counters import COUNTERS, DIMENSIONS

pytestmark = pytest.mark.embedded

HOUR = 1_767_225_600


def recounted(client: Any, hours: Any = None) -> dict[tuple[str, str, int], dict[str, int]]:
    """What counts, without zeros."""
    found = client.query(recount_sql(hours)).result_rows
    return {
        (dimension, value, hour): {name: n for name, n in zip(COUNTERS, counters, strict=True) if n}
        for dimension, value, hour, *counters in found
    }


def test_recipients_and_events_are_counted_to_the_right_provider(
    client: Any, event: Any, to: Any, insert: Any
) -> None:
    both = [to("yahoo"), to("gmail", reports_complaints=False)]
    insert(
        "ses.events",
        [
            event(1, event_type="Send", recipients=both),
            event(2, event_type="Delivery", recipients=both),
            event(3, event_type="Complaint", recipients=both, complaint_type="abuse"),
            event(4, event_type="Complaint", recipients=both, complaint_type="not-spam"),
            event(5, event_type="Bounce", bounce_type="Permanent", recipients=[to("gmail", blocked=True)]),
            event(6, event_type="Bounce", bounce_type="Permanent", bounce_subtype="OnAccountSuppressionList"),
            event(7, event_type="Bounce", bounce_type="Transient", out_of_office=True),
            event(8, event_type="Open", recipients=[], machine_open=True),
        ],
    )
    got = recounted(client)
    assert got["campaign", "spring", HOUR] == {
        "sends": 2,
        "deliveries": 2,
        "eligible": 1,
        "complaints": 1,
        "hard_bounces": 1,
        "suppressed": 1,
        "machine_opens": 1,
        "blocks": 1,
    }
    assert got["provider", "yahoo", HOUR] == {
        "sends": 1,
        "deliveries": 1,
        "eligible": 1,
        "complaints": 1,
        "suppressed": 1,
    }
    assert got["provider_campaign", "gmail:spring", HOUR] == {
        "sends": 1,
        "deliveries": 1,
        "hard_bounces": 1,
        "blocks": 1,
    }
    assert {key[0] for key in got} == {
        "account",
        "region",
        "from_domain",
        "campaign",
        "provider",
        "provider_campaign",
    }


def test_an_untagged_event_counts_for_tags_only_once_its_tagged_twin_is_there(
    client: Any, event: Any, insert: Any
) -> None:
    insert("ses.events", [event(1, campaign="guess", tagged=False)])
    assert {key[0] for key in recounted(client)} == {"account", "region", "from_domain", "provider"}
    insert("ses.events", [event(1, campaign="spring", tagged=True, feedback_a="a", feedback_b="b")])
    got = recounted(client)
    assert got["campaign", "spring", HOUR] == {"sends": 1}
    assert got["feedback_ab", "a:b", HOUR] == {"sends": 1}
    assert got["account", "111122223333", HOUR] == {"sends": 1}


def some_events(event: Any, to: Any, seed: int) -> list[dict[str, Any]]:
    chance = random.Random(seed)

    def pick(*values: Any) -> Any:
        return chance.choice(values)

    def flag() -> bool:
        return chance.random() < 0.5

    return [
        event(
            number * 2 << 64,
            arrival_id=number,
            sent_time=pick(631_152_000_000, 1_767_225_600_000, 1_767_229_199_999, 7_226_582_400_000),
            event_type=pick(
                *("Send", "Delivery", "Bounce", "Complaint", "Reject", "Open", "Click", "Rendering Failure"),
                *("DeliveryDelay", "Subscription", "other"),
            ),
            recipients=[
                to(pick("gmail", "yahoo"), reports_complaints=flag(), blocked=flag())
                for _ in range(pick(0, 1, 1, 3))
            ],
            bounce_type=pick("Permanent", "Transient", "Undetermined"),
            bounce_subtype=pick("", "General", "OnAccountSuppressionList", "OnTenantSuppressionList"),
            complaint_type=pick("", "abuse", "not-spam"),
            complaint_subtype=pick("", "", "OnAccountSuppressionList"),
            machine_open=flag(),
            out_of_office=flag(),
            unsubscribed=flag(),
            tagged=flag(),
            **{
                name: pick("", f"{name}1", f"{name}2")
                for name in DIMENSIONS
                if name not in ("feedback_ab", "provider", "provider_campaign")
            },
        )
        for number in range(300)
    ]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_sql_and_the_worker_count_alike(client: Any, event: Any, to: Any, insert: Any, seed: int) -> None:
    events = some_events(event, to, seed)
    insert("ses.events", events)
    insert("ses.events", events[::3])
    counted = count(
        [Source(0, 0, open_block(encode("ses_event", events)))],
        lambda _, __, ids: (np.zeros(ids.size, np.bool_),) * 2,
        Opening(open_hours=10**8, clock=10**7),
        {},
    )
    worker = {
        (row["dimension"], row["value"], row["hour"]): {name: row[name] for name in COUNTERS if row[name]}
        for row in counted.deltas.iter_rows(named=True)
    }
    assert recounted(client) == worker
    assert {key[0] for key in worker} == set(DIMENSIONS)


def test_repair_makes_rates_agree_with_events(
    client: Any, event: Any, to: Any, insert: Any, contents: Any
) -> None:
    insert("ses.events", some_events(event, to, 5))
    first = repair(client, 1_000)
    assert first.hours is None
    assert first.rows > 50
    right = contents("rates")
    assert repair(client, 2_000).rows == 0
    cell = {"dimension": "campaign", "version": 5_000}
    insert(
        "ses.rates",
        [
            cell | {"value": "campaign1", "hour": HOUR, "sends": 999},
            cell | {"value": "ghost", "hour": HOUR, "sends": 3},
        ],
    )
    assert repair(client, 3_000) == Repaired(hours=3, rows=2, looked_at=3)
    assert contents("rates") == right
    (stored,) = client.query("SELECT max(version) FROM rate_rows FINAL WHERE value = 'ghost'").first_row
    assert stored == 5_001


def test_repair_looks_only_at_hours_touched_since_the_last_clean_stop(
    client: Any, event: Any, insert: Any
) -> None:
    insert("ses.events", [event(n, sent_time=(HOUR + n * 7200) * 1000) for n in range(5)])
    repair(client, 1)
    client.command(
        "ALTER TABLE event_rows UPDATE landed = now64(3) - 9999 WHERE 1 SETTINGS mutations_sync = 1"
    )
    client.command(
        "ALTER TABLE rate_rows UPDATE landed = now64(3) - 9999 WHERE 1 SETTINGS mutations_sync = 1"
    )
    mark_clean_stop(client)
    assert repair(client, 2) == Repaired(hours=0, rows=0)
    insert("ses.events", [event(77, sent_time=(HOUR + 7200) * 1000)])
    found = repair(client, 3)
    assert found.hours == 1
    assert found.rows == len(client.query("SELECT DISTINCT dimension FROM rates").result_rows)
    assert client.query(differences_sql()).result_rows == []


def test_many_scattered_hours_become_few_ranges_that_cover_them() -> None:
    hours = [HOUR + n * 86_400 for n in range(1000)]
    ranges = ranges_of(hours)
    assert len(ranges) <= 100
    assert all(any(low <= hour < high for low, high in ranges) for hour in hours)
    assert ranges_of([HOUR, HOUR + 3600, HOUR + 7200]) == [(HOUR, HOUR + 10_800)]
    assert ranges_of([]) == []
