"""What an alarm is explained by, against the counters and against a story known by hand."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from connectors.alarms import query
from connectors.alarms.explanation import explain
from connectors.alarms.subject import HOUR_S, Subject, Unexplained, subject_of
from connectors.clickhouse import door
from connectors.clickhouse.recount import recount_sql
from connectors.clickhouse.sql import Through, run_sql
from pipelines.alarms.signals import SHARES
from schemas.counters import COUNTERS, DIMENSIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

pytestmark = pytest.mark.embedded

HOUR = 1_767_225_600
PROVIDERS = (("yahoo", True), ("gmail", False), ("microsoft", True), ("gmx", True))


@pytest.fixture
def ask(client: Any) -> Callable[[str], Sequence[Sequence[Any]]]:
    def run(sql: str) -> Sequence[Sequence[Any]]:
        rows: Sequence[Sequence[Any]] = client.query(sql).result_rows
        return rows

    return run


@pytest.fixture
def through(client: Any, engine: Path, database: str) -> Iterator[Through]:
    opened = door.serve(engine, database)
    yield Through(opened.address, opened.token)
    opened.stop()


def mixed(event: Any, to: Any, number: int = 700) -> list[dict[str, Any]]:
    """Events of every kind that counts, by several paths, some untagged first, some with many recipients."""
    chance = random.Random(3)
    rows = []
    for n in range(number):
        chosen = [
            to(name, reports_complaints=reports, blocked=chance.random() < 0.3, smtp_reply="421 later")
            for name, reports in chance.choices(PROVIDERS, k=chance.choice((0, 1, 1, 1, 2, 3)))
        ]
        kind = chance.choice(
            [
                "Send",
                "Send",
                "Delivery",
                "Bounce",
                "Complaint",
                "DeliveryDelay",
                "Reject",
                "Rendering Failure",
                "Open",
            ]
        )
        row = event(
            n << 64,
            arrival_id=n,
            event_type=kind,
            sent_time=(HOUR + chance.randrange(3) * HOUR_S) * 1000 + chance.randrange(3_600_000),
            recipients=chosen,
            campaign=chance.choice(("spring", "it's", "a:b")),
            feedback_a="spring",
            feedback_b=chance.choice(("news", "bought")),
            outgoing_ip="" if kind == "Send" else chance.choice(("192.0.2.1", "192.0.2.2")),
            bounce_type=chance.choice(("Permanent", "Transient")) if kind == "Bounce" else "",
            bounce_subtype=chance.choice(("General", "OnAccountSuppressionList")) if kind == "Bounce" else "",
            complaint_type=chance.choice(("abuse", "not-spam")) if kind == "Complaint" else "",
            out_of_office=kind == "Bounce" and chance.random() < 0.3,
            tags=[{"name": "list", "values": [chance.choice("xyz")]}],
        )
        rows.append(row)
        if chance.random() < 0.3:
            rows.append(row | {"path": "firehose", "arrival_id": -n})
        if chance.random() < 0.3:
            gone = {"campaign": "", "feedback_a": "", "feedback_b": "", "outgoing_ip": "", "tags": []}
            rows.append(row | gone | {"tagged": False, "origin": "notification", "arrival_id": number + n})
    chance.shuffle(rows)
    return rows


KEYS = (
    ("campaign", "it's"),
    ("account", "111122223333"),
    ("provider", "yahoo"),
    ("provider_campaign", "yahoo:a:b"),
    ("feedback_ab", "spring:bought"),
    ("tag:list", "x"),
    ("from_domain", "shop.example"),
)


def test_hits_and_trials_are_those_of_the_counters(
    client: Any, event: Any, to: Any, insert: Any, ask: Any
) -> None:
    rows = mixed(event, to)
    insert("ses.events", rows[: len(rows) // 2])
    insert("ses.events", rows[len(rows) // 2 :])
    hours = ((HOUR, HOUR + 2 * HOUR_S),)
    counted = client.query(recount_sql(hours, (*DIMENSIONS, "tag:list"))).result_rows
    for signal, share in SHARES.items():
        for dimension, value in KEYS:
            vectors = [row[3:] for row in counted if (row[0], row[1]) == (dimension, value)]
            total = dict(zip(COUNTERS, map(sum, zip(*vectors, strict=True)), strict=True))
            subject = Subject(dimension, value, signal, 0.01, *hours[0])
            found = {(row[0], row[1]): (int(row[2]), int(row[3])) for row in ask(query.factors_sql(subject))}
            trials = sum(total[name] for name in share.trials) - sum(total[name] for name in share.without)
            assert found[query.WHOLE, "*"] == (total[share.hits], trials), (signal, dimension)
            assert total[share.hits] > 0


def test_what_the_query_for_people_shows_is_what_was_told(
    event: Any, to: Any, insert: Any, ask: Any, through: Through
) -> None:
    insert("ses.events", mixed(event, to))
    for signal in ("complaint_rate", "reputation_block"):
        for dimension, value in (KEYS[0], KEYS[3]):
            subject = Subject(dimension, value, signal, 0.01, HOUR, HOUR + 2 * HOUR_S)
            told = {
                (row[0], row[1]): [int(each) for each in row[2:5]] for row in ask(query.factors_sql(subject))
            }
            for factor in ("provider", "feedback_b", "outgoing_ip", "tag:list"):
                lines = (
                    b"".join(run_sql(query.shown_sql(subject, factor), "TSV", through)).decode().splitlines()
                )
                shown = {line.split("\t")[0]: [int(each) for each in line.split("\t")[1:3]] for line in lines}
                assert factor.startswith("tag:") or shown, factor
                for name, (hits, trials) in shown.items():
                    if (factor, name) in told:
                        hits_told, trials_told, attempts = told[factor, name]
                        assert hits == hits_told
                        assert trials in {trials_told, attempts}


def story(event: Any, to: Any, *, blocked: bool = False) -> list[dict[str, Any]]:
    """A campaign of 3,000 messages in three hours; its bought list at yahoo complains (or is turned away)."""
    chance = random.Random(9)
    rows = []
    for n in range(3000):
        name, reports = chance.choice(PROVIDERS)
        bought = n % 5 == 0
        bad = bought and name == "yahoo" and chance.random() < 0.2
        common = {
            "message_id": f"m{n}",
            "sent_time": (HOUR + n % 3 * HOUR_S) * 1000 + n,
            "event_time": (HOUR + n % 3 * HOUR_S) * 1000 + 60_000 + n,
            "recipients": [to(name, reports_complaints=reports)],
            "feedback_b": "bought" if bought else "news",
            "tags": [
                {"name": "user", "values": [str(n)]},
                {"name": "ses:configuration-set", "values": ["c"]},
            ],
            "configuration_set": "marketing",
        }
        rows.append(event(3 * n, arrival_id=3 * n, **common))
        if bad and blocked:
            reply = f"550 5.7.1 [{n}2345abc] message from 192.0.2.{n % 250} blocked"
            turned = [to(name, blocked=True, smtp_reply=reply)]
            more = {"event_type": "Bounce", "bounce_type": "Permanent", "outgoing_ip": "192.0.2.7"}
            rows.append(event(3 * n + 1, **{**common, **more, "recipients": turned}))
            continue
        rows.append(event(3 * n + 1, **common, event_type="Delivery", outgoing_ip=f"192.0.2.{7 + n % 2}"))
        if bad:
            rows.append(event(3 * n + 2, **common, event_type="Complaint", complaint_type="abuse"))
    return rows


def test_complaints_are_explained_by_the_list_and_the_provider(
    event: Any, to: Any, insert: Any, ask: Any, through: Through
) -> None:
    rows = story(event, to)
    insert("ses.events", rows)
    account = {"dimension": "account", "value": "111122223333", "version": 1}
    insert(
        "ses.rates",
        [account | {"hour": HOUR + hour * HOUR_S, "eligible": 750, "complaints": 1} for hour in range(3)],
    )
    complaints = [row for row in rows if row["event_type"] == "Complaint"]
    told = explain(Subject("campaign", "spring", "complaint_rate", 0.001, HOUR, HOUR + 3 * HOUR_S), ask)
    first, second = told["drivers"]
    assert (first["factor"], first["value"]) == ("feedback_b", "bought")
    assert first["hits"] == len(complaints) == second["hits"]
    eligible = {row["message_id"] for row in rows if row["recipients"][0]["reports_complaints"]}
    assert first["trials"] == len({f"m{n}" for n in range(0, 3000, 5)} & eligible)
    assert (second["factor"], second["value"]) == ("provider", "yahoo")
    assert first["excess_share"] > 0.9
    newest = sorted(complaints, key=lambda row: -row["event_time"])[:5]
    assert told["sample_message_ids"] == [row["message_id"] for row in newest]
    assert told["summary"].startswith(
        f"100% of the excess comes from stream (feedback_b) bought: {len(complaints)} "
    )
    assert (told["hit"], told["trial"], told["explained"]) == ("complaints", "eligible deliveries", True)
    assert told["forecast"]["what"] == "pause"
    assert told["forecast"]["in_hours"] is None
    assert "smtp_replies" not in told
    lines = b"".join(run_sql(told["sql"], "TSV", through)).decode().splitlines()
    assert lines[0].split("\t")[:2] == ["bought", str(len(complaints))]


def test_blocks_are_explained_by_the_ip_and_grouped_replies(
    event: Any, to: Any, insert: Any, ask: Any
) -> None:
    rows = story(event, to, blocked=True)
    insert("ses.events", rows)
    turned = sum(row["event_type"] == "Bounce" for row in rows)
    told = explain(Subject("provider", "yahoo", "reputation_block", 0.01, HOUR, HOUR + 3 * HOUR_S), ask)
    found = {(each["factor"], each["value"]): each for each in told["drivers"]}
    assert found["feedback_b", "bought"]["hits"] == turned
    assert found["outgoing_ip", "192.0.2.7"]["trials"] > turned
    assert told["smtp_replies"] == [{"reply": "550 5.7.1 [<id>] message from <ip> blocked", "count": turned}]
    assert "forecast" not in told


def test_rendering_failures_name_template_and_reason(event: Any, insert: Any, ask: Any) -> None:
    rows = [event(n) for n in range(50)]
    failure = {
        "event_type": "Rendering Failure",
        "reason": "Attribute 'name' is not present in the rendering data.",
    }
    rows += [event(n, **failure, template="welcome" if n % 5 else "bill") for n in range(100, 120)]
    insert("ses.events", rows)
    told = explain(Subject("campaign", "spring", "rendering_failure_rate", 0.01, HOUR, HOUR + HOUR_S), ask)
    assert [(each["factor"], each["value"], each["hits"], each["trials"]) for each in told["drivers"]] == [
        ("template", "welcome", 16, None)
    ]
    assert told["reasons"] == [{"reason": failure["reason"], "count": 20}]
    assert told["summary"] == "80% of the rendering failures are of template welcome (16)"


def test_the_link_that_those_who_complained_had_clicked(event: Any, to: Any, insert: Any, ask: Any) -> None:
    rows = []
    for n in range(1200):
        common = {"message_id": f"m{n}", "recipients": [to()]}
        rows.append(event(4 * n, **common, event_type="Delivery"))
        link = "https://shop.example/prize" if n % 20 == 0 else "https://shop.example/news"
        rows.append(event(4 * n + 1, **common, event_type="Click", link=f"{link}?user={n}"))
        if n % 20 == 0 and n % 100:
            rows.append(event(4 * n + 2, **common, event_type="Complaint"))
    insert("ses.events", rows)
    told = explain(Subject("campaign", "spring", "complaint_rate", 0.001, HOUR, HOUR + HOUR_S), ask)
    assert [(each["factor"], each["value"], each["hits"], each["trials"]) for each in told["drivers"]] == [
        ("link", "https://shop.example/prize", 48, 60)
    ]


def test_evenly_spread_nothing_is_named(event: Any, to: Any, insert: Any, ask: Any) -> None:
    rows = [event(n, event_type="Delivery", recipients=[to(("yahoo", "gmx")[n % 2])]) for n in range(1000)]
    rows += [
        event(n, event_type="Complaint", recipients=[to(("yahoo", "gmx")[n % 2])]) for n in range(5000, 5020)
    ]
    insert("ses.events", rows)
    told = explain(Subject("campaign", "spring", "complaint_rate", 0.001, HOUR, HOUR + HOUR_S), ask)
    assert told["drivers"] == []
    assert told["summary"] == "No part of campaign spring stands out among its 20 complaints"
    assert told["explained"]


def test_of_long_evidence_the_latest_hours_are_looked_at(
    event: Any, insert: Any, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [event(n, event_type="Complaint", sent_time=(HOUR + n % 10 * HOUR_S) * 1000) for n in range(100)]
    insert("ses.events", rows)
    monkeypatch.setattr("connectors.alarms.explanation.MOST_COPIES", 130)
    subject = Subject("campaign", "spring", "complaint_rate", 0.001, HOUR, HOUR + 10 * HOUR_S)
    assert explain(subject, ask)["drivers_since"] == "2026-01-01T07:00:00+00:00"
    monkeypatch.setattr("connectors.alarms.explanation.MOST_COPIES", 1)
    assert explain(subject, ask)["drivers_since"] == "2026-01-01T09:00:00+00:00"


def test_without_events_there_is_no_explanation(ask: Any) -> None:
    with pytest.raises(Unexplained, match="not in ClickHouse"):
        explain(Subject("campaign", "spring", "complaint_rate", 0.001, HOUR, HOUR + HOUR_S), ask)


def alarm(**fields: Any) -> Any:
    row = {"signal": "complaint_rate", "dimension": "campaign", "value": "spring", "limit": 0.001}
    return row | {"time": (HOUR + HOUR_S) * 1000, **fields}


def test_the_subject_of_an_alarm() -> None:
    since = {"since": "2026-01-01T00:00:00+00:00"}
    assert subject_of(alarm(), since) == Subject(
        "campaign", "spring", "complaint_rate", 0.001, HOUR, HOUR + HOUR_S
    )
    inside = subject_of(alarm(time=HOUR * 1000 + 1), since)
    assert (inside.since, inside.until) == (HOUR, HOUR + HOUR_S)
    unknown = subject_of(alarm(limit=None), {"since": "yesterday"})
    assert (unknown.since, unknown.limit) == (HOUR + HOUR_S - 86_400, 0.0)
    drift = subject_of(alarm(signal="baseline_drift"), since | {"of": "hard_bounce_rate"})
    assert drift.hit == "hard bounces"
    with pytest.raises(Unexplained, match="dimension_cap"):
        subject_of(alarm(value="(other)"), since)
    with pytest.raises(Unexplained, match="baseline_drift"):
        subject_of(alarm(signal="baseline_drift"), since)
