"""Regions side by side, and where traffic moved between them.

SES Global endpoints split the messages of an account evenly between two regions and weight them away from one in
trouble (SES developer guide, "Using Global endpoints"), so a shift is the first sign of trouble there.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Final

import numpy as np

from connectors.reports.figures import Rate, ask, rates, shown, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from connectors.clickhouse.sql import Target

MOVED_POINTS: Final = 10.0
"""Points (hundredths of the whole) by which a share moves before it is said."""
_DEVIATIONS: Final = 3.0
"""A share of few messages moves by chance: it must have moved by so many standard deviations of the difference."""
_SHIFTS: Final = 5
_CAMPAIGN_SHIFTS: Final = 2000


@dataclass(frozen=True, slots=True)
class Region:
    """One region, all accounts together; over all hours where not said otherwise."""

    name: str
    sends: int
    share: float
    """Of the sends of all regions."""
    complaint_rate: Rate | None
    hard_bounce_rate: Rate | None
    delays: int
    blocks: int
    share_24h: float | None
    """In the last 24 hours there are; None: no region sent."""
    share_before: float | None
    """In the seven days before those."""


@dataclass(frozen=True, slots=True)
class Shift:
    """A share that moved, of all traffic or of a campaign's."""

    campaign: str
    """Empty: of all traffic."""
    configuration_set: str
    account: str
    """Empty: of all accounts."""
    region: str
    before: float
    now: float

    @property
    def points(self) -> float:
        """By how many."""
        return 100 * (self.now - self.before)


@dataclass(frozen=True, slots=True)
class Regions:
    """All there is to say."""

    regions: tuple[Region, ...]
    """The one that sends most first."""
    shifts: tuple[Shift, ...]
    """Of all traffic, then of campaigns; in each the largest first."""
    more_shifts: int
    """That are not listed."""


def regions(target: Target, points: float = MOVED_POINTS) -> Regions:
    """Ask ClickHouse.

    Args:
        target: where.
        points: a share that moved by less is not told.

    Raises:
        ClickHouseError: it does not answer.
    """
    rows = ask(
        target,
        "WITH (SELECT max(hour) FROM rates WHERE dimension = 'region' AND sends > 0 AND hour <= now()) AS newest"
        " SELECT value, sum(sends), sum(eligible), sum(complaints), sum(hard_bounces), sum(delays), sum(blocks),"
        " sumIf(sends, hour > newest - INTERVAL 24 HOUR AND hour <= newest),"
        " sumIf(sends, hour > newest - INTERVAL 8 DAY AND hour <= newest - INTERVAL 24 HOUR)"
        " FROM rates WHERE dimension = 'region' GROUP BY value ORDER BY 2 DESC, 1",
    )
    if len(rows) <= 1:
        return Regions(tuple(_regions(rows)), (), 0)
    found = tuple(_regions(rows))
    now, before = (sum(int(row[column]) for row in rows) for column in (7, 8))
    whole = [
        Shift("", "", "", each.name, each.share_before, each.share_24h)
        for each in found
        if each.share_24h is not None and each.share_before is not None
        if _moved(each.share_before, before, each.share_24h, now, points)
    ]
    every = sorted(whole, key=_largest) + sorted(_of_campaigns(target, points), key=_largest)
    return Regions(found, tuple(every[:_SHIFTS]), max(0, len(every) - _SHIFTS))


def render(found: Regions) -> list[str]:
    """Sections of a report; none for a single region."""
    if len(found.regions) <= 1:
        return []
    header = (
        "region",
        "sends",
        "share",
        "24 h",
        "7 d before",
        "complaint rate (95 %)",
        "hard-bounce rate (95 %)",
    )
    body = [
        (
            each.name,
            f"{each.sends:,}",
            _share(each.share),
            _share(each.share_24h),
            _share(each.share_before),
            shown(each.complaint_rate),
            shown(each.hard_bounce_rate),
            f"{each.delays:,}",
            f"{each.blocks:,}",
        )
        for each in found.regions
    ]
    sections = [table([(*header, "delays", "blocks"), *body])]
    if found.shifts:
        sections[-1] += "\n" + "\n".join(_sentence(each) for each in found.shifts)
    if found.more_shifts:
        sections[-1] += f"\nand {found.more_shifts:,} more (see the view region_shifts)"
    return sections


def _regions(rows: Sequence[Sequence[str]]) -> list[Region]:
    counts = np.array([[int(each) for each in row[1:]] for row in rows], dtype=np.int64).reshape(len(rows), 8)
    sends, eligible, complaints, hard, _, _, now, before = counts.T
    return [
        Region(
            name=str(row[0]),
            sends=int(numbers[0]),
            share=float(numbers[0] / max(1, sends.sum())),
            complaint_rate=complained,
            hard_bounce_rate=bounced,
            delays=int(numbers[4]),
            blocks=int(numbers[5]),
            share_24h=float(numbers[6] / now.sum()) if now.sum() else None,
            share_before=float(numbers[7] / before.sum()) if before.sum() else None,
        )
        for row, numbers, complained, bounced in zip(
            rows, counts, rates(complaints, eligible), rates(hard, sends), strict=True
        )
    ]


def _of_campaigns(target: Target, points: float) -> list[Shift]:
    rows = ask(
        target,
        "SELECT campaign, configuration_set, account, region, share_before, share_24h, all_before, all_24h"  # noqa: S608 - numbers
        f" FROM region_shifts WHERE abs(moved) >= {points / 100}"
        f" ORDER BY abs(moved) * all_24h DESC LIMIT {_CAMPAIGN_SHIFTS}",
    )
    return [
        Shift(campaign, configuration_set, account, region, before, now)
        for campaign, configuration_set, account, region, before, now, all_before, all_now in rows
        if _moved(before, int(all_before), now, int(all_now), points)
    ]


def _moved(before: float, all_before: int, now: float, all_now: int, points: float) -> bool:
    """Whether a share moved by so many points, and by more than chance would have it."""
    if not all_before or not all_now:
        return False
    pooled = (before * all_before + now * all_now) / (all_before + all_now)
    chance = sqrt(pooled * (1 - pooled) * (1 / all_before + 1 / all_now))
    return abs(now - before) >= max(points / 100, _DEVIATIONS * chance)


def _largest(shift: Shift) -> tuple[float, str, str]:
    return -round(abs(shift.points), 6), shift.campaign, shift.region


def _share(share: float | None) -> str:
    return "no data" if share is None else f"{share:.1%}"


def _sentence(shift: Shift) -> str:
    of = "all traffic"
    if shift.campaign:
        of = f"{shift.campaign} (configuration set {shift.configuration_set or 'none'}, account {shift.account})"
    return (
        f"moved: {shift.region} has {shift.now:.1%} of {of} in the last 24 h, {shift.before:.1%} in the 7 days before"
        f" ({shift.points:+.0f} points)"
    )
