"""Header fields: where they end, what they are called, what their values say (RFC 5322, 2047, 2231).

Ours, and not a library's: the standard library looks for the end of each encoded word through the rest of the field,
and counts quotes before each semicolon of a structured one from its start. 100 KB made for it take it seconds.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pipelines.mail.charsets import decode
from pipelines.mail.limits import VALUE_CHARACTERS, MailRefused

if TYPE_CHECKING:
    from pipelines.mail.policy import Limits

_SEPARATOR: Final = re.compile(rb"\n\r*\n")
_CR_SEPARATOR: Final = re.compile(rb"\r\r(?!\r*\n)")
_NO_HEADER: Final = re.compile(rb"\r?\n|\r(?!\n)")
_BARE_CR: Final = re.compile(rb"\r(?!\n)")
_BLANKS: Final = (b" ", b"\t")
_FIELD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z/-]+)[ \t]*:")
"""RFC 5322 would have `{"a"` for a name as well; nobody else would."""
_USUAL: Final = re.compile(
    rb"(?:from|to|cc|subject|date|sender|reply-to|message-id|mime-version|content-[a-z-]+|received(?:-spf)?|return-path"
    rb"|in-reply-to|references|dkim-signature|authentication-results|(?:x|arc|list|thread)-[a-z0-9-]+)[ \t]*:",
    re.IGNORECASE,
)
_SOON: Final = 4
"""Lines."""
_LEFTOVER: Final = re.compile(rb">?From ")
_WORD: Final = re.compile(
    r"=\?(?P<charset>[^?\s]{1,64})\?(?P<encoding>[bBqQ])\?(?P<data>[^?]*(?:\?(?!=)[^?]*){0,3})\?="
)
_HEX: Final = re.compile(rb"=([0-9A-Fa-f]{2})")
_FIRST: Final = re.compile(r"\s*([^;\s]+)\s*")
_PARAMETER: Final = re.compile(r';\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"?|([^;]*))', re.DOTALL)
_EXTENDED: Final = re.compile(r"([^*]+)\*(?:(\d{1,3}))?(\*)?")
_ESCAPED: Final = re.compile(r'\\(["\\])')
"""Others are left: of paths of Windows that nobody escaped."""
_PERCENT: Final = re.compile(rb"%([0-9A-Fa-f]{2})")


@dataclass(slots=True)
class HeaderBlock:
    """The header fields of a message or a part."""

    fields: list[tuple[str, bytes]] = field(default_factory=list)
    """Names as written; values unfolded, undecoded."""
    end: int = 0
    """Where the body begins."""
    defects: list[str] = field(default_factory=list)

    @property
    def eight_bits(self) -> bool:
        """Whether it has bytes that are no ASCII."""
        return not all(value.isascii() for _, value in self.fields)


def header_block(data: bytes, start: int, end: int, limits: Limits) -> HeaderBlock:
    """Read the fields of what begins at `start`; raises `MailRefused` beyond the limits."""
    block = HeaderBlock(end=end)
    if empty := _NO_HEADER.match(data, start, end):
        block.end = empty.end()
        return block
    stop = min(end, start + limits.header_bytes + 4)
    if found := _separator(data, start, stop):
        block.end, stop = found.end(), found.start()
    elif stop < end:
        detail = f"Its header is longer than the {limits.header_bytes} bytes that are read."
        raise MailRefused("too_many_header_bytes", detail)
    header = data[start:stop].rstrip(b"\r")
    if b"\r" in header and _BARE_CR.search(header):
        header = _BARE_CR.sub(b"\n", header)
        block.defects.append("bare_cr_lines")
    _read_lines(block, header, start, limits)
    return block


def _separator(data: bytes, start: int, stop: int) -> re.Match[bytes] | None:
    """The empty line; in a mail of bare CRs that before anything else."""
    first_lf = data.find(b"\n", start, stop)
    until = stop if first_lf < 0 else first_lf + 1
    if data.find(b"\r", start, until - 2) >= 0 and (found := _CR_SEPARATOR.search(data, start, until)):
        return found
    return _SEPARATOR.search(data, start, stop)


def _read_lines(block: HeaderBlock, header: bytes, start: int, limits: Limits) -> None:
    fields = block.fields
    name = ""
    pieces: list[bytes] = []
    lines = header.replace(b"\r\n", b"\n").split(b"\n")
    for number, line in enumerate(lines):
        if line[:1] in _BLANKS and name:
            pieces.append(line)
            continue
        match = _FIELD.match(line)
        if match:
            if name:
                fields.append((name, b"".join(pieces)))
                if len(fields) >= limits.headers:
                    detail = f"It has more than {limits.headers} header fields in one header."
                    raise MailRefused("too_many_headers", detail)
            name = match[1].decode("ascii")
            pieces = [line[match.end() :]]
        elif _LEFTOVER.match(line):
            block.defects.append("mbox_line")
        elif name and line.strip() and (pieces[-1].endswith(b";") or _goes_on(lines, number + 1)):
            pieces.append(b" " + line)
            block.defects.append("header_line_broken")
        elif line.strip():
            block.end = start + _line_start(header, number)
            block.defects.append("header_without_end" if name else "no_header")
            break
    if name:
        fields.append((name, b"".join(pieces)))


def _goes_on(lines: list[bytes], number: int) -> bool:
    """Whether header fields follow soon after a line that is none: it was folded without a space then."""
    return any(_USUAL.match(line) for line in lines[number : number + _SOON])


def _line_start(header: bytes, number: int) -> int:
    place = 0
    for _ in range(number):
        place = header.index(b"\n", place) + 1
    return place


def raw_text(value: bytes, hint: str = "") -> str:
    """A value as text, not yet decoded: unfolded, without control characters."""
    if value.isascii():
        text = value.decode("ascii")
    else:
        text, _ = decode(value, "utf-8", hint)
    return printable(text).strip()


def printable(text: str) -> str:
    """Without control characters; a tab is a space."""
    return text if text.isprintable() else text.translate(_CONTROLS)


_CONTROLS: Final = {**dict.fromkeys((*range(9), *range(10, 32), 127)), 9: " ", 0xFEFF: None}


def decoded(text: str) -> str:
    """With its encoded words (RFC 2047) read; as lenient as they are broken."""
    if "=?" not in text:
        return text
    output: list[str] = []
    position = 0
    held: tuple[str, bytearray] | None = None
    for match in _WORD.finditer(text):
        between = text[position : match.start()]
        charset = match["charset"].lower().partition("*")[0]
        data = _word(match["encoding"], match["data"])
        adjacent = held is not None and not between.strip()
        if held is not None and adjacent and held[0] == charset:
            held[1].extend(data)  # a character may be split between words
        else:
            if held is not None:
                output.append(decode(bytes(held[1]), held[0])[0])
            if not adjacent:
                output.append(between)
            held = (charset, bytearray(data))
        position = match.end()
    if held is not None:
        output.append(decode(bytes(held[1]), held[0])[0])
    output.append(text[position:])
    return printable("".join(output))


def _word(encoding: str, data: str) -> bytes:
    raw = data.encode(errors="replace")
    if encoding in "qQ":
        return _HEX.sub(lambda match: bytes.fromhex(match[1].decode()), raw.replace(b"_", b" "))
    return base64_lenient(raw)


def base64_lenient(data: bytes) -> bytes:
    """Of base64 what can be had: wrong characters are left out, missing padding is made up."""
    try:
        return binascii.a2b_base64(data)
    except binascii.Error:
        pass
    clean = data.translate(None, _NOT_BASE64)
    clean = clean[: len(clean) - 1] if len(clean) % 4 == 1 else clean
    return binascii.a2b_base64(clean + b"=" * (-len(clean) % 4))


_NOT_BASE64: Final = bytes(
    set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
)


def parameters(value: str) -> tuple[str, dict[str, str]]:
    """A structured value (`text/plain; charset=…`): its first word in lower case, and its parameters.

    With the continuations and charsets of RFC 2231, and encoded words where they do not belong but are.
    """
    value = value[:VALUE_CHARACTERS]
    first = _FIRST.match(value)
    rest = value[first.end() :] if first else value
    found: dict[str, str] = {}
    pieces: dict[str, dict[int, tuple[str, bool]]] = {}
    for match in _PARAMETER.finditer(rest if rest.startswith(";") else ";" + rest):
        name = match[1].lower()
        text = _ESCAPED.sub(r"\1", match[2]) if match[2] is not None else match[3].strip()
        extended = _EXTENDED.fullmatch(name) if "*" in name else None
        if extended is None:
            found.setdefault(name, decoded(text))
        else:
            encoded = bool(extended[3]) or extended[2] is None
            pieces.setdefault(extended[1], {})[int(extended[2] or 0)] = (text, encoded)
    for name, numbered in pieces.items():
        found[name] = _joined(numbered)
    return first[1].lower() if first else "", found


def _joined(numbered: dict[int, tuple[str, bool]]) -> str:
    charset = "utf-8"
    output = bytearray()
    for place, number in enumerate(sorted(numbered)):
        text, encoded = numbered[number]
        if encoded and place == 0 and text.count("'") >= 2:  # noqa: PLR2004 - charset'language'value
            charset, _, text = text.split("'", 2)
        raw = text.encode(errors="replace")
        output += _PERCENT.sub(lambda match: bytes.fromhex(match[1].decode()), raw) if encoded else raw
    return decode(bytes(output), charset or "utf-8")[0]
