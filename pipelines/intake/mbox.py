"""Splits an mbox file into its mails, in bounded memory whatever their sizes.

RFC 4155 and the variants mboxo and mboxrd: each mail is behind a `From ` line and before an empty one; lines of a mail
that begin with `From ` behind any number of `>` have one `>` more. A line of a mail that nobody quoted (mboxcl2,
careless writers) is told from a `From ` line by what that holds: an address and a time.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pipelines.intake.sniffing import BOM

if TYPE_CHECKING:
    from collections.abc import Iterator

_LINE: Final = 64 * 1024
"""Bytes of a line beyond which it is handed on in pieces."""
_LONGEST: Final = 1000
"""Bytes of a `From ` line at the most."""
_CANDIDATE: Final = re.compile(rb"^From .*\n?", re.MULTILINE)
_QUOTED: Final = re.compile(rb"^>(>*From )", re.MULTILINE)
_BEHIND_EMPTY: Final = re.compile(rb"From (?:\S+\s*$|.*\d:\d\d.*\d{4})")
"""An address alone, or with a time somewhere: ctime, or what others make of it."""
_BEHIND_TEXT: Final = re.compile(
    rb"From \S+ +(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? +(?:[A-Z][a-z]{2} +\d\d?|\d\d? +[A-Z][a-z]{2}) .*\d:\d\d.*\d{4}"
)
"""An address and a whole date: writers that put no empty line before are rare."""


class MboxSplitter:
    """Feed it chunks; `finish` it at the end.

    It gives the offset in the stream of each mail's first byte, then the mail's bytes in pieces.
    """

    __slots__ = ("_base", "_begun", "_carry", "_held", "_inside")

    def __init__(self) -> None:
        self._carry = b""
        """The line that is not whole yet."""
        self._base = 0
        """Its offset in the stream."""
        self._inside = False
        """Whether that is only its rest: what was before has been handed on."""
        self._held = b""
        """An empty line behind all that was handed on: the mail's own, unless the mail ends there."""
        self._begun = False
        """Whether there was a mail."""

    def feed(self, chunk: bytes) -> Iterator[int | bytes]:
        """What this chunk adds."""
        end = chunk.rfind(b"\n") + 1
        if end:
            yield from self._lines(self._carry + chunk[:end])
            self._carry = chunk[end:]
        else:
            self._carry += chunk
        if len(self._carry) > _LINE:
            yield from self._beginning()

    def finish(self) -> Iterator[int | bytes]:
        """What the end of the stream adds."""
        carry, self._carry = self._carry, b""
        yield from self._lines(carry, final=True)

    def _lines(self, block: bytes, *, final: bool = False) -> Iterator[int | bytes]:
        """Whole lines, but that of the first only the rest may be there."""
        if not self._base and block.startswith(BOM):
            block, self._base = block.removeprefix(BOM), len(BOM)
        start = 0
        for match in _CANDIDATE.finditer(block):
            if not self._separates(block, start, match):
                continue
            yield from self._text(block[start : match.start()], ends=True)
            start = match.end()
            self._begun, self._inside = True, False
            yield self._base + start
        yield from self._text(block[start:], ends=final)
        self._inside = False
        self._base += len(block)

    def _separates(self, block: bytes, start: int, match: re.Match[bytes]) -> bool:
        """Whether a line that begins like one is a `From ` line; `start`: of what the same mail has in the block."""
        if len(match[0]) > _LONGEST or (self._inside and not match.start()):
            return False
        before = block[start : match.start()][-3:]
        if before:
            at_start = len(before) == match.start() - start
            empty = before.endswith((b"\n\n", b"\n\r\n")) or (
                at_start and not self._inside and before in (b"\n", b"\r\n")
            )
        else:
            empty = bool(self._held)
        return bool((_BEHIND_EMPTY if empty or not self._begun else _BEHIND_TEXT).match(match[0]))

    def _text(self, lines: bytes, *, ends: bool) -> Iterator[int | bytes]:
        """Hand on lines of a mail, without an empty one at their end."""
        if not self._begun:
            if not lines.strip():
                return
            self._begun = True
            yield self._base
        inside = self._inside and not self._held
        text, self._held = self._held + lines, b""
        for empty in (b"\r\n", b"\n"):
            if text.endswith(b"\n" + empty) or (text == empty and not inside):
                text = text[: -len(empty)]
                self._held = b"" if ends else empty
                break
        if text:
            yield _unquoted(text, inside=inside)

    def _beginning(self) -> Iterator[int | bytes]:
        """Hand on the beginning of a line that is too long to wait for."""
        carry, self._carry = self._carry, b""
        yield from self._text(carry, ends=False)
        self._base += len(carry)
        self._inside = True


def _unquoted(text: bytes, *, inside: bool) -> bytes:
    if b">From " not in text:
        return text
    first, newline, rest = text.partition(b"\n") if inside else (b"", b"", text)
    return first + newline + _QUOTED.sub(rb"\1", rest)
