"""A message taken apart: `parse`.

The structure is found in the raw bytes, iteratively, and each leaf is decoded once: the `email` package reads line by
line, recurses into parts, and holds several copies of a mail.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pipelines.mail import body, fields, structure, tnef, transfer
from pipelines.mail.charsets import decode
from pipelines.mail.entity import Entity, headers_of
from pipelines.mail.limits import DEFECTS, TEXT_BYTES, TEXTS_BYTES, MailRefused
from pipelines.mail.parsed import Headers, ParsedMail, Part
from pipelines.mail.policy import Limits

if TYPE_CHECKING:
    import mmap

    from pipelines.mail.fields import HeaderBlock

_MESSAGES: Final = frozenset(
    {"message/rfc822", "message/global", "message/news", "text/rfc822-headers", "message/global-headers"}
)
_SPLIT_ENCODINGS: Final = frozenset({"base64", "quoted-printable"})
_COPIED_NESTING: Final = 1
"""Bytes of messages in the message itself, and in a journaled one, are kept; deeper ones only taken apart."""
_DEEP_CONTENT: Final = 1024 * 1024
"""Bytes of a part that nobody keeps, being deeper still."""
_BEGINNING: Final = 64 * 1024
_GENEROUS: Final = Limits(headers=_BEGINNING, header_bytes=_BEGINNING)
_LEADING: Final = re.compile(rb"(?:\xef\xbb\xbf)?[\r\n \t\0]*")
_SCANS: Final = 8
"""Times the most bytes a mail may have: a large one is not nested as deep as a small one may be."""
_HEADERS: Final = 4
"""Times the most bytes of a header: those of all parts."""
_FIELDS: Final = 10
"""Times the most header fields of a part: those of all parts."""


@dataclass(slots=True)
class _Section:
    """Something with a header: a message, or a part."""

    data: bytes
    start: int
    end: int
    depth: int
    owner: ParsedMail
    nesting: int
    """Messages around it."""
    root: bool = False
    """The message itself."""
    usual_type: str = "text/plain"


@dataclass(slots=True)
class _Walk:
    limits: Limits
    parts: int = 0
    fields: int = 0
    header_bytes: int = 0
    scanned: int = 0
    """Bytes that were searched for boundaries."""
    texts_left: int = TEXTS_BYTES
    stack: list[_Section] = field(default_factory=list)
    messages: list[ParsedMail] = field(default_factory=list)

    def count(self, parts: int) -> None:
        """Parts more, if there may be."""
        self.parts += parts
        if self.parts > self.limits.parts:
            raise MailRefused("too_many_parts", f"It has more than {self.limits.parts} parts.")


def parse(raw: bytes | mmap.mmap, limits: Limits) -> ParsedMail:
    """Take a message apart.

    Raises `MailRefused` for what is no mail (`empty_mail`, `not_a_mail`) and beyond the limits (`too_large`,
    `too_many_parts`, `nested_too_deep`, `too_many_headers`, `too_many_header_bytes`).
    """
    if len(raw) > limits.size:
        raise MailRefused("too_large", f"It has more than the {limits.size} bytes that are read at the most.")
    data = raw if isinstance(raw, bytes) else bytes(raw)
    start = leading(data)
    if start == len(data):
        raise MailRefused("empty_mail", "It is empty.")
    mail = _blank(len(data))
    walk = _Walk(limits)
    walk.messages.append(mail)
    walk.stack.append(_Section(data, start, len(data), 0, mail, 0, root=True))
    while walk.stack:
        _take(walk, walk.stack.pop())
    for each in walk.messages:
        each.text = body.reading_text(each.parts)
        del each.defects[DEFECTS:]
    return mail


def headers_of_beginning(raw: bytes | mmap.mmap) -> Headers:
    """What header fields can be had of a mail that is not taken apart."""
    data = bytes(raw[:_BEGINNING])
    if len(raw) > _BEGINNING:
        data = data[: max(data.rfind(b"\n"), data.rfind(b"\r")) + 1]
    return headers_of(fields.header_block(data, leading(data), len(data), _GENEROUS), data)


def leading(data: bytes) -> int:
    """Where the first header field begins: behind a byte order mark and empty lines."""
    match = _LEADING.match(data)
    return match.end() if match else 0


def _blank(size: int) -> ParsedMail:
    return ParsedMail(headers=Headers(), content_type="text/plain", parameters={}, size=size)


def _flag(mail: ParsedMail, *words: str) -> None:
    for word in words:
        if word and word not in mail.defects:
            mail.defects.append(word)


def _take(walk: _Walk, section: _Section) -> None:
    """One section: a multipart is split, a message opened, a leaf decoded."""
    limits, owner = walk.limits, section.owner
    block = fields.header_block(section.data, section.start, section.end, limits)
    _flag(owner, *block.defects)
    walk.header_bytes += min(block.end - section.start, limits.header_bytes)
    if walk.header_bytes > limits.header_bytes * _HEADERS:
        detail = f"Its parts have more than {limits.header_bytes * _HEADERS} bytes of header."
        raise MailRefused("too_many_header_bytes", detail)
    walk.fields += len(block.fields)
    if walk.fields > limits.headers * _FIELDS:
        raise MailRefused(
            "too_many_headers", f"Its parts have more than {limits.headers * _FIELDS} header fields."
        )
    if section.root:
        if not block.fields and section.nesting == 0:
            raise MailRefused("not_a_mail", "It does not begin with header fields.")
        owner.headers = headers_of(block, section.data)
        if block.eight_bits:
            _flag(owner, "header_8bit")
    entity = Entity(block, section.usual_type)
    _flag(owner, entity.defect)
    if section.root:
        owner.content_type, owner.parameters = entity.content_type, entity.parameters
    if entity.content_type.startswith("multipart/") and _split(walk, section, block, entity):
        return
    if entity.content_type.startswith("multipart/"):
        entity.content_type = "text/plain"
    _leaf(walk, section, block, entity)


def _split(walk: _Walk, section: _Section, block: HeaderBlock, entity: Entity) -> bool:
    """Put the parts of a multipart on the stack; False where there are none to be found."""
    walk.scanned += section.end - block.end
    if walk.scanned > walk.limits.size * _SCANS:
        raise MailRefused("nested_too_deep", "For as large as it is, its parts are nested too deep.")
    data, owner = section.data, section.owner
    room = walk.limits.parts - walk.parts
    spans, defects = structure.parts_of(data, block.end, section.end, entity.boundary, room)
    if "boundary_missing" in defects and entity.encoding in _SPLIT_ENCODINGS:
        data, _ = transfer.undone(memoryview(data)[block.end : section.end], entity.encoding)
        spans, defects = structure.parts_of(data, 0, len(data), entity.boundary, room)
        _flag(owner, "multipart_encoded")
    _flag(owner, *defects)
    if not spans:
        return False
    walk.count(len(spans))
    _deeper(walk, section)
    usual = "message/rfc822" if entity.content_type == "multipart/digest" else "text/plain"
    for start, end in reversed(spans):
        walk.stack.append(
            _Section(data, start, end, section.depth + 1, owner, section.nesting, usual_type=usual)
        )
    return True


def _deeper(walk: _Walk, section: _Section) -> None:
    if section.depth >= walk.limits.depth:
        raise MailRefused("nested_too_deep", f"Its parts are nested more than {walk.limits.depth} deep.")


def _leaf(walk: _Walk, section: _Section, block: HeaderBlock, entity: Entity) -> None:
    owner = section.owner
    part = Part(
        content_type=entity.content_type,
        parameters=entity.parameters,
        disposition=entity.disposition,
        filename=entity.filename,
        content_id=entity.content_id,
        depth=section.depth,
    )
    owner.parts.append(part)
    if section.root:
        walk.count(1)
    if part.content_type in _MESSAGES:
        _message(walk, section, block, entity, part)
        return
    view = memoryview(section.data)[block.end : section.end]
    if section.nesting > _COPIED_NESTING and len(view) > _DEEP_CONTENT:
        view = view[:_DEEP_CONTENT]
        _flag(owner, "deep_content_cut")
    part.content, defect = transfer.undone(view, entity.encoding)
    _flag(owner, defect)
    if part.content_type.startswith(("text/", "message/")):
        _read_text(walk, owner, part)
    elif tnef.is_tnef(part):
        found, defects = tnef.opened(part, walk.limits, walk.limits.parts - walk.parts)
        walk.count(len(found))
        part.opened = bool(found) and not defects
        owner.parts += found
        _flag(owner, *defects)


def _read_text(walk: _Walk, owner: ParsedMail, part: Part) -> None:
    content = part.content
    most = min(TEXT_BYTES, walk.texts_left)
    if len(content) > most:
        content = content[:most]
        _flag(owner, "text_cut")
    walk.texts_left -= len(content)
    part.text, defect = decode(content, part.parameters.get("charset", ""), "")
    _flag(owner, defect)
    if "\0" in part.text:
        part.text = part.text.replace("\0", "")
        _flag(owner, "nul_bytes")
    if part.content_type == "text/plain" and "begin " in part.text:
        _take_uu(walk, owner, part)


def _take_uu(walk: _Walk, owner: ParsedMail, part: Part) -> None:
    """Files that are uuencoded in a text."""
    for name, data in transfer.uu_files(part.content):
        walk.count(1)
        _flag(owner, "uuencoded")
        owner.parts.append(
            Part(
                content_type="application/octet-stream",
                disposition="attachment",
                filename=body.file_name(name),
                depth=part.depth,
                content=data,
            )
        )


def _message(walk: _Walk, section: _Section, block: HeaderBlock, entity: Entity, part: Part) -> None:
    """A message in the message goes on the stack; its bytes are copied for the outermost only."""
    _deeper(walk, section)
    data, start, end = section.data, block.end, section.end
    if entity.encoding not in ("", "7bit", "8bit", "binary"):
        data, defect = transfer.undone(memoryview(data)[start:end], entity.encoding)
        _flag(section.owner, defect, "message_encoded")
        start, end = 0, len(data)
    if section.nesting <= _COPIED_NESTING:
        part.content = data[start:end]
    inner = _blank(end - start)
    part.message = inner
    walk.messages.append(inner)
    while start < end and data[start] in b"\r\n":
        start += 1
    walk.stack.append(_Section(data, start, end, section.depth + 1, inner, section.nesting + 1, root=True))
