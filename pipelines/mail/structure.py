"""Where the parts of a multipart begin and end (RFC 2046, section 5.1), found in the raw bytes.

By searching for the one delimiter, not by reading lines: a line costs Python more than a kilobyte costs the search.
An enclosing multipart is split before those within it, so a delimiter that is missing inside ends with it.
"""

from __future__ import annotations

import re
from typing import Final

_BREAKS: Final = frozenset(b"\r\n")
_BLANK: Final = b" \t"
_GUESS: Final = re.compile(
    rb"(?:^|(?<=[\r\n]))--([^\r\n]{1,200})\r?[\r\n]Content-[A-Za-z-]{1,40}[ \t]{0,9}:", re.IGNORECASE
)
_GUESS_WITHIN: Final = 64 * 1024


def split(
    data: bytes, start: int, end: int, boundary: bytes, most: int
) -> tuple[list[tuple[int, int]], bool]:
    """Spans of the parts between delimiters, and whether the last one was closed; at most `most` + 1 of them."""
    delimiter = b"--" + boundary
    spans: list[tuple[int, int]] = []
    opened = -1
    position = start
    while (found := data.find(delimiter, position, end)) >= 0:
        position = found + len(delimiter)
        if found > start and data[found - 1] not in _BREAKS:
            continue
        closing = data.startswith(b"--", position, end)
        behind = _behind_blanks(data, position + 2 * closing, end)
        if behind < end and data[behind] not in _BREAKS and not closing:
            continue  # a longer boundary that begins like this one
        if opened >= 0:
            spans.append((opened, _before_break(data, opened, found)))
        if closing or len(spans) > most:
            return spans, closing
        opened = _behind_break(data, behind, end)
        position = max(position, opened - 1)
    if opened >= 0:
        spans.append((opened, end))
    return spans, False


def guessed_boundary(data: bytes, start: int, end: int) -> bytes:
    """The boundary of a multipart that does not name the one it uses; empty where none is seen."""
    match = _GUESS.search(data, start, min(end, start + _GUESS_WITHIN))
    return match[1].rstrip() if match else b""


def _behind_blanks(data: bytes, position: int, end: int) -> int:
    while position < end and data[position] in _BLANK:
        position += 1
    return position


def _before_break(data: bytes, opened: int, found: int) -> int:
    """The line break before a delimiter is the delimiter's."""
    if data.endswith(b"\r\n", opened, found):
        return found - 2
    return max(opened, found - 1)


def _behind_break(data: bytes, position: int, end: int) -> int:
    return min(position + (2 if data.startswith(b"\r\n", position, end) else 1), end)
