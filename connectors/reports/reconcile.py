"""Which path lost what: the views `reconciliation` and `missing_events` (schemas/clickhouse) over a range of hours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from connectors.clickhouse.literals import text
from connectors.reports.figures import ask, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from connectors.clickhouse.sql import Target

DAYS: Final = 7
"""Of cohort hours that are compared where nothing else is asked for."""


@dataclass(frozen=True, slots=True)
class Range:
    """Cohort hours."""

    since: datetime
    """Inclusive."""
    until: datetime
    """Exclusive."""

    @property
    def sql(self) -> str:
        """A condition on the column `hour`."""
        return f"hour >= toDateTime({_seconds(self.since)}) AND hour < toDateTime({_seconds(self.until)})"

    @property
    def shown(self) -> str:
        """For people."""
        return f"cohort hours {self.since:%Y-%m-%d %H:%M} to {self.until:%Y-%m-%d %H:%M} UTC"


@dataclass(frozen=True, slots=True)
class Pair:
    """What `path` lacks of what `other` brought, over all hours and types."""

    path: str
    other: str
    both: int
    missing: int
    hours: int
    """In which something is missing."""

    @property
    def share(self) -> float:
        """Of what `other` brought."""
        return self.missing / max(1, self.both + self.missing)


@dataclass(frozen=True, slots=True)
class Gap:
    """What `path` lacks of the events of one hour, region and type that `other` brought."""

    hour: str
    path: str
    other: str
    event_type: str
    region: str
    both: int
    missing: int
    message_id: str
    """Of one that is missing, if any."""

    @property
    def share(self) -> float:
        """Of what `other` brought."""
        return self.missing / max(1, self.both + self.missing)


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """All there is to say of a range."""

    range: Range
    paths: tuple[tuple[str, int], ...]
    """By name, with the number of events that each brought."""
    pairs: tuple[Pair, ...]
    """Of paths that should bring the same, the largest share first."""
    gaps: tuple[Gap, ...]
    """The newest hour first."""
    more_gaps: int
    """That are not listed."""
    legacy_only: tuple[tuple[str, int], ...]
    """Event types and numbers: brought by legacy notifications alone, where event publishing brings the type too."""


def hours(target: Target, since: datetime | None, until: datetime | None) -> Range:
    """The range that is asked for: by default the last days there are.

    Raises:
        ClickHouseError: it does not answer.
    """
    if until is None:
        ((newest,),) = ask(
            target,
            "SELECT toUnixTimestamp(toStartOfHour(max(sent_time))) FROM event_rows WHERE sent_time <= now64(3)",
        )
        until = datetime.fromtimestamp(int(newest), UTC) + timedelta(hours=1)
    if since is None:
        since = until - timedelta(days=DAYS)
    return Range(since.replace(minute=0, second=0, microsecond=0), until)


def paths(target: Target) -> list[str]:
    """Every path by which an event ever came, by name.

    Raises:
        ClickHouseError: it does not answer.
    """
    return [name for (name,) in ask(target, "SELECT DISTINCT path FROM path_activity ORDER BY path")]


def reconcile(target: Target, asked: Range, path: str = "", limit: int = 50) -> Reconciliation:
    """Compare the paths.

    Args:
        target: where.
        asked: which cohort hours.
        path: only what this one misses; empty: what any does.
        limit: gaps listed at the most.

    Raises:
        ClickHouseError: it does not answer.
    """
    where = asked.sql + (f" AND path = {text(path)}" if path else "")
    # One pass over the events; the rows are as many as hours, types, regions and pairs.
    rows = ask(
        target,
        "SELECT toString(hour), path, other, event_type, region, sum(both), sum(missing) AS lost,"  # noqa: S608
        " arraySort(groupArrayArray(missing_message_ids))[1]"
        f" FROM reconciliation WHERE {where} GROUP BY hour, path, other, event_type, region"
        " ORDER BY hour DESC, lost DESC, path, other, event_type, region",
    )
    every = [_gap(row) for row in rows]
    gaps = [gap for gap in every if gap.missing]
    return Reconciliation(
        range=asked,
        paths=_paths(target, asked),
        pairs=tuple(sorted(_paired(every), key=lambda each: (-each.share, each.path, each.other))),
        gaps=tuple(gaps[:limit]),
        more_gaps=max(0, len(gaps) - limit),
        legacy_only=_legacy_only(target, asked),
    )


def agree(found: Reconciliation, tolerance: float) -> bool:
    """Whether no path lacks a greater share of what another brought."""
    return all(pair.share <= tolerance for pair in found.pairs)


def rows_sql(asked: Range) -> str:
    """Everything of the range: the rows of `reconciliation`."""
    return f"SELECT * FROM reconciliation WHERE {asked.sql} ORDER BY hour, path, other, event_type"  # noqa: S608


def missing_sql(asked: Range, path: str) -> str:
    """The events that a path lacks."""
    return (
        "SELECT event_id, event_type, message_id, event_time, sent_time, account, region, configuration_set, found"  # noqa: S608
        f" FROM missing_events WHERE {asked.sql} AND path = {text(path)} ORDER BY event_time, event_id"
    )


def render(found: Reconciliation) -> str:
    """As plain aligned text."""
    sections = [f"{found.range.shown}, without the last 20 minutes"]
    if len(found.paths) > 1:
        sections.append(table([("path", "events"), *((name, f"{count:,}") for name, count in found.paths)]))
    if found.pairs:
        sections.append(_pairs(found.pairs))
    else:
        sections.append(_nothing(found.paths))
    if found.gaps:
        sections.append(_gaps(found.gaps))
    if found.more_gaps:
        sections[-1] += f"\nand {found.more_gaps:,} more (see --limit and --from, or the view reconciliation)"
    sections += [
        f"{count:,} {kind} events came as legacy notifications alone: event publishing, which brings the type, missed"
        " them"
        for kind, count in found.legacy_only
    ]
    return "\n\n".join(sections) + "\n"


def _nothing(paths: Sequence[tuple[str, int]]) -> str:
    if not paths:
        return "no events: there is nothing to compare"
    if len(paths) == 1:
        ((name, count),) = paths
        return f"all {count:,} events came by {name} alone: there is nothing to compare"
    return "no two paths bring the same kind of event: there is nothing to compare"


def _pairs(pairs: Sequence[Pair]) -> str:
    header = ("path", "compared with", "both", "missing", "share", "hours")
    return table(
        [
            header,
            *(
                (
                    each.path,
                    each.other,
                    f"{each.both:,}",
                    f"{each.missing:,}",
                    _percent(each.share),
                    f"{each.hours:,}",
                )
                for each in pairs
            ),
        ]
    )


def _gaps(gaps: Sequence[Gap]) -> str:
    header = (
        "hour",
        "missed by",
        "found by",
        "type",
        "region",
        "both",
        "missing",
        "share",
        "such as message",
    )
    return table(
        [
            header,
            *(
                (
                    each.hour,
                    each.path,
                    each.other,
                    each.event_type,
                    each.region or "-",
                    f"{each.both:,}",
                    f"{each.missing:,}",
                    _percent(each.share),
                    each.message_id,
                )
                for each in gaps
            ),
        ]
    )


def _gap(row: Sequence[Any]) -> Gap:
    hour, path, other, event_type, region, both, missing, message_id = row
    return Gap(hour, path, other, event_type, region, int(both), int(missing), message_id)


def _paired(rows: Iterable[Gap]) -> Iterator[Pair]:
    by_pair: dict[tuple[str, str], list[Gap]] = {}
    for row in rows:
        by_pair.setdefault((row.path, row.other), []).append(row)
    for (path, other), found in by_pair.items():
        hours_missed = {each.hour for each in found if each.missing}
        yield Pair(
            path,
            other,
            sum(each.both for each in found),
            sum(each.missing for each in found),
            len(hours_missed),
        )


def _percent(share: float) -> str:
    return "0%" if not share else f"{share:.3%}"


def _paths(target: Target, asked: Range) -> tuple[tuple[str, int], ...]:
    rows = ask(
        target,
        "SELECT arrayJoin(paths) AS path, count() FROM (SELECT toStartOfHour(sent_time) AS hour, paths FROM events)"  # noqa: S608
        f" WHERE {asked.sql} GROUP BY path ORDER BY path",
    )
    return tuple((name, int(count)) for name, count in rows)


def _legacy_only(target: Target, asked: Range) -> tuple[tuple[str, int], ...]:
    rows = ask(
        target,
        "WITH found AS (SELECT account, region, event_type, countIf(origin = 'notification') AS legacy,"  # noqa: S608
        " countIf(origin = 'event') AS published FROM"
        " (SELECT *, toStartOfHour(sent_time) AS hour FROM events WHERE event_time < now() - INTERVAL 20 MINUTE)"
        f" WHERE {asked.sql} GROUP BY account, region, event_type)"
        " SELECT event_type, sum(legacy) AS number FROM found WHERE published > 0 AND legacy > 0"
        " GROUP BY event_type ORDER BY number DESC, event_type",
    )
    return tuple((kind, int(count)) for kind, count in rows)


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())
