"""In which line of a TOML document each of its keys stands. tomllib tells lines of syntax errors only.

Only for documents that tomllib has read without error: nothing is checked again here.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from typing import Final

Path = tuple[str | int, ...]
"""Of a value: keys, and indexes within arrays, such as `("rule", 0, "warning")`."""

_BLANK: Final = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR: Final = re.compile(r"[^,\]}\n#]*")
_STRINGS: Final = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r'"""(?:\\.|[^\\])*?"""(?:"{0,2})',
        r"'''.*?'''(?:'{0,2})",
        r'"(?:\\.|[^"\\])*"',
        r"'[^']*'",
    )
)


def lines_of(text: str) -> dict[Path, int]:
    """Path of every table, key and element of an array to the number of its line, from 1."""
    return _Scanner(text).scan()


class _Scanner:
    """Walks through a document once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._lines: dict[Path, int] = {}
        self._tables: dict[Path, int] = {}
        """Number of tables so far in each array of tables."""

    def scan(self) -> dict[Path, int]:
        base: Path = ()
        self._skip()
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                base = self._header()
            else:
                self._pair(base)
            self._skip()
        return self._lines

    def _header(self) -> Path:
        line, array = self._line(), self._text.startswith("[[", self._at)
        self._at += 2 if array else 1
        *parents, last = self._keys()
        self._at += 2 if array else 1
        path: Path = ()
        for key in parents:
            path = self._into((*path, key))
            self._lines.setdefault(path, line)
        path = (*path, last)
        if array:
            self._lines.setdefault(path, line)
            self._tables[path] = self._tables.get(path, 0) + 1
            path = self._into(path)
        self._lines[path] = line
        return path

    def _into(self, path: Path) -> Path:
        """The last table of an array of tables; else the table itself."""
        return (*path, self._tables[path] - 1) if path in self._tables else path

    def _pair(self, base: Path) -> None:
        line = self._line()
        path = base
        for key in self._keys():
            path = (*path, key)
            self._lines.setdefault(path, line)
        self._at += 1
        self._skip()
        self._value(path)

    def _keys(self) -> list[str]:
        """A dotted key; ends before what follows it."""
        found = []
        while True:
            self._skip()
            if self._text[self._at] in "\"'":
                found.append(str(tomllib.loads(f"key = {self._string()}")["key"]))
            else:
                found.append(self._take(_BARE))
            self._skip()
            if self._text[self._at] != ".":
                return found
            self._at += 1

    def _value(self, path: Path) -> None:
        first = self._text[self._at]
        if first == "[":
            self._elements(path)
        elif first == "{":
            self._inline(path)
        elif first in "\"'":
            self._string()
        else:
            self._take(_SCALAR)

    def _elements(self, path: Path) -> None:
        index = 0
        self._at += 1
        self._skip()
        while self._text[self._at] != "]":
            self._lines[*path, index] = self._line()
            self._value((*path, index))
            index += 1
            self._separator()
        self._at += 1

    def _inline(self, path: Path) -> None:
        self._at += 1
        self._skip()
        while self._text[self._at] != "}":
            self._pair(path)
            self._separator()
        self._at += 1

    def _separator(self) -> None:
        self._skip()
        if self._text[self._at] == ",":
            self._at += 1
            self._skip()

    def _string(self) -> str:
        """Its text with quotes."""
        for pattern in _STRINGS:
            if pattern.match(self._text, self._at):
                return self._take(pattern)
        raise ValueError(f"no string in line {self._line()}")

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise ValueError(f"no TOML in line {self._line()}")
        self._at = match.end()
        return match[0]

    def _skip(self) -> None:
        """Blanks, line ends and comments."""
        self._take(_BLANK)

    def _line(self) -> int:
        return bisect_right(self._starts, self._at)
