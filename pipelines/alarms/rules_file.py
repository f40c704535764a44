"""`RulesFile`: the rules in force, and a look whether their file has changed. The only I/O of this package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipelines.alarms.rules import Rules, RulesError, defaults, parse

if TYPE_CHECKING:
    from collections.abc import Iterable

_Stamp = tuple[int, int, int, int] | None
_MISSING: Final = None


@dataclass(frozen=True, slots=True)
class Changed:
    """Other rules are in force now."""

    rules: Rules
    sentence: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The file cannot be used: the rules that were in force stay so."""

    sentence: str


class RulesFile:
    """A rules file that may change at any time; for one thread."""

    def __init__(
        self,
        path: str | Path | None = None,
        dimensions: Iterable[str] | None = None,
        retention_days: int | None = None,
    ) -> None:
        """Read it.

        Args:
            path: of the file; None or empty: the program's own rules, which do not change.
            dimensions: `counting.dimensions`; None: rules are not held against them.
            retention_days: `counting.retention_days`; None likewise.

        Raises:
            RulesError: when it cannot be read, or is not valid.
        """
        self._path = Path(path) if path else None
        self._dimensions = None if dimensions is None else tuple(dimensions)
        self._retention_days = retention_days
        self._stamp = self._look()
        self.rules = self._read()
        """In force."""
        self.refused: str = ""
        """Why the file as it is now is not in force; empty: it is."""

    def look(self) -> Changed | Refused | None:
        """Read the file if it is another than at the last look; None when nothing comes of it.

        A file that is refused is told once, until it changes again.
        """
        if self._path is None:
            return None
        # Before reading: what is written meanwhile is seen at the next look.
        stamp = self._look()
        if stamp == self._stamp:
            return None
        self._stamp = stamp
        try:
            rules = self._read()
        except RulesError as error:
            self.refused = f"{error}; the rules read before stay in force"
            return Refused(self.refused)
        cured, self.refused = bool(self.refused), ""
        if rules == self.rules and not cured:
            return None
        self.rules = rules
        return Changed(rules, f"{self._path}: {len(rules.in_force)} alarm rules are in force now")

    def _look(self) -> _Stamp:
        """What another content would most likely change; a mounted ConfigMap's files are swapped as links."""
        if self._path is None:
            return _MISSING
        try:
            found = self._path.stat()
        except OSError:
            return _MISSING
        return found.st_mtime_ns, found.st_size, found.st_ino, found.st_ctime_ns

    def _read(self) -> Rules:
        rules = defaults() if self._path is None else parse(_text(self._path), str(self._path))
        if self._dimensions is not None:
            rules = rules.check_dimensions(self._dimensions)
        if self._retention_days is not None:
            rules = rules.check_hours(self._retention_days)
        return rules


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise RulesError(f"cannot read the alarm rules {path} ({reason}): check alarms.rules") from None
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise RulesError(f"{path}, line {line}: this is not UTF-8: save the file as UTF-8") from None
