"""`repeats_repetition`: whether a regular expression may take for ever on a text that is made for it."""

from __future__ import annotations

import re
from typing import Final

_PART: Final = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(|\)|[*+]|\{\d*,\d*\}|\{\d+\}|.", re.DOTALL)
_BOUND: Final = re.compile(r"\{\d*,(\d+)\}")


def repeats_repetition(pattern: str) -> bool:
    """Whether a group that holds an unbounded repetition is itself repeated without bound, as in `(a+-?)+`.

    Python's engine tries every way to divide a text among the two: each further character doubles the time. Some such
    patterns are harmless (`(a+-)+`), and can be written without.
    """
    inside = [False]
    closed = False
    for part in _PART.findall(pattern):
        unbounded = part in "*+" or (part.startswith("{") and "," in part and not _BOUND.fullmatch(part))
        if unbounded and closed:
            return True
        if part == ")" and len(inside) > 1:
            closed = inside.pop()
            inside[-1] |= closed
            continue
        if part == "(":
            inside.append(False)
        inside[-1] |= unbounded
        closed = False
    return False
