"""`Rules`: what alarms are about, and when there is one; read from TOML. See docs/alarms.md for the file."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from fnmatch import translate
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pipelines.alarms.rule import Rule, Source
from pipelines.alarms.rule_keys import OWN_DIMENSIONS
from pipelines.alarms.rule_reading import read
from pipelines.alarms.rule_table import RulesError, at
from schemas.alarms import RATE_SIGNALS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["OWN", "Rule", "Rules", "RulesError", "Source", "defaults", "parse"]

OWN: Final = "defaults.toml"
"""The program's own rules, a file of this package."""
_MOST_CACHED: Final = 200_000
"""Values of a dimension whose rules are remembered; full, it starts afresh."""
_OF_EVENTS: Final = frozenset({"delivery_latency", *OWN_DIMENSIONS})
"""Signals that need no counters of their dimension."""


class _Plan:
    """The rules of a dimension; and of each value of it, once asked."""

    __slots__ = ("_cache", "_covering", "_rules")

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self._rules = rules
        unconditional = all(rule.values == ("*",) and not rule.except_values for rule in rules)
        self._covering = None if unconditional else [(rule, _matcher(rule)) for rule in rules]
        self._cache: dict[str, tuple[Rule, ...]] = {}

    def of(self, value: str) -> tuple[Rule, ...]:
        if self._covering is None:
            return self._rules
        found = self._cache.get(value)
        if found is None:
            if len(self._cache) >= _MOST_CACHED:
                self._cache.clear()
            found = tuple(rule for rule, covers in self._covering if covers(value))
            self._cache[value] = found
        return found


class Rules:
    """Rules in force; immutable. Equal when their rules are, wherever they were read."""

    __slots__ = ("_plans", "_sources", "by_name", "dimensions", "in_force", "surveyed")

    def __init__(self, in_force: Iterable[Rule], sources: Mapping[str, Source]) -> None:
        self.in_force: Final = tuple(in_force)
        self.by_name: Final[Mapping[str, Rule]] = MappingProxyType(
            {rule.name: rule for rule in self.in_force}
        )
        self.surveyed: Final = tuple(rule for rule in self.in_force if rule.signal not in RATE_SIGNALS)
        """Those of `schemas.alarms.SURVEYED_SIGNALS`."""
        of_rates = [rule for rule in self.in_force if rule.signal in RATE_SIGNALS]
        self.dimensions: Final = tuple(dict.fromkeys(name for rule in of_rates for name in rule.dimensions))
        """All that rules of rates look at."""
        self._plans = {
            name: _Plan(tuple(rule for rule in of_rates if name in rule.dimensions))
            for name in self.dimensions
        }
        self._sources = sources

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rules) and self.in_force == other.in_force

    def __hash__(self) -> int:
        return hash(self.in_force)

    def of(self, dimension: str, value: str) -> tuple[Rule, ...]:
        """The rules of rates that are for a value; fast, for it is asked for every key that is touched."""
        plan = self._plans.get(dimension)
        return plan.of(value) if plan is not None else ()

    def source(self, name: str) -> Source:
        """Where a rule in force stands."""
        return self._sources[name]

    def check(self, dimensions: Iterable[str], retention_days: int) -> Rules:
        """These rules, for what counters are kept (`counting.dimensions`, `counting.retention_days`).

        The program's own rules do without what is not kept, and so does what a rule has from them.

        Raises:
            RulesError: when a rule asks for more itself.
        """
        return self.check_dimensions(dimensions).check_hours(retention_days)

    def check_hours(self, retention_days: int) -> Rules:
        """As `check`, for hours alone."""
        most = 24 * retention_days
        found = []
        for rule in self.in_force:
            source = self._sources[rule.name]
            if rule.slow_hours > most and source.slow_hours_line:
                raise at(
                    source.file,
                    source.slow_hours_line,
                    f"slow_hours ({rule.slow_hours}) is more than counters are kept: at most {most} with"
                    f" counting.retention_days = {retention_days} in the settings",
                )
            slow = min(rule.slow_hours, most)
            found.append(replace(rule, slow_hours=slow, fast_hours=min(rule.fast_hours, slow)))
        return Rules(found, self._sources)

    def check_dimensions(self, configured: Iterable[str]) -> Rules:
        """As `check`, for dimensions alone."""
        counted = frozenset(configured)
        found = []
        for rule in self.in_force:
            missing = [name for name in rule.dimensions if name not in counted]
            if missing and rule.signal not in _OF_EVENTS:
                self._refuse_own(rule, missing)
                rest = tuple(name for name in rule.dimensions if name in counted)
                if rest:
                    found.append(replace(rule, dimensions=rest))
            else:
                found.append(rule)
        return Rules(found, self._sources)

    def _refuse_own(self, rule: Rule, missing: Iterable[str]) -> None:
        source = self._sources[rule.name]
        for name in missing:
            if name in source.dimension_lines:
                raise at(
                    source.file,
                    source.dimension_lines[name],
                    f"nothing is counted for the dimension {name}: add it to counting.dimensions of the settings,"
                    " or take it out here",
                )


def _matcher(rule: Rule) -> Callable[[str], bool]:
    """As `Rule.covers`, but compiled."""
    wanted = _any_of(rule.values)
    unwanted = _any_of(rule.except_values)
    return lambda value: wanted(value) is not None and unwanted(value) is None


def _any_of(patterns: tuple[str, ...]) -> Callable[[str], Any]:
    """No patterns match nothing."""
    text = "|".join(translate(pattern) for pattern in patterns) or r"(?!)"
    return re.compile(text).match


@cache
def defaults() -> Rules:
    """The program's own rules."""
    text = resources.files("pipelines.alarms").joinpath(OWN).read_text("utf-8")
    return _parse(text, OWN, None)


def parse(text: str, name: str) -> Rules:
    """The rules in force with a rules file: its own, then those of the program that it does not replace.

    Args:
        text: TOML.
        name: of the file, for errors.

    Raises:
        RulesError: with the line.
    """
    return _parse(text, name, defaults())


def _parse(text: str, name: str, own: Rules | None) -> Rules:
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax(str(error), text, name) from None
    found, sources, named = read(tree, text, name, own.by_name if own is not None else None)
    if own is not None:
        kept = [rule for rule in own.in_force if rule.name not in named]
        sources = {rule.name: own.source(rule.name) for rule in kept} | sources
        found = [*found, *kept]
    return Rules(found, sources)


_WHERE: Final = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


def _syntax(message: str, text: str, name: str) -> RulesError:
    """The message of tomllib, with its line where ours stand."""
    where = _WHERE.search(message)
    line = int(where[1]) if where and where[1] else text.rstrip().count("\n") + 1
    said = message[: where.start()] if where else message
    return at(name, line, f"this is no TOML: {said[:1].lower()}{said[1:]}")
