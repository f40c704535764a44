"""Where the parts of a multipart begin and end (RFC 2046, section 5.1), found in the raw bytes.

By searching for the one delimiter, not by reading lines: a line costs Python more than a kilobyte costs the search.
An enclosing multipart is split before those within it, so a delimiter that is missing inside ends with it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_BREAKS: Final = frozenset(b"\r\n")
_BREAK: Final = re.compile(rb"\r{0,2}\n|\r")
_BLANK: Final = b" \t"
_FALSE: Final = 100
"""Lines that only look like a delimiter and cost a step of Python each: beyond, true ones are searched for."""
_LINE_ENDS: Final = (b"\n", b"\r")
_GUESS: Final = re.compile(
    rb"(?:^|(?<=[\r\n]))--([^\r\n]{1,200})\r?[\r\n]Content-[A-Za-z-]{1,40}[ \t]{0,9}:", re.IGNORECASE
)
_GUESS_WITHIN: Final = 64 * 1024


def parts_of(
    data: bytes, start: int, end: int, boundary: bytes, most: int
) -> tuple[list[tuple[int, int]], list[str]]:
    """Spans of the parts, at most `most` + 1 of them; and what is wrong with the delimiters, in a word each."""
    spans, closed = _split(data, start, end, boundary, most) if boundary else ([], False)
    defects: list[str] = []
    if not spans:
        guess = _guessed(data, start, end)
        spans, closed = _split(data, start, end, guess, most) if guess else ([], False)
        defects.append("boundary_guessed" if spans else "boundary_missing")
    if spans and not closed:
        defects.append("multipart_unclosed")
    return spans, defects


def _split(
    data: bytes, start: int, end: int, boundary: bytes, most: int
) -> tuple[list[tuple[int, int]], bool]:
    """Spans of the parts between delimiters, and whether the last one was closed."""
    spans: list[tuple[int, int]] = []
    opened = -1
    for found, behind, closing in _delimiters(data, start, end, b"--" + boundary):
        if opened >= 0:
            spans.append((opened, _before_break(data, opened, found)))
        if closing or len(spans) > most:
            return spans, closing
        opened = _behind_break(data, behind, end)
    if opened >= 0:
        spans.append((opened, end))
    return spans, False


def _delimiters(data: bytes, start: int, end: int, delimiter: bytes) -> Iterator[tuple[int, int, bool]]:
    """Where lines are delimiters, where these end, and whether they close."""
    position, false = start, 0
    while (found := data.find(delimiter, position, end)) >= 0:
        position = found + len(delimiter)
        closing = data.startswith(b"--", position, end)
        behind = _behind_blanks(data, position + 2 * closing, end)
        begins = found == start or data[found - 1] in _BREAKS
        if begins and (closing or behind >= end or data[behind] in _BREAKS):
            yield found, behind, closing
        else:  # in the middle of a line, or a longer boundary that begins like this one
            false += 1
            if false > _FALSE:
                yield from _searched(data, position, end, delimiter)
                return


def _searched(data: bytes, start: int, end: int, delimiter: bytes) -> Iterator[tuple[int, int, bool]]:
    """As `_delimiters`, for data that is full of what looks like them: only true ones cost a step."""
    needles = [before + delimiter + after for before in _LINE_ENDS for after in (*_LINE_ENDS, b"--")]
    nearest = [(place, needle) for needle in needles if (place := data.find(needle, start, end)) >= 0]
    while nearest:
        place, needle = min(nearest)
        closing = needle.endswith(b"--")
        yield place + 1, place + len(needle) - (not closing), closing
        nearest.remove((place, needle))
        if (further := data.find(needle, place + 1, end)) >= 0:
            nearest.append((further, needle))


def _guessed(data: bytes, start: int, end: int) -> bytes:
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
    match = _BREAK.match(data, position, end)
    return match.end() if match else min(position + 1, end)
