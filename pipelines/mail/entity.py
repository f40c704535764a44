"""What header fields say: of a message, and of the body under them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pipelines.mail import body, fields
from pipelines.mail.parsed import Headers

if TYPE_CHECKING:
    from pipelines.mail.fields import HeaderBlock

_TYPE: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]{1,127}/[!#$%&'*+.^_`|~0-9a-z-]{1,127}")
_CHARSET: Final = re.compile(rb"charset\s{0,9}=\s{0,9}\"?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
_HINT_WITHIN: Final = 16 * 1024


def headers_of(block: HeaderBlock, data: bytes) -> Headers:
    """Fields with their values decoded; those of eight bits that are no UTF-8 by the charset that the mail names."""
    hint = ""
    if block.eight_bits:
        named = _CHARSET.search(data, 0, block.end + _HINT_WITHIN)
        hint = named[1].decode("ascii") if named else ""
    raw = tuple(fields.raw_text(value, hint) for _, value in block.fields)
    return Headers(
        tuple((name, fields.decoded(text)) for (name, _), text in zip(block.fields, raw, strict=True)), raw
    )


class Entity:
    """What a header says of the body under it (RFC 2045, RFC 2183)."""

    __slots__ = (
        "boundary",
        "content_id",
        "content_type",
        "defect",
        "disposition",
        "encoding",
        "filename",
        "parameters",
    )

    def __init__(self, block: HeaderBlock, usual_type: str) -> None:
        found: dict[str, str] = {}
        for name, value in block.fields:
            if name[0] in "Cc" and (lower := name.lower()).startswith("content-") and lower not in found:
                found[lower] = fields.raw_text(value)
        self.defect = ""
        self.content_type = usual_type
        self.parameters: dict[str, str] = {}
        if given := found.get("content-type"):
            self.content_type, self.parameters = fields.parameters(given)
            if not _TYPE.fullmatch(self.content_type):
                self.content_type, self.defect = "text/plain", "content_type_invalid"  # RFC 2045, 5.2
        self.boundary = self.parameters.get("boundary", "").encode(errors="replace").rstrip()
        self.encoding = found.get("content-transfer-encoding", "").partition(";")[0].strip(" \"'").lower()
        disposition, more = fields.parameters(found.get("content-disposition", ""))
        # RFC 2183, section 2.8: unknown ones are attachments.
        self.disposition = disposition if disposition in ("inline", "attachment", "") else "attachment"
        name = more.get("filename") or self.parameters.get("name") or ""
        self.filename = body.file_name(name)
        self.content_id = found.get("content-id", "").strip().strip("<>")
