"""`Horizon`: before when events may be gone, so that counting them again would count less than there was."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EVENTS: Final = "event_rows"
MARGIN_S: Final = 3600
"""A recount takes less from when it looks to when it has counted; events of an hour go from its begin on."""
_ASKED: Final = f"""
SELECT toUnixTimestamp(now()), toInt64(toUnixTimestamp64Second(toDateTime64(max(until), 0))), count(),
    (SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = '{EVENTS}')
FROM event_horizons
"""  # noqa: S608 - a constant
_CLAUSE: Final = re.compile(r"\bTTL (.*?)(?: SETTINGS .*)?$", re.DOTALL)
_INTERVAL: Final = re.compile(
    r"toInterval(?P<unit>[A-Z][a-z]+)\((?P<number>\d+)\)(?P<moves>\s+(?:TO (?:DISK|VOLUME)|RECOMPRESS)\b)?"
)
_SECONDS: Final = {
    "Second": 1,
    "Minute": 60,
    "Hour": 3600,
    "Day": 86_400,
    "Week": 604_800,
    "Month": 28 * 86_400,
    "Quarter": 90 * 86_400,
    "Year": 365 * 86_400,
}
"""At the least."""


@dataclass(frozen=True, slots=True)
class Horizon:
    """Seconds since the epoch; cohort hours that begin before are meant. 0: there are none."""

    gone: int = 0
    """A TTL that is in force takes their events: what is counted of them now says nothing."""
    doubtful: int = 0
    """Events may have been taken by a TTL that was in force; what comes now stays. Counted again they may be less
    than they were, or more."""


def horizon(query: Callable[[str], Sequence[Sequence[Any]]]) -> Horizon:
    """Ask the ClickHouse of a migrated database. Whoever changed the TTL, it is the table's that counts.

    Args:
        query: gives the rows of some SQL.
    """
    ((now, until, number, engine),) = query(_ASKED)
    after = dropped_after(engine)
    gone = 0 if after is None else max(int(now) - after + MARGIN_S, 1)
    return Horizon(gone, max(int(until) + MARGIN_S, 1) if int(number) else 0)


def clause_of(engine: str) -> str:
    """The TTL in a table's `engine_full`; empty: there is none."""
    match = _CLAUSE.search(engine)
    return match[1].strip() if match else ""


def dropped_after(engine: str) -> int | None:
    """Seconds after which a table drops rows, by its `engine_full`; None: never. 0: a TTL that is not understood."""
    clause = clause_of(engine)
    if not clause:
        return None
    found = list(_INTERVAL.finditer(clause))
    drops = [_SECONDS.get(each["unit"], 0) * int(each["number"]) for each in found if not each["moves"]]
    if drops:
        return min(drops)
    return None if found else 0
