"""Decompression by what the bytes are, not by what they are called, in bounded memory whatever the ratio."""

from __future__ import annotations

import contextlib
import zlib
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAGIC: Final = b"\x1f\x8b"
"""Of a gzip member, RFC 1952 section 2.3.1."""
PIECE: Final = 256 * 1024
"""Decompressed bytes handed on at a time: a bomb of any ratio costs no more than this at once."""
_GZIP: Final = 16 + zlib.MAX_WBITS


@dataclass(frozen=True, slots=True)
class Damage:
    """Why a gzip stream could not be read to its end."""

    cause: Literal["truncated_gzip", "corrupt_gzip"]
    detail: str


class Gunzip:
    """Iterates over what chunks hold: gzip (RFC 1952, any number of members) decompressed, else as it is.

    It ends without an exception also where the stream is damaged: what was readable before has been given,
    and `damage` then says what is wrong. Zero bytes after the last member are padding, as gzip(1) has it.
    """

    def __init__(self, chunks: Iterable[bytes], piece: int = PIECE) -> None:
        self._chunks = iter(chunks)
        self._piece = piece
        self.damage: Damage | None = None
        """Set once iteration has ended early."""
        self.given = 0
        """Bytes given so far."""

    def __iter__(self) -> Iterator[bytes]:
        head = b""
        for chunk in self._chunks:
            head += chunk
            if len(head) >= len(MAGIC):
                break
        rest = chain((head,), self._chunks)
        for piece in self._members(rest) if head.startswith(MAGIC) else rest:
            if piece:
                self.given += len(piece)
                yield piece

    def _members(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        member: Any = zlib.decompressobj(_GZIP)
        for chunk in chunks:
            data = chunk
            while data:
                if member.eof:
                    data = data.lstrip(b"\0")
                    if not data:
                        break
                    if data[0] != MAGIC[0]:
                        self._corrupt("bytes that are not gzip follow the last member")
                        return
                    member = zlib.decompressobj(_GZIP)
                before = member.copy()
                try:
                    yield member.decompress(data, self._piece)
                except zlib.error as error:
                    yield _salvage(before, data)
                    self._corrupt(str(error))
                    return
                data = member.unused_data if member.eof else member.unconsumed_tail
        if not member.eof:
            yield member.flush()
            self.damage = Damage("truncated_gzip", f"the stream ends after {self.given} bytes of content")

    def _corrupt(self, reason: str) -> None:
        self.damage = Damage("corrupt_gzip", f"{reason}, after {self.given} bytes of content")


def _salvage(member: Any, data: bytes) -> bytes:
    """What decompresses of data that has an error in it: zlib gives none of what it had before the error."""
    pieces = []
    with contextlib.suppress(zlib.error):
        for position in range(len(data)):
            pieces.append(member.decompress(data[position : position + 1]))  # noqa: PERF401 - ends in the middle
    return b"".join(pieces)
