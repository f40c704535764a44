"""From the tables of a rules file to `Rule`s. What a table leaves out comes from the program's own rules."""

from __future__ import annotations

import re
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pipelines.alarms.rule import Rule, Source
from pipelines.alarms.rule_keys import (
    DRIFT,
    EVERY,
    LIMITED,
    LIMITS,
    NUMBERS,
    OPTIONS,
    OWN_DIMENSIONS,
    PIPELINE_VALUES,
    QUEUE,
    SECONDS,
    SHARE,
    keys_of,
)
from pipelines.alarms.rule_table import RulesError, Table, at, nearest
from pipelines.alarms.toml_lines import lines_of
from schemas.alarms import RATE_SIGNALS, SEVERITIES, SIGNALS, Severity
from schemas.counters import DIMENSIONS, is_dimension

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_SHARES: Final = tuple(signal for signal in RATE_SIGNALS if signal != DRIFT)


def read(
    tree: Mapping[str, Any], text: str, file: str, own: Mapping[str, Rule] | None
) -> tuple[list[Rule], dict[str, Source], set[str]]:
    """The rules of a file that are enabled, where they stand, and all names in it.

    Args:
        tree: the file, as TOML.
        text: the same, for its lines.
        file: its name.
        own: the program's own rules by name; None: these are read.

    Raises:
        RulesError: with the line.
    """
    lines = lines_of(text)
    for key in tree:
        if key != "rule":
            raise at(
                file,
                lines.get((key,), 1),
                f"there is no {key} here{nearest(key, ('rule', *EVERY))}: keys belong below a line [[rule]]",
            )
    tables = tree.get("rule", [])
    if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        raise at(file, lines.get(("rule",), 1), "each rule begins with a line [[rule]], in double brackets")
    found: list[Rule] = []
    sources: dict[str, Source] = {}
    named: dict[str, int] = {}
    for index, values in enumerate(tables):
        table = Table(file, lines, index, values)
        name, signal = _identity(table, own)
        if name in named:
            raise table.error(
                f"line {named[name]} has a rule of the name {name} already: give one of them another name",
                "name",
            )
        named[name] = table.line("name")
        rule = _rule(table, _base(name, signal, values.get("of"), own), name, signal)
        enabled = table.flag("enabled", default=True)
        if own is not None and enabled:
            _check_values(table, rule)
        if enabled:
            found.append(rule)
            sources[name] = Source(file, table.line(), {}) if own is None else _source(table)
    return found, sources, set(named)


def _identity(table: Table, own: Mapping[str, Rule] | None) -> tuple[str, str]:
    """Name and signal; either may be left out where the other says it."""
    name = table.text("name", "")
    known = own or {}
    signal = table.text("signal", known[name].signal if name in known else "")
    if not signal:
        raise _no_signal(table, name, known)
    if signal not in SIGNALS:
        raise table.error(
            f"there is no signal {signal}{nearest(signal, SIGNALS)}; there are {', '.join(SIGNALS)}", "signal"
        )
    name = name or signal
    if ":" in name:
        raise table.error(f"the name {name} has a colon, which separates the parts of an alarm's key", "name")
    if not _NAME.fullmatch(name):
        raise table.error("a name has up to 64 letters, digits, dots, hyphens and underscores", "name")
    return name, signal


def _no_signal(table: Table, name: str, known: Iterable[str]) -> RulesError:
    if name in SIGNALS:
        return table.error(f"a rule needs a signal: write signal = {name!r}", "name")
    if not name:
        return table.error(f"a rule needs a signal, one of {', '.join(SIGNALS)}")
    return table.error(
        f"there is no rule {name} of the program's own{nearest(name, known)}, so it needs a signal, one of"
        f" {', '.join(SIGNALS)}",
        "name",
    )


def _base(name: str, signal: str, of: Any, own: Mapping[str, Rule] | None) -> Rule:
    """What a rule is like where its table says nothing."""
    if own is None:
        return Rule(name, signal)
    same = own.get(name)
    if same is not None and same.signal == signal and of in (None, same.of):
        return same
    alike = [rule for rule in own.values() if rule.signal == signal]
    if signal == DRIFT and of:
        # A limit of complaints is none of bounces.
        alike = [rule for rule in alike if rule.of == of] or [replace(alike[0], notice=None)]
    return next(iter(alike), Rule(name, signal))


def _rule(table: Table, base: Rule, name: str, signal: str) -> Rule:
    _check_keys(table, signal)
    numbers = {key: table.number(key, getattr(base, _FIELDS.get(key, key)), NUMBERS[key]) for key in NUMBERS}
    rule = Rule(
        name=name,
        signal=signal,
        dimensions=_dimensions(table, base, signal),
        values=table.texts("values", base.values),
        except_values=table.texts("except", base.except_values),
        of=_of(table, base, signal),
        **_limits(table, base, signal),
        severity=_severity(table, base),
        mean_days=numbers["mean_days_between_false_pages"],
        fast_hours=int(numbers["fast_hours"]),
        slow_hours=int(numbers["slow_hours"]),
        quiet_hours=numbers["quiet_hours"],
        hold_hours=numbers["hold_hours"],
        options=MappingProxyType(_options(table, base, signal)),
    )
    _check_whole(table, rule)
    return rule


