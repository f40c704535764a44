"""What `report` says of identifiers that spoil its figures.

Over the Sends of the last days: first how many values each field has; then the values themselves, of which a share
is taken where there are very many. The share goes by the value, in whatever spelling, so that what is in it is whole.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from connectors.clickhouse import literals
from connectors.reports.figures import ask
from pipelines.lint.identifiers import Field, Finding, Use, lint, summary

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from connectors.clickhouse.sql import Target

DAYS: Final = 7
_MOST_VALUES: Final = 20_000
"""Of a field, looked at one by one; of more, a share."""
_WIDTH: Final = 100
_SPELLING: Final = "lower(translate(value, '_ .:/', '-----'))"
"""What the usual spellings of one value have in common."""

_OURS: Final = " HAVING value != concat(any(region), '.', any(account))"
"""Where no header showed it, `feedback_c` is of our own making."""


@dataclass(frozen=True, slots=True)
class Lint:
    """What was found in the last days."""

    days: int
    findings: tuple[Finding, ...]


def lint_of(target: Target, tags: Sequence[str] = (), days: int = DAYS) -> Lint:
    """Ask ClickHouse.

    Args:
        target: where.
        tags: message tags that are dimensions.
        days: behind the newest event that is not of the future.

    Raises:
        ClickHouseError: it does not answer.
    """
    ((newest,),) = ask(target, "SELECT toUnixTimestamp64Milli(maxIf(sent_time, NOT future)) FROM event_rows")
    columns = _columns(tags)
    window = f"sent_time > fromUnixTimestamp64Milli({int(newest):d}) - INTERVAL {days:d} DAY AND NOT future"
    fields: list[Field] = []
    uses: list[Use] = []
    # A sender may have chosen not to publish Sends; of Deliveries a message may have several.
    for kind in ("Send", "Delivery"):
        where = f"event_type = '{kind}' AND {window}"
        if shares := _shares(target, columns, where):
            found = _uses(target, {name: columns[name] for name in shares}, where, shares)
            fields = [summary(name, found[name], shares[name]) for name in shares if name in found]
            uses = [use for each in found.values() for use, _ in each]
            break
    return Lint(days, tuple(lint(fields, uses)))


def render(found: Lint) -> str:
    """The findings as plain text; empty where there is none."""
    if not found.findings:
        return ""
    heading = f"Identifiers that spoil rates (last {found.days} days)"
    return "\n".join([heading, *(_item(each) for each in found.findings)]) + "\n"


def _item(finding: Finding) -> str:
    lines = [f"{finding.what}; {finding.todo}"]
    if finding.examples:
        # Values are a sender's: what a terminal would act on is shown, not sent to it.
        lines.append(
            f"such as {', '.join(each if each.isprintable() else ascii(each) for each in finding.examples)}"
        )
    return "\n".join(
        textwrap.fill(line, _WIDTH, initial_indent=lead, subsequent_indent="  ", break_long_words=False)
        for line, lead in zip(lines, ("- ", "  "), strict=False)
    )


def _columns(tags: Sequence[str]) -> Mapping[str, str]:
    """The SQL of each field's value, as text."""
    columns = {name: name for name in ("feedback_a", "feedback_b", "feedback_c")}
    return columns | {
        f"tag:{tag}": f"tags.values[indexOf(tags.name, {literals.text(tag)})][1]" for tag in tags
    }


def _shares(target: Target, columns: Mapping[str, str], where: str) -> dict[str, int]:
    """Of each field that is in use: one in how many values is looked at."""
    counts = ", ".join(
        f"uniqCombinedIf({column} AS v{n}, v{n} != '')" for n, column in enumerate(columns.values())
    )
    ((*values,),) = ask(target, f"SELECT {counts} FROM event_rows WHERE {where}")  # noqa: S608
    found = zip(columns, values, strict=True)
    return {name: -(-int(count) // _MOST_VALUES) for name, count in found if int(count)}


def _uses(
    target: Target, columns: Mapping[str, str], where: str, shares: Mapping[str, int]
) -> dict[str, list[tuple[Use, bool]]]:
    """Values of each field, and whether one message alone has them.

    Copies of an event that are not merged yet are of one id: a single message stays one, and `messages` is about.
    """
    every = " UNION ALL ".join(_values(name, column, where, shares[name]) for name, column in columns.items())
    found: dict[str, list[tuple[Use, bool]]] = {}
    for name, value, messages, single in ask(target, every):
        found.setdefault(name, []).append((Use(name, value, int(messages)), bool(single)))
    return found


def _values(name: str, column: str, where: str, share: int) -> str:
    sampled = f" AND cityHash64({_SPELLING}) % {share:d} = 0" if share > 1 else ""
    return (
        f"SELECT {literals.text(name)}, toString({column} AS value), count(), min(event_id) = max(event_id)"  # noqa: S608
        f" FROM event_rows WHERE {where} AND value != ''{sampled}"
        f" GROUP BY value{_OURS if name == 'feedback_c' else ''}"
    )
