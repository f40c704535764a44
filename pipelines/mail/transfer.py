"""Transfer encodings undone (RFC 2045, section 6; uuencode of POSIX), as far as they can be.

`binascii` works on slices without copies, at some 300 MB/s; the `email` package decodes line by line through text.
"""

from __future__ import annotations

import binascii
import re
from typing import Final

from pipelines.mail.fields import base64_lenient

_UU_BEGIN: Final = re.compile(rb"(?:^|(?<=[\r\n]))begin [0-7]{3,4} ([^\r\n]{1,255})\r?\n")
_UU_END: Final = re.compile(rb"[\r\n]end[ \t]*(?=[\r\n]|$)")
_UU_LINE: Final = re.compile(rb"[^\r\n]+")
_LF: Final = re.compile(rb"\n")
_BARE_CR: Final = re.compile(rb"\r(?!\n)")
_QP_BLANKS: Final = re.compile(rb"=[ \t]+(?=\r?\n)")
_QP_BROKEN: Final = re.compile(rb"=(?![0-9A-Fa-f]{2}|[ \t]*[\r\n]|[ \t0-9A-Fa-f]?\Z)")
_IDENTITY: Final = frozenset({"", "7bit", "8bit", "binary"})
_UU: Final = frozenset({"x-uuencode", "uuencode", "uue", "x-uue"})
_LOOKED_AT: Final = 1024 * 1024
"""Bytes: damage is a hint, and not worth reading everything twice."""
_PIECES: Final = 1_000
_UU_FILES: Final = 100
"""In one text: each costs a search."""


def undone(data: memoryview, encoding: str) -> tuple[bytes, str]:
    """Bytes without their transfer encoding, and what was wrong with it (a word, or nothing)."""
    if encoding in _IDENTITY:
        return bytes(data), ""
    if encoding == "base64":
        return _base64(data)
    if encoding == "quoted-printable":
        defect = "qp_damaged" if _QP_BROKEN.search(data[:_LOOKED_AT]) else ""
        if _QP_BLANKS.search(data[:_LOOKED_AT]):
            data = memoryview(_QP_BLANKS.sub(b"=", data))  # at the ends of lines they were added on the way
        if _BARE_CR.search(data) and not _LF.search(data):
            return binascii.a2b_qp(bytes(data).replace(b"\r", b"\n")), defect  # it knows LF and CRLF
        return binascii.a2b_qp(data), defect
    if encoding in _UU:
        files = uu_files(bytes(data))
        return (files[0][1], "") if files else (bytes(data), "uuencode_damaged")
    return bytes(data), "transfer_encoding_unknown"


def _base64(data: memoryview) -> tuple[bytes, str]:
    try:
        plain = binascii.a2b_base64(data)
    except binascii.Error:
        return base64_lenient(bytes(data)), "base64_damaged"
    # The library stops at padding; what follows is another's trailer, or encoded piece by piece.
    expected = len(data) * 5 // 8
    if len(plain) < expected - 64:
        raw = bytes(data)
        padding = raw.find(b"=")
        if 0 <= padding < len(raw.rstrip(b"=\r\n \t")) - 1:
            return _pieces(raw), "base64_damaged"
    return plain, ""


def _pieces(raw: bytes) -> bytes:
    """Of base64 with padding in the middle: each stretch on its own, where there are a few."""
    if raw.count(b"=") > _PIECES:
        return base64_lenient(raw)
    return b"".join(base64_lenient(piece) for piece in re.split(rb"=+", raw) if piece.strip())


def uu_files(data: bytes) -> list[tuple[str, bytes]]:
    """Names and bytes of what is uuencoded in a text."""
    found: list[tuple[str, bytes]] = []
    position = 0
    for _ in range(_UU_FILES):
        begin = _UU_BEGIN.search(data, position)
        if begin is None:
            break
        end = _UU_END.search(data, begin.end() - 1)
        if end is None:
            break
        position = end.end()
        if content := _uu(data, begin.end(), end.start()):
            found.append((begin[1].decode("utf-8", "replace").strip(), content))
    return found


def _uu(data: bytes, start: int, end: int) -> bytes:
    output = bytearray()
    for match in _UU_LINE.finditer(data, start, end):
        line = match.group()
        try:
            output += binascii.a2b_uu(line)
        except binascii.Error:
            count = (((line[0] - 32) & 63) * 4 + 5) // 3  # encoders that pad wrongly: by its first character
            try:
                output += binascii.a2b_uu(line[:count])
            except binascii.Error:
                return b""
    return bytes(output)
