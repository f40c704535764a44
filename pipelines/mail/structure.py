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
    rb"(?:^|(?<=[\r\n]))--([^\r\n]{1,200}?)[ \t]*\r?[\r\n]Content-[A-Za-z-]+[ \t]*:", re.I
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
        after = position
        closing = data.startswith(b"--", after, end)
        if closing:
            after += 2
        while after < end and data[after] in _BLANK:
            after += 1
        if after < end and data[after] not in _BREAKS:
            if not closing:
                continue  # a longer boundary that begins like this one
        if opened >= 0:
            spans.append((opened, max(opened, _before_break(data, found, opened))))
            if len(spans) > most:
                return spans, False
        if closing:
            return spans, True
        opened = _after_break(data, after, end)
        position = max(position, opened - 1)
    if opened >= 0:
        spans.append((opened, end))
    return spans, False


def guessed_boundary(data: bytes, start: int, end: int) -> bytes:
    """The boundary of a multipart that does not name the one it uses; empty where none is seen."""
    match = _GUESS.search(data, start, min(end, start + _GUESS_WITHIN))
    return match[1] if match else b""


def _before_break(data: bytes, found: int, opened: int) -> int:
    """The line break before a delimiter is the delimiter's."""
    if found - 1 >= opened and data[found - 1] in _BREAKS:
        found -= 1
        if data[found] == 0x0A and found - 1 >= opened and data[found - 1] == 0x0D:
            found -= 1
    return found


def _after_break(data: bytes, position: int, end: int) -> int:
    if data.startswith(b"\r\n", position, end):
        return position + 2
    return min(position + 1, end)
