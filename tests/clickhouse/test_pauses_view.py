"""Pauses as ClickHouse remembers them, through the door of an instance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from connectors.clickhouse import door
from connectors.clickhouse.sql import Through
from connectors.response.by_hand import ledger_of
from connectors.response.ledger import resume_id
from connectors.response.view import actions, landed
from schemas import topics

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from schemas.alarms import AlarmAction

pytestmark = pytest.mark.embedded

NOW = 1_795_000_000_000


@pytest.fixture
def through(client: Any, engine: Path, database: str) -> Iterator[Through]:
    opened = door.serve(engine, database)
    yield Through(opened.address, opened.token)
    opened.stop()


def row(target: str, at: int, outcome: str, **fields: Any) -> AlarmAction:
    made: dict[str, Any] = {
        "action_id": target.encode().hex(),
        "time": NOW + at,
        "action": "pause",
        "target": target,
        "outcome": outcome,
        "alarm_key": f"complaint_rate:{target}",
        "seq": 3,
        "incident": 2,
        "dedup_key": "d",
        "attempts": 1,
        "operator": "",
        "expires_time": NOW + 86_400_000,
        "detail": "it's \\ odd",
    }
    return made | fields  # type: ignore[return-value]


def test_what_was_written_is_read_again(through: Through, insert: Any) -> None:
    bulk = row("configuration_set:bulk", 0, "intended")
    done = row("configuration_set:bulk", 9, "done")
    acme = row("tenant:acme", 1, "done", operator="ann", alarm_key="", expires_time=0)
    end = {
        "action": "resume",
        "operator": "bob",
        "expires_time": 0,
        "action_id": resume_id(acme["action_id"]),
    }
    over = row("tenant:acme", 5, "done", **end)
    page = row("pager", 2, "delivered", action="page")
    insert(topics.ALARM_ACTIONS, [done, over, page])
    insert(topics.ALARM_ACTIONS, [bulk, acme])
    assert actions(through) == [acme, over, done]
    assert [str(each.target) for each in ledger_of(actions(through)).open()] == ["configuration_set:bulk"]


def test_a_row_has_landed_once_it_or_a_later_one_of_its_action_is_stored(
    through: Through, insert: Any
) -> None:
    first, second = row("tenant:a'b", 0, "intended"), row("tenant:a'b", 1, "done")
    assert not landed(through, first)
    insert(topics.ALARM_ACTIONS, [first])
    assert landed(through, first)
    assert not landed(through, second)
    insert(topics.ALARM_ACTIONS, [second])
    assert landed(through, first)
    assert landed(through, second)