_FIELDS: Final = {"mean_days_between_false_pages": "mean_days"}


def _check_keys(table: Table, signal: str) -> None:
    allowed = keys_of(signal)
    for key in table.values:
        if key in allowed:
            continue
        if key in EVERY:
            raise table.error(f"{key} does nothing for {signal}: take it out", key)
        raise table.error(f"there is no key {key}{nearest(key, allowed)}", key)


def _dimensions(table: Table, base: Rule, signal: str) -> tuple[str, ...]:
    names = table.texts("dimensions", base.dimensions)
    if "dimensions" not in table.values:
        return (OWN_DIMENSIONS[signal],) if signal in OWN_DIMENSIONS else names
    if not names:
        raise table.error("dimensions is empty: name one, or set enabled = false", "dimensions")
    for name in names:
        place = table.element("dimensions", name)
        if not is_dimension(name):
            raise table.error(
                f"there is no dimension {name}{nearest(name, DIMENSIONS)}; there are"
                f" {', '.join(DIMENSIONS)}, and tag:NAME",
                *place,
            )
    return names


def _of(table: Table, base: Rule, signal: str) -> str:
    if signal != DRIFT:
        return ""
    of = table.text("of", base.of)
    if of not in _SHARES:
        raise table.error(
            f"of is the signal that drifts, one of {', '.join(_SHARES)}{nearest(of, _SHARES)}", "of"
        )
    return of


def _limits(table: Table, base: Rule, signal: str) -> dict[str, Any]:
    kind = SHARE if signal in RATE_SIGNALS else SECONDS
    found: dict[str, Any] = {key: table.limit(key, getattr(base, key), kind) for key in LIMITS}
    present = [(key, limit) for key, limit in found.items() if limit is not None]
    if not present and signal in LIMITED:
        raise table.error(f"a rule needs a limit: set {_one_of(signal)}, or enabled = false")
    for (less, low), (more, high) in pairwise(present):
        if low > high:
            key = more if more in table.values else less
            raise table.error(f"{less} ({low:g}) is above {more} ({high:g}): it has to be below", key)
    return found


def _one_of(signal: str) -> str:
    return "notice" if signal == DRIFT else "notice, warning or critical"


def _severity(table: Table, base: Rule) -> Severity:
    value = table.text("severity", base.severity)
    if value not in SEVERITIES:
        raise table.error(
            f"severity is one of {', '.join(SEVERITIES)}{nearest(value, SEVERITIES)}", "severity"
        )
    return value


def _options(table: Table, base: Rule, signal: str) -> dict[str, float]:
    kinds = OPTIONS.get(signal, {})
    missing = [key for key in kinds if key not in table.values and key not in base.options]
    if missing:
        raise table.error(f"{signal} needs {', '.join(missing)}")
    return {key: table.number(key, base.options.get(key, 0.0), kind) for key, kind in kinds.items()}


def _check_whole(table: Table, rule: Rule) -> None:
    """What no key alone can say."""
    if not rule.dimensions:
        raise table.error("a rule needs dimensions")
    if rule.fast_hours > rule.slow_hours:
        key = "fast_hours" if "fast_hours" in table.values else "slow_hours"
        raise table.error(
            f"fast_hours ({rule.fast_hours}) is more than slow_hours ({rule.slow_hours}): it has to be less",
            key,
        )


def _check_values(table: Table, rule: Rule) -> None:
    """A rule that is for nothing is a mistake; one of the program's own waits for values."""
    if rule.signal == "pipeline":
        _check_pipeline(table, "values", rule.values)
        _check_pipeline(table, "except", rule.except_values)
    if rule.values:
        return
    if "values" in table.values:
        raise table.error("values is empty: leave it out for all values, or set enabled = false", "values")
    raise table.error(f'{rule.signal} needs to know what it is for: set values, such as ["login-*"]')


def _check_pipeline(table: Table, key: str, patterns: Iterable[str]) -> None:
    """These values are known beforehand: a pattern that is none of them would watch nothing, or leave out nothing."""
    for pattern in patterns:
        if pattern.startswith((QUEUE, "*", "?", "[")) or fnmatchcase(f"{QUEUE}x", pattern):
            continue
        if not any(fnmatchcase(value, pattern) for value in PIPELINE_VALUES):
            raise table.error(
                f"there is no value {pattern} of pipeline{nearest(pattern, PIPELINE_VALUES)}; there are"
                f" {', '.join(PIPELINE_VALUES)} and {QUEUE}NAME",
                key,
            )


def _source(table: Table) -> Source:
    names = table.values.get("dimensions", [])
    return Source(
        file=table.file,
        line=table.line(),
        dimension_lines={name: table.line("dimensions", index) for index, name in enumerate(names)},
        slow_hours_line=table.line("slow_hours") if "slow_hours" in table.values else 0,
    )
