"""Incidents that go on: a page that fired on the first few hits may know no driver, or the wrong one, yet.

While an incident is open its evidence is looked at again whenever its hits have doubled, so seldom however long it
lasts; it is told again only where the drivers that lead are others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from connectors.alarms.left import explained_of_open
from connectors.alarms.subject import HOUR_S, Subject, Unexplained, subject_of
from connectors.clickhouse.literals import text
from pipelines.alarms.transition import evidence_of
from schemas.counters import COUNTERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from connectors.clickhouse.client import Client
    from schemas.alarms import Alarm

FACTOR: Final = 2
"""Times the hits it was explained by, when it is looked at again."""


@dataclass(frozen=True, slots=True)
class Grown:
    """An incident whose evidence has grown."""

    alarm: Alarm
    """Its last transition that was explained."""
    hits: int
    """Since its evidence began."""
    until: int
    """End of the last cohort hour with any counters, seconds."""

    @property
    def identity(self) -> tuple[str, int]:
        """Alarm key and `seq`."""
        return self.alarm["alarm_key"], self.alarm["seq"]


def grown(
    client: Client, mine: Callable[[Alarm], bool], looked: Mapping[tuple[str, int], int]
) -> list[Grown]:
    """The incidents to look at again.

    Args:
        client: where.
        mine: whether an alarm is this process's to explain.
        looked: by alarm key and `seq`, the hits it was looked at again with, and told nothing new.

    Raises:
        clickhouse_connect.driver.exceptions.Error: as ClickHouse answers.
    """
    found = []
    for alarm in explained_of_open(client):
        evidence = evidence_of(alarm)
        before = max(looked.get((alarm["alarm_key"], alarm["seq"]), 0), _explained_by(evidence))
        if not before or not mine(alarm):
            continue
        try:
            subject = subject_of(alarm, evidence)
        except Unexplained:
            continue
        hits, until = _now(client, subject)
        if hits >= FACTOR * before:
            found.append(Grown(alarm, hits, until))
    return found


def says_something_new(before: Alarm, after: Alarm) -> bool:
    """Whether the driver that leads is another one than was told, or there is one at last."""
    leading = _leading(evidence_of(after))
    return leading is not None and leading != _leading(evidence_of(before))


def _explained_by(evidence: Mapping[str, Any]) -> int:
    """Hits that the explanation saw; of one that failed those of the test."""
    hits = evidence.get("explained_hits") or evidence.get("hits") or 0
    return int(hits) if isinstance(hits, int | float) else 0


def _leading(evidence: Mapping[str, Any]) -> tuple[str, str] | None:
    found = evidence.get("drivers") or []
    return (str(found[0].get("factor")), str(found[0].get("value"))) if found else None


def _now(client: Client, subject: Subject) -> tuple[int, int]:
    """Hits since the evidence began, and the end of the last hour."""
    rows = client.query(
        f"SELECT {subject.share.hits}, toUnixTimestamp64Second(toDateTime64(hour, 0, 'UTC'))"  # noqa: S608 - literals
        f" FROM rate_rows FINAL WHERE dimension = {text(subject.dimension)} AND value = {text(subject.value)}"
        f" AND hour >= toDateTime({int(subject.since)}, 'UTC') AND hour <= now()"
        f" AND {' + '.join(COUNTERS)} > 0"
    ).result_rows
    return sum(int(row[0]) for row in rows), max((int(row[1]) + HOUR_S for row in rows), default=0)
