"""Text and tuples as ClickHouse SQL writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_ESCAPES: Final = str.maketrans({"\\": "\\\\", "'": "\\'", "\0": "\\0"})
"""ClickHouse takes any other character as it stands. NUL would end the SQL where it passes through C."""


def text(value: str) -> str:
    """A string literal."""
    return f"'{value.translate(_ESCAPES)}'"


def tuples(rows: Iterable[tuple[str | int, ...]]) -> str:
    """Tuples of text and numbers, separated by commas, as the right side of `IN` has them."""
    return ", ".join(
        f"({', '.join(text(each) if isinstance(each, str) else str(int(each)) for each in row)})"
        for row in rows
    )
