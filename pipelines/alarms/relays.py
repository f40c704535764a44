"""Relays: mail that claims to have come through Mail Manager of an organisation that is not expected.

Anybody can write `X-MAIL-MANAGER-ORIGINATOR-ORG`, and name another organisation in each mail. So the busiest have
alarms of their own, up to a number, and all the others have one together. Nothing is tested: mails are counted.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from pipelines.alarms.reading import Reading
from schemas.counters import OTHER_VALUE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from pipelines.alarms.machine import Machine
    from schemas.alarms import Severity

HOUR_MS: Final = 3_600_000
NONE_NAMED: Final = "(none)"
"""Stands for the organisation of a field that is there and empty."""
MOST_OWN: Final = 20
"""Organisations that have an alarm of their own at a time."""
_NAME_CHARACTERS: Final = 100
_SHOWN: Final = 5
"""Of each kind of fact in the evidence; its query shows the rest."""


@dataclass(frozen=True, slots=True)
class Hour:
    """Mails of an hour."""

    begin: int
    """ms."""
    last: int
    """When the last of them was received, ms."""
    mails: int


@dataclass(frozen=True, slots=True)
class Originator:
    """An organisation that mails name, as its alarm has it."""

    name: str
    claimed: tuple[str, ...]
    """How mails write it, in lower case."""
    hours: tuple[Hour, ...]
    facts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Samples, by what they are of."""

    @property
    def mails(self) -> int:
        """All of them."""
        return sum(hour.mails for hour in self.hours)


@dataclass(frozen=True, slots=True)
class Limits:
    """What makes an alarm, from a rule."""

    severity: Severity
    mails: float
    hours: float
    """Within so many."""


def name_of(claimed: str) -> str:
    """An organisation as a value of alarms: one line that a terminal shows as it is, of bounded length."""
    line = " ".join(claimed.split()).lower()[:_NAME_CHARACTERS]
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in line) or NONE_NAMED


def gathered(found: Iterable[Originator], opened: Collection[str], most: int = MOST_OWN) -> list[Originator]:
    """Those that have an alarm of their own, and the others as one.

    Args:
        found: organisations; those of one name are one.
        opened: names with an open incident, which keep their alarm.
        most: so many alarms of their own, at least one for each open incident.
    """
    by_name: dict[str, list[Originator]] = {}
    for each in found:
        by_name.setdefault(each.name, []).append(each)
    whole = [_joined(name, parts) for name, parts in by_name.items()]
    whole.sort(key=lambda each: (each.name not in opened, -each.mails, each.name))
    at_least = sum(each.name in opened for each in whole)
    own = [each for each in whole if each.name != OTHER_VALUE][: max(most, at_least)]
    kept = {each.name for each in own}
    others = [each for each in whole if each.name not in kept]
    return [*own, _joined(OTHER_VALUE, others)] if others else own


def reading(originator: Originator, machine: Machine, limits: Limits, now: int) -> Reading:
    """What the state machine is told at `now` (ms); `rate` and `limit` are mails."""
    # Hours that began before an incident ended, or was reset, open no other.
    hours = [hour for hour in originator.hours if hour.begin >= machine.since * 1000]
    late = [hour for hour in hours if hour.last > now - limits.hours * HOUR_MS]
    mails = sum(hour.mails for hour in late)
    last = max((hour.last for hour in hours), default=0)
    return Reading(
        time=now,
        proven=limits.severity if mails >= limits.mails else None,
        relapsed=last > machine.clean_since * 1000,
        last_hit=min(last, now),
        rate=mails,
        limit=limits.mails,
        facts={
            **{name: list(values) for name, values in originator.facts.items()},
            "mails": mails,
            "summary": _summary(originator, mails, limits),
        },
    )


def _joined(name: str, parts: Collection[Originator]) -> Originator:
    hours: dict[int, Hour] = {}
    for hour in (hour for part in parts for hour in part.hours):
        known = hours.get(hour.begin, Hour(hour.begin, 0, 0))
        hours[hour.begin] = replace(known, last=max(known.last, hour.last), mails=known.mails + hour.mails)
    facts: dict[str, dict[str, None]] = {}
    for part in parts:
        for what, values in part.facts.items():
            facts.setdefault(what, {}).update(dict.fromkeys(values))
    return Originator(
        name,
        tuple(dict.fromkeys(claimed for part in parts for claimed in part.claimed)),
        tuple(hours[begin] for begin in sorted(hours)),
        {what: tuple(values)[:_SHOWN] for what, values in facts.items()},
    )


def _summary(originator: Originator, mails: int, limits: Limits) -> str:
    who = {
        OTHER_VALUE: f"{len(originator.claimed):,} other organisations",
        NONE_NAMED: "an organisation that is not named",
    }.get(originator.name, originator.name)
    number = "1 mail" if mails == 1 else f"{mails:,} mails"
    return (
        f"{number} within {limits.hours:,.0f} h said to have come through Mail Manager of {who}, which"
        " inbound.expected_originators does not have: add it there if it relays to you; else do not trust what such"
        " mail says of its sender, for anybody can write X-MAIL-MANAGER-ORIGINATOR-ORG"
    )
