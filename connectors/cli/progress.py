"""Progress of long work on standard error: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

from connectors.cli.context import notice

_LINE_EVERY_S: Final = 10.0


class Progress:
    """Use as a context; `at` is cheap enough to call for every step."""

    def __init__(self, title: str, total: int, unit: str) -> None:
        self._title = title
        self._total = total
        self._unit = unit
        self._bar: RichProgress | None = None
        self._task = TaskID(0)
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._bar = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn(self._unit),
                TextColumn("{task.fields[note]}"),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(self._title, total=self._total or None, note="")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def at(self, done: int, total: int | None = None, note: str = "") -> None:
        """Say how far it is.

        Args:
            done: in the unit.
            total: when it has become known, or changed.
            note: what else is of interest.
        """
        self._total = self._total if total is None else total
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=self._total or None, note=note)
            return
        if (now := time.monotonic()) - self._last >= _LINE_EVERY_S:
            self._last = now
            of = f" of {self._total}" if self._total else ""
            notice(f"{self._title}: {done}{of} {self._unit}{', ' + note if note else ''}")
