from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from connectors.clickhouse import door
from connectors.clickhouse.sql import Through
from connectors.reports.notices import notices
from connectors.reports.report import render, report
from schemas.counters import OTHER_VALUE
from schemas.dead_letters import dead_letter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.embedded

HOUR = 1_767_225_600


@pytest.fixture
def through(client: Any, engine: Path, database: str) -> Iterator[Through]:
    opened = door.serve(engine, database)
    yield Through(opened.address, opened.token)
    opened.stop()


def test_where_all_is_well_there_is_nothing_to_notice(through: Through, insert: Any, event: Any) -> None:
    insert("ses.events", [event(1)])
    insert("ses.rates", [{"dimension": "campaign", "value": "a", "hour": HOUR, "version": 1, "sends": 5}])
    assert notices(through) == ()
    assert "Notices" not in render(report(through))


def test_a_capped_dimension_says_how_much_is_in_other(through: Through, insert: Any) -> None:
    def cell(dimension: str, value: str, hour: int, sends: int) -> dict[str, Any]:
        return {
            "dimension": dimension,
            "value": value,
            "hour": HOUR + hour * 3600,
            "version": 1,
            "sends": sends,
        }

    insert("ses.rates", [cell("tag:user", value, 30, 30) for value in ("a", "b", OTHER_VALUE)])
    # Longer ago than a day, whole or in part.
    insert("ses.rates", [cell("tag:user", OTHER_VALUE, 6, 900), cell("campaign", OTHER_VALUE, 5, 7)])
    insert("ses.rates", [cell("campaign", "spring", 30, 90)])
    (notice,) = notices(through)
    assert notice.startswith(
        "tag:user has more values than are kept: 33.3% of the sends of the last 24 h are counted as (other), 2 values"
    )
    assert "raise counting.dimension_cap" in notice


def test_rejections_of_the_last_hour_and_events_of_the_future(
    through: Through, insert: Any, event: Any
) -> None:
    now = time.time_ns() // 1_000_000

    def letter(cause: str, ago_s: int) -> dict[str, Any]:
        stamp = now - ago_s * 1000
        source = f"file:///{ago_s}"
        return dict(
            dead_letter(time=stamp, stage="parse", cause=cause, detail="", source=source, payload=b"")
        )

    insert("ses.dead-letter", [*(letter("bad", ago) for ago in (10, 20, 7200)), letter("odd", 30)])
    ahead = 7_226_582_400_000
    insert("ses.events", [event(n, event_time=ahead, future=True, arrival_id=n) for n in (1, 1, 2)])
    rejected, future = notices(through)
    assert rejected.startswith("3 records were rejected in the last hour, most of them (2) for parse: bad;")
    assert future.startswith("2 events say that they are of the future (up to 2199-01-01 00:00 UTC)")
    assert f"Notices\n- {rejected}\n- {future}\n" in render(report(through))
