"""Recounting by key, tag and `(other)` against a naive count in Python."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from typing import Any

import pytest

from connectors.clickhouse import answers
from connectors.clickhouse.answers import Answers
from connectors.clickhouse.recount import recount_sql
from connectors.clickhouse.repair import differences_sql, repair
from schemas import topics
from schemas.counters import COUNTERS

pytestmark = pytest.mark.embedded

HOUR = 1_767_225_600
HOURS = [HOUR, HOUR + 3600, HOUR + 7200]
DIMENSIONS = ("account", "campaign", "provider_campaign", "tag:team", "tag:it's")
Cells = dict[tuple[str, str, int], Counter[str]]


def some_events(event: Any, to: Any, seed: int, number: int = 200) -> list[dict[str, Any]]:
    chance = random.Random(seed)

    def tags() -> list[dict[str, Any]]:
        names = [
            ("team", ["red", "blue"]),
            ("team", ["blue"]),
            ("it's", ["q'\\\0"]),
            ("team", []),
            ("x", ["y"]),
        ]
        return [
            {"name": name, "values": values} for name, values in chance.sample(names, chance.randrange(3))
        ]

    return [
        event(
            n << 64,
            arrival_id=n,
            sent_time=chance.choice(HOURS) * 1000 + chance.randrange(3_600_000),
            event_type=chance.choice(["Send", "Delivery", "Complaint", "Open"]),
            campaign=f"campaign{chance.randrange(12)}",
            complaint_type="abuse",
            recipients=[to(chance.choice(["gmail", "yahoo"])) for _ in range(chance.randrange(1, 3))],
            tagged=chance.random() < 0.8,
            tags=tags(),
        )
        for n in range(number)
    ]


def naive(events: list[dict[str, Any]]) -> Cells:
    """Each event once, in plain Python."""
    cells: Cells = defaultdict(Counter)
    for event in events:
        hour = event["sent_time"] // 3_600_000 * 3600
        kind = event["event_type"]
        for number, recipient in enumerate(event["recipients"]):
            counted = {"Send": ["sends"], "Delivery": ["deliveries", "eligible"]}.get(kind, [])
            if number == 0:
                counted = {"Complaint": ["complaints"], "Open": ["opens"]}.get(kind, counted)
            keys = [("account", event["account"])]
            if event["tagged"]:
                keys += [
                    ("campaign", event["campaign"]),
                    ("provider_campaign", f"{recipient['provider']}:{event['campaign']}"),
                ]
                for name in ("team", "it's"):
                    first = next((tag["values"] for tag in event["tags"] if tag["name"] == name), [])
                    keys += [(f"tag:{name}", value) for value in first[:1]]
            for key in keys:
                cells[*key, hour].update(counted)
    return {key: cell for key, cell in cells.items() if cell}


def cells_of(rows: Any) -> Cells:
    return {
        (row[0], row[1], int(row[2])): Counter(
            {name: n for name, n in zip(COUNTERS, row[3:], strict=True) if n}
        )
        for row in rows
    }


def answered(client: Any, keys: Any) -> Cells:
    found: Cells = {}
    for rows in Answers(client, lambda ask: ask())(keys):
        for row in rows:
            key = row["dimension"], row["value"], row["hour"]
            assert key not in found
            found[key] = Counter({name: row[name] for name in COUNTERS if row[name]})
    return found


@pytest.mark.parametrize("seed", [1, 2])
def test_all_keys_of_the_chosen_dimensions(client: Any, event: Any, to: Any, insert: Any, seed: int) -> None:
    events = some_events(event, to, seed)
    insert(topics.EVENTS, events)
    insert(topics.EVENTS, events[::3])
    expected = naive(events)
    assert cells_of(client.query(recount_sql(None, DIMENSIONS)).result_rows) == expected
    assert {key[0] for key in expected} == set(DIMENSIONS)
    keys = [*random.Random(seed).sample(sorted(expected), 15), ("campaign", "none", HOUR)]
    found = cells_of(client.query(recount_sql(None, DIMENSIONS, keys)).result_rows)
    assert found == {key: cell for key, cell in expected.items() if key in keys}


@pytest.fixture
def filled(client: Any, event: Any, to: Any, insert: Any) -> Any:
    insert(topics.EVENTS, some_events(event, to, 3))
    return client


@pytest.mark.parametrize("limits", [(1000, 1_000_000), (5, 1_000_000), (5, 50)])
def test_answers_in_one_query_or_in_several_are_the_same(
    filled: Any, event: Any, to: Any, monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int]
) -> None:
    monkeypatch.setattr(answers, "KEYS_IN_SQL", limits[0])
    monkeypatch.setattr(answers, "EVENTS_AT_ONCE", limits[1])
    expected = naive(some_events(event, to, 3))
    nothing = [("campaign", f"none{n}", HOUR) for n in range(10)]
    assert answered(filled, [*expected, *nothing]) == expected | {key: Counter() for key in nothing}


def test_other_is_what_has_no_row_of_its_own(client: Any, event: Any, to: Any, insert: Any) -> None:
    events = some_events(event, to, 4)
    insert(topics.EVENTS, events)
    expected = naive(events)
    own = {f"campaign{n}" for n in range(4)}
    row = {"dimension": "campaign", "version": 1, "sends": 1}
    insert(topics.RATES, [row | {"value": value, "hour": hour} for value in own for hour in HOURS])
    gone = {"dimension": "campaign", "version": 1, "value": "campaign9", "hour": HOUR}
    insert(topics.RATES, [gone])

    def rest(hour: int, besides: set[str]) -> Counter[str]:
        total: Counter[str] = Counter()
        for (dimension, value, at), cell in expected.items():
            if dimension == "campaign" and at == hour and value not in besides:
                total.update(cell)
        return total

    other = [("campaign", "(other)", hour) for hour in HOURS]
    assert answered(client, other) == {key: rest(key[2], own) for key in other}
    with_new = [("campaign", "campaign7", HOUR), *other]
    assert answered(client, with_new) == {
        ("campaign", "campaign7", HOUR): expected["campaign", "campaign7", HOUR],
        ("campaign", "(other)", HOUR): rest(HOUR, own | {"campaign7"}),
        **{key: rest(key[2], own) for key in other[1:]},
    }
    # A value that gets a row of its own takes its part out of an `(other)` that is there already.
    insert(topics.RATES, [row | {"value": "(other)", "hour": HOUR}])
    assert answered(client, [("campaign", "campaign7", HOUR)]) == {
        ("campaign", "campaign7", HOUR): expected["campaign", "campaign7", HOUR],
        ("campaign", "(other)", HOUR): rest(HOUR, own | {"campaign7"}),
    }


def test_a_repair_keeps_what_is_counted_to_other(client: Any, event: Any, to: Any, insert: Any) -> None:
    events = some_events(event, to, 5)
    insert(topics.EVENTS, events)
    row = {"dimension": "campaign", "version": 1, "sends": 1, "hour": HOUR}
    insert(topics.RATES, [row | {"value": value} for value in ("campaign1", "campaign2", "(other)")])
    repair(client, 2, everything=True, dimensions=DIMENSIONS)
    stored = cells_of(
        client.query(
            f"SELECT dimension, value, toUnixTimestamp64Second(hour), {', '.join(COUNTERS)} FROM rate_rows FINAL"
        ).result_rows
    )
    first = {key[1] for key in stored if key[0] == "campaign" and key[2] == HOUR}
    assert first == {"campaign1", "campaign2", "(other)"}
    sums: dict[int, Counter[str]] = defaultdict(Counter)
    whole: dict[int, Counter[str]] = defaultdict(Counter)
    for cells, total in ((stored, sums), (naive(events), whole)):
        for (dimension, _, hour), cell in cells.items():
            if dimension == "campaign":
                total[hour].update(cell)
    assert sums == whole
    assert client.query(differences_sql(None, DIMENSIONS)).result_rows == []


def test_rows_of_a_dimension_that_is_counted_no_more_are_taken_back(
    client: Any, event: Any, insert: Any
) -> None:
    insert(topics.EVENTS, [event(1), event(2, tags=[{"name": "team", "values": ["red"]}])])
    repair(client, 1, everything=True, dimensions=("account", "campaign"))
    repair(client, 2, everything=True, dimensions=("account", "tag:team"))
    found = client.query("SELECT dimension, value, sends FROM rates ORDER BY dimension").result_rows
    assert [tuple(row) for row in found] == [("account", "111122223333", 2), ("tag:team", "red", 1)]
