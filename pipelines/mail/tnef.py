"""What is in a TNEF part, `winmail.dat` ([MS-OXTNEF]): files, and the body where the mail has no other.

Ours: the one library there is (tnefparse 1.4, of 2021) copies the rest of the data for each attribute, recurses into
messages within, and counts to what a length field says, up to four billion. Here each attribute is looked at once.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pipelines.mail import rtf
from pipelines.mail.body import file_name
from pipelines.mail.charsets import decode
from pipelines.mail.limits import TEXT_BYTES, MailRefused
from pipelines.mail.parsed import Part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.mail.policy import Limits

_TYPES: Final = frozenset({"application/ms-tnef", "application/vnd.ms-tnef"})
_FILE: Final = "winmail.dat"
_SIGNATURE: Final = b"\x78\x9f\x3e\x22"
_HEADER: Final = 6
_ATTRIBUTE: Final = struct.Struct("<BIIx")
_U32: Final = struct.Struct("<I")

_BODY: Final = 0x0002800C
_ATTACH_DATA: Final = 0x0006800F
_ATTACH_TITLE: Final = 0x00018010
_ATTACH_RENDERING: Final = 0x00069002
_MAPI_PROPERTIES: Final = 0x00069003
_ATTACHMENT: Final = 0x00069005
_CODEPAGE: Final = 0x00069007

_PR_BODY: Final = 0x1000
_PR_RTF_COMPRESSED: Final = 0x1009
_PR_HTML: Final = 0x1013
_PR_ATTACH_DATA: Final = 0x3701
_PR_ATTACH_FILENAME: Final = 0x3704
_PR_ATTACH_LONG_FILENAME: Final = 0x3707
_PR_ATTACH_MIME_TAG: Final = 0x370E
_PR_ATTACH_CONTENT_ID: Final = 0x3712
_PR_INTERNET_CODEPAGE: Final = 0x3FDE

_STRING: Final = 0x001E
_UNICODE: Final = 0x001F
_OBJECT: Final = 0x000D
_BINARY: Final = 0x0102
_SEVERAL: Final = 0x1000
_NAMED: Final = 0x8000
_VARIABLE: Final = frozenset({_STRING, _UNICODE, _OBJECT, _BINARY})
_WIDTHS: Final = {2: 4, 3: 4, 4: 4, 5: 8, 6: 8, 7: 8, 0xA: 4, 0xB: 4, 0x14: 8, 0x40: 8, 0x48: 16}
_INTERFACE: Final = 16
"""Bytes of the interface id that an object begins with."""


_ATTRIBUTES: Final = 20_000
"""Of a message, properties included: a real one has some hundred, and some for each file."""


class _DamagedError(Exception):
    """It ends, or goes on, where it should not."""


@dataclass(slots=True)
class _File:
    name: str = ""
    content_type: str = "application/octet-stream"
    content_id: str = ""
    content: memoryview = field(default_factory=lambda: memoryview(b""))


@dataclass(slots=True)
class _Message:
    codepage: str = "cp1252"
    left: int = _ATTRIBUTES
    text: str = ""
    html: bytes = b""
    rich: bytes = b""
    files: list[_File] = field(default_factory=list)

    def spend(self, count: int) -> None:
        """Refuse to go on for ever."""
        self.left -= count
        if self.left < 0:
            raise _DamagedError


def is_tnef(part: Part) -> bool:
    """Whether a part is TNEF, or should be."""
    return part.content_type in _TYPES or part.filename.lower() == _FILE


def opened(part: Part, limits: Limits, room: int) -> tuple[list[Part], list[str]]:
    """Its body and files as parts, and defects; `room` is how many parts there may be.

    Raises `MailRefused` for more parts, and for messages within messages beyond the limits.
    """
    defects: list[str] = []
    parts: list[Part] = []
    waiting = [(memoryview(part.content), 0)]
    while waiting:
        data, depth = waiting.pop()
        if depth > limits.depth:
            raise MailRefused(
                "nested_too_deep", f"Messages in its TNEF are nested more than {limits.depth} deep."
            )
        message, sound = _read(data, limits.parts)
        if not sound:
            defects.append("tnef_damaged")
        if depth == 0:
            parts += _body(message, part.depth + 1)
        for each in message.files:
            if bytes(each.content[:4]) == _SIGNATURE:
                waiting.append((each.content, depth + 1))
            else:
                parts.append(_part(each, part.depth + 1))
            if len(parts) + len(waiting) > room:
                raise MailRefused("too_many_parts", f"With its TNEF it has more than {limits.parts} parts.")
    return parts, defects


def _part(found: _File, depth: int) -> Part:
    return Part(
        content_type=found.content_type,
        disposition="attachment",
        filename=file_name(found.name),
        content_id=found.content_id,
        depth=depth,
        content=bytes(found.content),
    )


def _body(message: _Message, depth: int) -> list[Part]:
    """The best there is: text, else HTML, else RTF."""
    if message.text.strip():
        return [_text_part("text/plain", message.text, depth)]
    if message.html:
        text, _ = decode(message.html[:TEXT_BYTES], message.codepage)
        return [_text_part("text/html", text, depth)]
    text = rtf.text_of(rtf.inflated(message.rich, TEXT_BYTES)) if message.rich else ""
    return [_text_part("text/plain", text, depth)] if text.strip() else []


def _text_part(content_type: str, text: str, depth: int) -> Part:
    text = text[:TEXT_BYTES]
    return Part(content_type, {"charset": "utf-8"}, depth=depth, content=text.encode(), text=text)


def _read(data: memoryview, most: int) -> tuple[_Message, bool]:
    message = _Message()
    if bytes(data[:4]) != _SIGNATURE:
        return message, False
    try:
        for name, value in _attributes(data):
            message.spend(1)
            _take(message, name, value, most)
    except (_DamagedError, struct.error):
        return message, False
    return message, True


def _attributes(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    place = _HEADER
    while place + _ATTRIBUTE.size - 1 < len(data):
        name = _U32.unpack_from(data, place + 1)[0]
        length = _U32.unpack_from(data, place + 5)[0]
        start = place + 9
        if start + length > len(data):
            raise _DamagedError
        yield name, data[start : start + length]
        place = start + length + 2  # its checksum


def _take(message: _Message, name: int, value: memoryview, most: int) -> None:
    if name == _CODEPAGE and len(value) >= _U32.size:
        message.codepage = f"cp{_U32.unpack_from(value)[0]}"
    elif name == _BODY and not message.text:
        message.text = _narrow(value, message.codepage)
    elif name == _MAPI_PROPERTIES:
        _read_message(message, value)
    elif name == _ATTACH_RENDERING:
        if len(message.files) > most:
            raise MailRefused("too_many_parts", f"With its TNEF it has more than {most} parts.")
        message.files.append(_File())
    elif message.files:
        file = message.files[-1]
        if name == _ATTACH_DATA:
            file.content = value
        elif name == _ATTACH_TITLE:
            file.name = file.name or _narrow(value, message.codepage)
        elif name == _ATTACHMENT:
            _read_file(file, value, message)


def _read_message(message: _Message, value: memoryview) -> None:
    for name, kind, data in _properties(value, message):
        if name == _PR_INTERNET_CODEPAGE and len(data) >= _U32.size:
            message.codepage = f"cp{_U32.unpack_from(data)[0]}"
        elif name == _PR_BODY:
            message.text = _string(kind, data, message.codepage) or message.text
        elif name == _PR_HTML:
            message.html = bytes(data)
        elif name == _PR_RTF_COMPRESSED:
            message.rich = bytes(data)


def _read_file(file: _File, value: memoryview, message: _Message) -> None:
    short, codepage = "", message.codepage
    for name, kind, data in _properties(value, message):
        if name == _PR_ATTACH_DATA:
            file.content = data[_INTERFACE:] if kind == _OBJECT else data
        elif name == _PR_ATTACH_LONG_FILENAME:
            file.name = _string(kind, data, codepage) or file.name
        elif name == _PR_ATTACH_FILENAME:
            short = _string(kind, data, codepage)
        elif name == _PR_ATTACH_MIME_TAG:
            file.content_type = _string(kind, data, codepage).strip().lower() or file.content_type
        elif name == _PR_ATTACH_CONTENT_ID:
            file.content_id = _string(kind, data, codepage)
    file.name = file.name or short


def _properties(data: memoryview, message: _Message) -> Iterator[tuple[int, int, memoryview]]:
    """Id, type and value of each property; of one with several values the first."""
    count = _U32.unpack_from(data)[0]
    place = 4
    for _ in range(count):
        if place + 4 > len(data):
            raise _DamagedError
        kind, name = struct.unpack_from("<HH", data, place)
        place = _behind_name(data, place + 4) if name >= _NAMED else place + 4
        single = kind & ~_SEVERAL
        if single not in _VARIABLE and single not in _WIDTHS:
            raise _DamagedError
        values = 1
        if kind & _SEVERAL or single in _VARIABLE:
            values = _U32.unpack_from(data, place)[0]
            place += 4
        message.spend(1 + values)
        for number in range(values):
            if single in _VARIABLE:
                length = _U32.unpack_from(data, place)[0]
                place += 4
            else:
                length = _WIDTHS[single]
            if place + length > len(data):
                raise _DamagedError
            if number == 0:
                yield name, single, data[place : place + length]
            place += _padded(length)


def _behind_name(data: memoryview, place: int) -> int:
    kind, length = struct.unpack_from("<II", data, place + 16)
    return place + 24 + (_padded(length) if kind else 0)


def _padded(length: int) -> int:
    return (length + 3) & ~3


def _string(kind: int, data: memoryview, codepage: str) -> str:
    if kind == _UNICODE:
        return bytes(data[: 2 * TEXT_BYTES]).decode("utf-16-le", "replace").rstrip("\0")
    return _narrow(data, codepage)


def _narrow(data: memoryview, codepage: str) -> str:
    return decode(bytes(data[:TEXT_BYTES]).rstrip(b"\0"), codepage)[0].replace("\0", "")
