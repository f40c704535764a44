"""`Table`: one `[[rule]]` of a rules file, whose values are told with the line where they stand when they are wrong."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pipelines.alarms.rule_keys import Number
    from pipelines.alarms.toml_lines import Path


class RulesError(ValueError):
    """One sentence that says which line of which file is wrong, and what to do."""


@dataclass(frozen=True, slots=True)
class Table:
    """Values of a rule, and where they stand."""

    file: str
    lines: Mapping[Path, int]
    index: int
    """Of the table in the array `rule`."""
    values: Mapping[str, Any]

    def line(self, *path: str | int) -> int:
        """Where a key, or an element of its array, stands; else where the table begins."""
        here: Path = ("rule", self.index, *path)
        while here not in self.lines and here:
            here = here[:-1]
        return self.lines.get(here, 1)

    def error(self, sentence: str, *path: str | int) -> RulesError:
        """An error about a key, or an element of its array."""
        return at(self.file, self.line(*path), sentence)

    def text(self, key: str, default: str) -> str:
        """A text that is not empty.

        Raises:
            RulesError: when it is none; so do all that follow.
        """
        value = self.values.get(key, default)
        if not isinstance(value, str):
            raise self.error(f'{key} is text: write {key} = "…"', key)
        if key in self.values and not value.strip():
            raise self.error(f"{key} is empty: give it a value, or leave it out", key)
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """True or false."""
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise self.error(f"{key} is true or false, without quotes", key)
        return value

    def number(self, key: str, default: float, kind: Number) -> float:
        """A number of a kind."""
        return self._number(self.values.get(key, default), kind, key)

    def limit(self, key: str, default: float | None, kind: Number) -> float | None:
        """A number of a kind, or `false` for none."""
        value = self.values.get(key, default)
        return None if value is None or value is False else self._number(value, kind, key)

    def _number(self, value: Any, kind: Number, key: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(f"{key} is {kind}, without quotes", key)
        if not isfinite(value) or not kind.takes(value):
            raise self.error(f"{key} is {kind}, not {value:g}", key)
        return float(value)

    def texts(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """A list of texts, each once."""
        values = self.values.get(key)
        if values is None:
            return default
        if not isinstance(values, list):
            raise self.error(f'{key} is a list: write {key} = ["…", "…"]', key)
        for index, value in enumerate(values):
            if not isinstance(value, str):
                raise self.error(f"{key} is a list of texts: put each in quotes", key, index)
            if not value:
                raise self.error(f"{key} has an empty text: take it out", key, index)
        return tuple(dict.fromkeys(values))

    def element(self, key: str, value: str) -> tuple[str, int]:
        """The path of an element of a list."""
        return key, self.values[key].index(value)


def at(file: str, line: int, sentence: str) -> RulesError:
    """An error about a line."""
    return RulesError(f"{file}, line {line}: {sentence}")


def nearest(name: str, known: Iterable[str]) -> str:
    """` (did you mean X?)`, or nothing when nothing is like it."""
    found = get_close_matches(name, [each for each in known if each != name], n=1, cutoff=0.6)
    return f" (did you mean {found[0]}?)" if found else ""
