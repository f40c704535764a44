"""What `ses-streams report` says: alarms, campaigns, regions, mail, dead letters, what each path missed, notices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from connectors.postmaster.glance import glance
from connectors.reports import alarms, mail, notices, regions
from connectors.reports.figures import Rate, ask, rates, shown, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from connectors.clickhouse.sql import Target


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
    alarms: alarms.Alarms
    campaigns: tuple[Campaign, ...]
    """The worst complaint rate first, as far as its lower limit proves it."""
    more_campaigns: int
    """That are not listed."""
    regions: regions.Regions
    causes: tuple[Cause, ...]
    paths: tuple[Path, ...]
    mail: mail.Mail
    """Received."""
    gmail: tuple[str, ...]
    """Sections of Google's own figures."""
    notices: tuple[str, ...]
    """Sentences: what should not be overlooked."""


def report(target: Target, campaigns: int = 20, moved_points: float = regions.MOVED_POINTS) -> Report:
    """Ask ClickHouse.

    Args:
        target: where.
        campaigns: listed at the most.
        moved_points: by how many points a region's share must have moved to be told.

    Raises:
        ClickHouseError: it does not answer.
    """
    every = _campaigns(
        ask(
            target,
            "SELECT campaign, sum(sends), sum(deliveries), sum(eligible), sum(complaints), sum(hard_bounces)"
            " FROM campaign_health GROUP BY campaign ORDER BY campaign",
        )
    )
    causes = ask(target, "SELECT stage, cause, count() FROM dead_letters GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2")
    ((events, published),) = ask(target, "SELECT count(), countIf(notEmpty(paths)) FROM events")
    paths = ask(target, "SELECT arrayJoin(paths) AS path, count() FROM events GROUP BY path ORDER BY path")
    return Report(
        events=int(events),
        alarms=alarms.alarms(target),
        campaigns=tuple(every[:campaigns]),
        more_campaigns=max(0, len(every) - campaigns),
        regions=regions.regions(target, moved_points),
        causes=tuple(Cause(stage, cause, int(count)) for stage, cause, count in causes),
        paths=tuple(Path(name, int(count), int(published) - int(count)) for name, count in paths),
        mail=mail.mail(target),
        gmail=tuple(glance(target)),
        notices=notices.notices(target),
    )


def render(found: Report) -> str:
    """The report as plain aligned text."""
    sections = [f"{found.events:,} events", *alarms.render(found.alarms)]
    if found.campaigns:
        header = ("campaign", "sends", "deliveries", "complaint rate (95 %)", "hard-bounce rate (95 %)")
        body = [
            (
                each.name,
                f"{each.sends:,}",
                f"{each.deliveries:,}",
                shown(each.complaint_rate),
                shown(each.hard_bounce_rate),
            )
            for each in found.campaigns
        ]
        sections.append(table([header, *body]))
        if found.more_campaigns:
            sections[-1] += f"\nand {found.more_campaigns:,} more campaigns"
    sections += regions.render(found.regions)
    sections += mail.render(found.mail)
    sections += found.gmail
    if found.paths:
        paths = [(each.name, f"{each.events:,}", f"{each.missed:,}") for each in found.paths]
        sections.append(table([("path", "events", "missed"), *paths]))
    if found.causes:
        causes = [(f"{each.stage}: {each.cause}", f"{each.letters:,}") for each in found.causes]
        sections.append(table([("dead letters", "records"), *causes]))
    else:
        sections.append("no dead letters")
    if found.notices:
        sections.append("\n".join(["Notices", *(f"- {each}" for each in found.notices)]))
    return "\n\n".join(sections) + "\n"


def _campaigns(rows: Sequence[Sequence[Any]]) -> list[Campaign]:
    counts = np.array([[int(each) for each in row[1:]] for row in rows], dtype=np.int64).reshape(len(rows), 5)
    sends, _, eligible, complaints, hard = counts.T
    complaint, bounce = rates(complaints, eligible), rates(hard, sends)
    every = [
        Campaign(str(row[0]), sent, delivered, of, complained, rate, bounced, hard_rate)
        for row, (sent, delivered, of, complained, bounced), rate, hard_rate in zip(
            rows, counts.tolist(), complaint, bounce, strict=True
        )
    ]
    return sorted(
        every, key=lambda each: (-(each.complaint_rate.low if each.complaint_rate else -1), -each.sends)
    )
