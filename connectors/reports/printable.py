"""Text of strangers on a terminal."""

from __future__ import annotations


def printable(value: str) -> str:
    """What a stranger wrote, without what a terminal would obey."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in value)


def printable_lines(text: str) -> str:
    """The same of a text that we have laid out in lines."""
    return "\n".join(printable(line) for line in text.split("\n"))
