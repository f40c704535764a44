"""Truth beside result, line by line."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
from rich.console import Console
from rich.table import Table

from connectors.cli.alarm_verdict import NO_DATA_SQL, TRANSITIONS_SQL, AlarmLine
from connectors.cli.alarm_verdict import lines as lines_of
from connectors.cli.mail_verdict import PUBLISHED, of_mail
from connectors.simulator.broken import TRUNCATED_GZIP
from connectors.simulator.truth import ALARMING, COUNTED
from pipelines.alarms.rules import defaults

if TYPE_CHECKING:
    from collections.abc import Iterator

    from connectors.clickhouse.sql import Target
    from connectors.simulator.truth import Truth

Cells = dict[tuple[str, int], Counter[str]]
"""(campaign, cohort hour in ms) to counters."""

_CAUSES: Final = {
    "cut off in the middle": "truncated_json",
    "not JSON": "not_json",
    "not UTF-8": "invalid_utf8",
    "without eventType": "not_an_ses_event",
    "without mail": "missing_field",
    "mail of the wrong type": "invalid_field",
    "time that is none": "invalid_timestamp",
    "an empty object": "empty_object",
    "nested ten thousand deep": "nested_too_deep",
    TRUNCATED_GZIP: "truncated_gzip",
}
"""What is wrong with a simulated record, and what the pipeline is to call it."""

_TYPES: Final = f"SELECT event_type, count() FROM events WHERE {PUBLISHED} GROUP BY 1"  # noqa: S608 - a constant


@dataclass(frozen=True, slots=True)
class Line:
    """One comparison."""

    what: str
    truth: str
    result: str

    @property
    def agrees(self) -> bool:
        """Whether they are the same."""
        return self.truth == self.result


@dataclass(frozen=True, slots=True)
class CampaignLine:
    """One campaign over all its hours."""

    name: str
    truth: Counter[str]
    result: Counter[str]
    rate: str
    """Complaint rate with its limits, as ClickHouse has it."""
    differences: tuple[str, ...]
    """Counters of cohort hours that are not the same: hour, counter, truth / result."""

    @property
    def hours_agree(self) -> bool:
        """Whether every counter of every cohort hour is the same."""
        return not self.differences


@dataclass(frozen=True, slots=True)
class Verdict:
    """All of them."""

    lines: tuple[Line, ...]
    campaigns: tuple[CampaignLine, ...]
    alarms: tuple[AlarmLine, ...]

    @property
    def agrees(self) -> bool:
        """Whether everything does."""
        return (
            all(line.agrees for line in self.lines)
            and all(each.hours_agree for each in self.campaigns)
            and all(each.agrees for each in self.alarms)
        )


def ask(target: Target | None, sql: str) -> list[list[Any]]:
    """Rows of a query."""
    from connectors.clickhouse.sql import run_sql

    if target is None:
        return []
    text = b"".join(run_sql(sql, "JSONCompactEachRow", target))
    settled = [msgspec.json.decode(line) for line in text.splitlines() if line]
    return [
        [int(each) if isinstance(each, str) and each.isdigit() else each for each in row] for row in settled
    ]


def compare(truth: Truth, target: Target | None, now_ms: int) -> Verdict:
    """Ask ClickHouse for everything that the truth knows, up to `now_ms`."""
    types = dict(ask(target, _TYPES))
    events = sum(types.values())
    causes = dict(ask(target, "SELECT cause, count() FROM dead_letters GROUP BY 1"))
    both = "SELECT count() FROM events WHERE has(paths, 'sns') AND has(paths, 'firehose')"
    ((twice,),) = ask(target, both)
    lines = [
        Line("events, each once", str(truth.events), str(events)),
        Line("of them by SNS and by Firehose", str(truth.events), str(twice)),
    ]
    lines += [
        Line(f"{name} events", str(truth.by_type[name]), str(types.get(name, 0)))
        for name in sorted({*truth.by_type, *types})
    ]
    regions = dict(ask(target, "SELECT value, sum(sends) FROM rates WHERE dimension = 'region' GROUP BY 1"))
    lines += [
        Line(f"sends from {name}", str(truth.sends[name]), str(regions.get(name, 0)))
        for name in sorted({*truth.sends, *regions})
    ]
    expected: Counter[str] = Counter()
    for kind, number in truth.broken.items():
        expected[_CAUSES[kind]] += number
    names = {cause: _kinds(cause) for cause in {*expected, *causes}}
    lines += [
        Line(f"rejected: {names[cause]} ({cause})", str(expected[cause]), str(causes.get(cause, 0)))
        for cause in sorted({*expected, *causes})
    ]
    lines.append(_keys(truth, target))
    lines += [Line(*each) for each in of_mail(truth, lambda sql: ask(target, sql))]
    return Verdict(tuple(lines), tuple(_campaigns(truth, target)), tuple(_alarms(truth, target, now_ms)))


def _alarms(truth: Truth, target: Target | None, now_ms: int) -> list[AlarmLine]:
    without = {name for (name,) in ask(target, NO_DATA_SQL)}
    return lines_of(truth, defaults().in_force, ask(target, TRANSITIONS_SQL), without, now_ms)


def _keys(truth: Truth, target: Target | None) -> Line:
    """The counters that alarms rest on, of every hour of every dimension."""
    counters = sorted(ALARMING)
    told = {
        (dimension, value, hour, name): number
        for (dimension, value), hours in truth.keys.items()
        for hour, cell in hours.items()
        for name, number in cell.items()
        if number
    }
    columns = ", ".join(counters)
    sql = (
        f"SELECT dimension, 'is ' || value, toUnixTimestamp(hour) * 1000, {columns} FROM rates"  # noqa: S608
        " WHERE dimension != 'outgoing_ip'"
    )
    found = {
        (dimension, value.removeprefix("is "), hour, name): number
        for dimension, value, hour, *numbers in ask(target, sql)
        for name, number in zip(counters, numbers, strict=True)
        if number
    }
    right = len(told.items() & found.items())
    many = len(told.keys() | found.keys())
    return Line("what alarms rest on, of every hour of every dimension", str(many), str(right))


def _kinds(cause: str) -> str:
    return (
        ", ".join(kind for kind, called in _CAUSES.items() if called == cause) or "nothing of the simulator's"
    )


def _campaigns(truth: Truth, target: Target | None) -> list[CampaignLine]:
    found: dict[tuple[str, int], Counter[str]] = {}
    columns = ", ".join(COUNTED)
    sql = f"SELECT value, toUnixTimestamp(hour) * 1000, {columns} FROM rates WHERE dimension = 'campaign'"  # noqa: S608
    for name, hour, *numbers in ask(target, sql):
        found[name, int(hour)] = Counter(dict(zip(COUNTED, numbers, strict=True)))
    rates = _rates(target)
    lines = []
    for name, expected in truth.campaigns().items():
        result: Counter[str] = Counter()
        for (campaign, _), cell in found.items():
            if campaign == name:
                result.update(cell)
        rate = rates.get(name, "no data")
        lines.append(
            CampaignLine(name, expected, result, rate, tuple(_differences(name, truth.cells, found)))
        )
    return lines


def _differences(name: str, truth: Cells, found: Cells) -> Iterator[str]:
    for hour in sorted({hour for campaign, hour in (*truth, *found) if campaign == name}):
        for counter in COUNTED:
            one, other = (cells.get((name, hour), Counter())[counter] for cells in (truth, found))
            if one != other:
                yield f"{datetime.fromtimestamp(hour / 1000, UTC):%d %b %H:%M} {counter} {one} / {other}"


def _rates(target: Target | None) -> dict[str, str]:
    from connectors.reports.report import report

    if target is None:
        return {}
    return {
        each.name: f"{rate.value:.2%} ({rate.low:.2%} to {rate.high:.2%})"
        for each in report(target).campaigns
        if (rate := each.complaint_rate) is not None
    }


def show(verdict: Verdict) -> None:
    """Print both, each line marked."""
    console = Console(width=None if Console().is_terminal else 160)
    table = Table(title="Campaigns: truth / result", title_justify="left")
    table.add_column("campaign")
    for name in ("sends", "deliveries", "eligible", "complaints", "hard bounces"):
        table.add_column(name, justify="right")
    table.add_column("complaint rate (95 %)", justify="right")
    table.add_column("every hour")
    for each in verdict.campaigns:
        cells = [
            f"{each.truth[name]:,} / {each.result[name]:,}"
            for name in ("sends", "deliveries", "eligible", "complaints", "hard_bounces")
        ]
        hours = "\n".join([_mark(agrees=each.hours_agree), *each.differences[:3]])
        table.add_row(each.name, *cells, each.rate, hours)
    console.print(table)
    console.print(_alarm_table(verdict.alarms))
    table = Table(title="Everything: truth / result", title_justify="left")
    table.add_column("what")
    table.add_column("truth", justify="right")
    table.add_column("result", justify="right")
    table.add_column("")
    for line in verdict.lines:
        table.add_row(line.what, line.truth, line.result, _mark(agrees=line.agrees))
    console.print(table)
    console.print("Truth and result agree." if verdict.agrees else "Truth and result DO NOT agree.")


def _alarm_table(lines: tuple[AlarmLine, ...]) -> Table:
    table = Table(title="Alarms: truth / result", title_justify="left")
    for name in ("alarm", "truth", "result", "since", "driver (of the excess)", ""):
        table.add_column(name, no_wrap=name == "alarm", min_width=1)
    for each in lines:
        name = f"{each.alarm_key}\n[dim]{each.told}[/]" if each.told else each.alarm_key
        mark = _mark(agrees=each.agrees)
        table.add_row(name, each.truth, each.result, each.first, each.driver, mark)
    return table


def _mark(*, agrees: bool) -> str:
    return "[green]✓[/]" if agrees else "[red]✗[/]"
