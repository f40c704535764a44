"""Text of RTF as bodies in TNEF are: compressed ([MS-OXRTFCP]), with or without HTML in it ([MS-OXRTFEX])."""

from __future__ import annotations

import re
import struct
from typing import Final

from pipelines.mail.charsets import decode

_HEADER: Final = struct.Struct("<IIII")
_COMPRESSED: Final = 0x75465A4C
_PLAIN: Final = 0x414C454D
_DICTIONARY: Final = (
    rb"{\rtf1\ansi\mac\deff0\deftab720{\fonttbl;}{\f0\fnil \froman \fswiss \fmodern \fscript \fdecor MS Sans Serif"
    rb"SymbolArialTimes New RomanCourier{\colortbl\red0\green0\blue0~\par \pard\plain\f0\fs20\b\i\u\tab\tx"
).replace(b"~", b"\r\n")
_WINDOW: Final = 4096
_TOKEN: Final = re.compile(
    rb"\\([a-zA-Z]{1,32})(-?\d{1,10})? ?|\\'([0-9a-fA-F]{2})|\\([^a-zA-Z'])|([{}])|([^\\{}\r\n]+)|[\r\n]+|\\"
)
_HIDDEN: Final = frozenset(
    {b"fonttbl", b"colortbl", b"stylesheet", b"info", b"pict", b"object", b"themedata"}
)
_BREAKS: Final = {b"par": "\n", b"line": "\n", b"sect": "\n", b"row": "\n", b"cell": "\t", b"tab": "\t"}
_DEEPEST: Final = 1000
"""Groups within groups: more are not counted apart."""


def inflated(data: bytes, most: int) -> bytes:
    """RTF of its compressed form, up to so many bytes; empty where it is damaged from the start."""
    if len(data) < _HEADER.size:
        return b""
    _, size, magic, _ = _HEADER.unpack_from(data)
    if magic == _PLAIN:
        return data[_HEADER.size : _HEADER.size + min(size, most)]
    if magic != _COMPRESSED:
        return b""
    return _inflate(data, min(size, most))


def _inflate(data: bytes, most: int) -> bytes:
    """LZ77 in a window of 4 KiB that begins with a dictionary; a control byte before each eight tokens."""
    output = bytearray(_DICTIONARY)
    preset = len(_DICTIONARY)
    place, end = _HEADER.size, len(data)
    while place < end and len(output) - preset < most:
        control = data[place]
        place += 1
        for bit in range(8):
            if place >= end:
                break
            if not control >> bit & 1:
                output.append(data[place])
                place += 1
                continue
            if place + 1 >= end:
                return bytes(output[preset:])
            token = data[place] << 8 | data[place + 1]
            place += 2
            # The window is a ring; what is written goes on from the dictionary's end.
            distance = (len(output) - (token >> 4)) % _WINDOW
            if distance == 0:
                return bytes(output[preset : preset + most])
            start = len(output) - distance
            for _ in range((token & 15) + 2):
                output.append(output[start] if start >= 0 else 0x20)
                start += 1
    return bytes(output[preset : preset + most])


def text_of(data: bytes) -> str:
    """What a person would read."""
    reader = _Reader()
    for match in _TOKEN.finditer(data):
        reader.take(match)
    reader.flush()
    return "".join(reader.output)


class _Reader:
    __slots__ = ("codepage", "hidden", "narrow", "output", "skip")

    def __init__(self) -> None:
        self.codepage = "cp1252"
        self.output: list[str] = []
        self.narrow = bytearray()
        """Characters of the code page, not yet decoded: one may take several bytes."""
        self.hidden = [False]
        """Of each open group, whether it is not for reading."""
        self.skip = False
        """Whether the next character only stands for one that was had as Unicode."""

    def take(self, token: re.Match[bytes]) -> None:
        """One token of `_TOKEN`."""
        word, number, code, symbol, brace, run = token.groups()
        if code is not None:
            if not self.hidden[-1] and not self.skip:
                self.narrow += bytes.fromhex(code.decode())
            self.skip = False
            return
        if self.narrow:
            self.flush()
        if brace is not None:
            self._group(brace)
        elif symbol == b"*" or word in _HIDDEN:
            self.hidden[-1] = True
        elif word == b"ansicpg" and number:
            self.codepage = f"cp{number.decode()}"
        elif not self.hidden[-1]:
            self._show(word, number, run or symbol or b"")

    def flush(self) -> None:
        """Decode what is gathered."""
        self.output.append(decode(bytes(self.narrow), self.codepage)[0])
        self.narrow.clear()

    def _group(self, brace: bytes) -> None:
        if brace == b"}" and len(self.hidden) > 1:
            self.hidden.pop()
        elif brace == b"{" and len(self.hidden) < _DEEPEST:
            self.hidden.append(self.hidden[-1])

    def _show(self, word: bytes, number: bytes, run: bytes) -> None:
        if word == b"u" and number:
            self.output.append(struct.pack("<H", int(number) & 0xFFFF).decode("utf-16-le", "replace"))
            self.skip = True
            return
        text = _BREAKS.get(word, "") if word else run.decode("latin-1")
        self.output.append(text[1:] if self.skip and not word else text)
        self.skip = self.skip and bool(word)
