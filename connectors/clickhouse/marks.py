"""Marks of bounces and complaints (`pipelines.counting.reported`), of the events that are stored: in SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from connectors.clickhouse.literals import text
from connectors.clickhouse.recount import OWN, REPORTED
from pipelines.counting.reported import BY_REPORT, columns

if TYPE_CHECKING:
    from collections.abc import Sequence

_SEPARATED: Final = ", char(0), "
_HOUR: Final = "intDiv(toUnixTimestamp64Milli(sent_time), 3600000)"


def marks_sql(dimensions: Sequence[str], where: str) -> str:
    """A query of `key`, `sent_time` and `message_id` of every mark; one may come more than once.

    Args:
        dimensions: what is counted for.
        where: a condition on `event_rows`.
    """
    common, rest = columns(dimensions)
    alone = _marked("event_type", "message_id", "lower(thing.1)", f"toString({_HOUR})")
    shared = ["thing.2", *(f"toString({name})" for name in common)]
    every = shared + [f"toString({name})" for name in rest]
    return f"""
SELECT arrayJoin(multiIf({REPORTED}, [bitXor(alone, {BY_REPORT})],
    NOT {OWN}, [],
    tagged, [bitOr(alone, 1), bitXor(alone, {_marked(text("whole"), *every)})],
    [alone, bitXor(alone, {_marked(text("common"), *shared)})])) AS key, sent_time, message_id
FROM
(
    SELECT *, 1 AS one, 1 AS first, {alone} AS alone, arrayJoin(if(event_type = 'Bounce',
        arrayZip(recipients.address, recipients.provider), [('', recipients.provider[1])])) AS thing
    FROM event_rows
    PREWHERE event_type IN ('Bounce', 'Complaint') AND {where}
)
"""  # noqa: S608 - constants, and names of our own


def _marked(*parts: str) -> str:
    """`reported.marked`."""
    joined = f"concat({_SEPARATED.join(parts)})"
    return f"bitAnd(reinterpretAsUInt64(substring(MD5({joined}), 1, 8)), bitNot(toUInt64(1)))"
