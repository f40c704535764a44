"""Actions of the past as view `alarm_actions` has them: for an embedded instance, whose Kafka forgets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from connectors.clickhouse.literals import text
from connectors.clickhouse.sql import run_sql

if TYPE_CHECKING:
    from connectors.clickhouse.sql import Target
    from schemas.alarms import AlarmAction

_NAMES: Final = (
    *(
        "action_id",
        "time",
        "action",
        "target",
        "outcome",
        "alarm_key",
        "seq",
        "incident",
        "dedup_key",
        "attempts",
    ),
    *("operator", "expires_time", "detail"),
)
_WHOLE: Final = frozenset({"time", "seq", "incident", "attempts", "expires_time"})
_SQL: Final = """
SELECT action_id, toUnixTimestamp64Milli(time), action, target, outcome, alarm_key, seq, incident, dedup_key, attempts,
    operator, ifNull(toUnixTimestamp64Milli(expires_time), 0), detail
FROM alarm_actions WHERE action IN ('pause', 'resume') ORDER BY time
"""


def actions(target: Target) -> list[AlarmAction]:
    """Every pause and resume, each as it was written last.

    Raises:
        ClickHouseError: it does not answer.
    """
    answer = b"".join(run_sql(_SQL, "JSONCompactEachRow", target))
    return [_row(msgspec.json.decode(line)) for line in answer.splitlines() if line]


def landed(target: Target, row: AlarmAction) -> bool:
    """Whether a row, or a later one of its action, is stored.

    Raises:
        ClickHouseError: it does not answer.
    """
    query = (
        f"SELECT count() FROM alarm_action_rows WHERE action_id = {text(row['action_id'])}"  # noqa: S608 - quoted
        f" AND time >= fromUnixTimestamp64Milli(toInt64({row['time']}))"
    )
    return int(b"".join(run_sql(query, "TSV", target))) > 0


def _row(values: list[Any]) -> AlarmAction:
    """64-bit numbers may come as text, as the server is set up."""
    fields = {name: int(each) if name in _WHOLE else each for name, each in zip(_NAMES, values, strict=True)}
    return cast("AlarmAction", fields)
