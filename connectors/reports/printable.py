"""Text of strangers on a terminal."""

from __future__ import annotations


def printable(value: str) -> str:
    """What a stranger wrote, without what a terminal would obey."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in value)
