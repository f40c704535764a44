"""The migrations of ClickHouse: `NNN_*.sql`, applied in order, none ever changed once released."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources
from typing import Final

_FILE: Final = re.compile(r"\d{3}_\w+\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    """One file."""

    name: str
    """Its name, such as `001_event_rows.sql`."""
    text: str


def migrations() -> tuple[Migration, ...]:
    """Every migration, in the order in which they are applied."""
    folder = resources.files(__name__)
    names = sorted(entry.name for entry in folder.iterdir() if _FILE.fullmatch(entry.name))
    return tuple(Migration(name, (folder / name).read_text("utf-8")) for name in names)
