"""What an embedded instance remembers of alarms and of what was told, when its broker has forgotten everything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from connectors.notify.past import from_clickhouse
from schemas import topics
from schemas.alarms import Alarm, AlarmAction, alarm_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from connectors.clickhouse.sql import Through

pytestmark = [pytest.mark.embedded, pytest.mark.sockets]

NOW = 1_795_348_800_000


def alarm(value: str, seq: int, state: str, incident: int, **fields: Any) -> Alarm:
    row: dict[str, Any] = {
        "alarm_key": alarm_key("complaint_rate", "campaign", value),
        "seq": seq,
        "revision": 0,
        "time": NOW + seq,
        "state": state,
        "severity": "warning",
        "signal": "complaint_rate",
        "dimension": "campaign",
        "value": value,
        "rate": 0.25,
        "limit": None,
        "e_value": 1e300,
        "evidence": '{"sql": "SELECT \\"é\\"\\n"}',
        "rule": "complaint_rate",
        "incident": incident,
        "opened_time": NOW,
        "cause": "evidence",
        "operator": "ann",
        "silenced_until": NOW + 5,
        "written_time": NOW + 7,
        "machine": bytes(range(256)),
    }
    return row | fields  # type: ignore[return-value]


def action(number: int, **fields: Any) -> AlarmAction:
    row: dict[str, Any] = {
        "action_id": f"id{number}",
        "time": NOW + number,
        "action": "page",
        "target": "on-call",
        "outcome": "delivered",
        "alarm_key": "complaint_rate:campaign:spring",
        "seq": 1,
        "incident": 1,
        "dedup_key": "ses-streams/complaint_rate:campaign:spring/1",
        "attempts": 1,
        "operator": "",
        "expires_time": 0,
        "detail": "warning: HTTP 202",
    }
    return row | fields  # type: ignore[return-value]


def test_open_incidents_come_whole_and_of_the_others_the_end(
    insert: Callable[..., None], target: Through
) -> None:
    spring = [alarm("spring", 1, "firing", 1), alarm("spring", 2, "recovering", 1)]
    explained = alarm("spring", 1, "firing", 1, revision=1, evidence='{"drivers": []}')
    autumn = [
        alarm("autumn", 1, "firing", 1),
        alarm("autumn", 2, "resolved", 1),
        alarm("autumn", 3, "ok", 0, cause="silenced", severity=""),
    ]
    again = [
        alarm("winter", 1, "firing", 1),
        alarm("winter", 2, "resolved", 1),
        alarm("winter", 3, "firing", 3),
    ]
    insert(topics.ALARMS, [*spring, *autumn, *again])
    insert(topics.ALARMS, [explained])
    tried = action(1, outcome="retrying", time=NOW - 1)
    insert(topics.ALARM_ACTIONS, [tried, action(1), action(2, action="pause", target="configuration_set:x")])
    past = from_clickhouse(target)
    found = sorted(past.alarms, key=lambda row: (row["alarm_key"], row["seq"]))
    assert found == [autumn[2], explained, spring[1], again[2]]
    assert past.actions == [action(1)]
