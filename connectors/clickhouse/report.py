"""What `ses-streams report` says: campaigns at a glance, dead letters by cause, and what each path missed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from connectors.clickhouse.sql import run_sql
from pipelines.counting.bounds import clopper_pearson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from connectors.clickhouse.sql import Target


@dataclass(frozen=True, slots=True)
class Rate:
    """A share with its exact 95 % limits."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Campaign:
    """All hours of a campaign."""

    name: str
    sends: int
    """Without those that SES suppressed."""
    deliveries: int
    eligible: int
    complaints: int
    complaint_rate: Rate | None
    """None: no data, nothing was delivered where complaints are reported."""
    hard_bounces: int
    hard_bounce_rate: Rate | None


@dataclass(frozen=True, slots=True)
class Cause:
    """Dead letters of one stage and cause."""

    stage: str
    cause: str
    letters: int


@dataclass(frozen=True, slots=True)
class Path:
    """A path by which events come."""

    name: str
    events: int
    missed: int
    """Events that came by another path and not by this one."""


@dataclass(frozen=True, slots=True)
class Report:
    """The whole report."""

    events: int
    campaigns: tuple[Campaign, ...]
    """The worst complaint rate first, as far as its lower limit proves it."""
    more_campaigns: int
    """That are not listed."""
    causes: tuple[Cause, ...]
    paths: tuple[Path, ...]


def report(target: Target, campaigns: int = 20) -> Report:
    """Ask ClickHouse.

    Raises:
        ClickHouseError: it does not answer.
    """
    every = _campaigns(
        _ask(
            target,
            "SELECT campaign, sum(sends), sum(deliveries), sum(eligible), sum(complaints), sum(hard_bounces)"
            " FROM campaign_health GROUP BY campaign ORDER BY campaign",
        )
    )
    causes = _ask(
        target, "SELECT stage, cause, count() FROM dead_letters GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2"
    )
    ((events,),) = _ask(target, "SELECT count() FROM events")
    paths = _ask(target, "SELECT arrayJoin(paths) AS path, count() FROM events GROUP BY path ORDER BY path")
    return Report(
        events=int(events),
        campaigns=tuple(every[:campaigns]),
        more_campaigns=max(0, len(every) - campaigns),
        causes=tuple(Cause(stage, cause, int(count)) for stage, cause, count in causes),
        paths=tuple(Path(name, int(count), int(events) - int(count)) for name, count in paths),
    )


def render(found: Report) -> str:
    """The report as plain aligned text."""
    sections = [f"{found.events:,} events"]
    if found.campaigns:
        header = ("campaign", "sends", "deliveries", "complaint rate (95 %)", "hard-bounce rate (95 %)")
        body = [
            (
                each.name,
                f"{each.sends:,}",
                f"{each.deliveries:,}",
                _shown(each.complaint_rate),
                _shown(each.hard_bounce_rate),
            )
            for each in found.campaigns
        ]
        sections.append(_table([header, *body]))
        if found.more_campaigns:
            sections[-1] += f"\nand {found.more_campaigns:,} more campaigns"
    if found.paths:
        paths = [(each.name, f"{each.events:,}", f"{each.missed:,}") for each in found.paths]
        sections.append(_table([("path", "events", "missed"), *paths]))
    if found.causes:
        causes = [(f"{each.stage}: {each.cause}", f"{each.letters:,}") for each in found.causes]
        sections.append(_table([("dead letters", "records"), *causes]))
    else:
        sections.append("no dead letters")
    return "\n\n".join(sections) + "\n"


def _campaigns(rows: Sequence[Sequence[Any]]) -> list[Campaign]:
    counts = np.array([[int(each) for each in row[1:]] for row in rows], dtype=np.int64).reshape(len(rows), 5)
    sends, _, eligible, complaints, hard = counts.T
    complaint, bounce = _rates(complaints, eligible), _rates(hard, sends)
    every = [
        Campaign(str(row[0]), sent, delivered, of, complained, rate, bounced, hard_rate)
        for row, (sent, delivered, of, complained, bounced), rate, hard_rate in zip(
            rows, counts.tolist(), complaint, bounce, strict=True
        )
    ]
    return sorted(
        every, key=lambda each: (-(each.complaint_rate.low if each.complaint_rate else -1), -each.sends)
    )


def _rates(hits: np.ndarray[Any, Any], trials: np.ndarray[Any, Any]) -> list[Rate | None]:
    low, high = clopper_pearson(hits, trials)
    return [
        Rate(min(1.0, float(hit / of)), float(least), float(most)) if of else None
        for hit, of, least, most in zip(hits, trials, low, high, strict=True)
    ]


def _shown(rate: Rate | None) -> str:
    if rate is None:
        return "no data"
    return f"{rate.value:.3%} ({rate.low:.3%} to {rate.high:.3%})"


def _table(rows: Sequence[Sequence[str]]) -> str:
    """First column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _ask(target: Target, sql: str) -> list[list[Any]]:
    text = b"".join(run_sql(sql, "JSONCompactEachRow", target))
    return [msgspec.json.decode(line) for line in text.splitlines() if line]
