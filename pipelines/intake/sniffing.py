"""What a stream is by its first bytes. Suffixes and content types are not asked: both lie."""

from __future__ import annotations

import re
from typing import Final

from schemas.dead_letters import PAYLOAD_LIMIT

TOPIC_VALIDATED: Final = b"Successfully validated SNS topic for Amazon SES event publishing"
"""Plain text that SES publishes when a topic is attached as an event destination."""

BOM: Final = b"\xef\xbb\xbf"
_SPACE: Final = b" \t\r\n"
_MAGIC: Final = (
    (b"\x1f\x8b", "gzip"),  # RFC 1952; a source inflates it before, so this is gzip inside gzip
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"\xff\x06\x00\x00sNaPpY", "snappy"),  # framing format, github.com/google/snappy framing_format.txt
    (b"\x82SNAPPY\x00", "snappy"),  # snappy-java
    (b"\x28\xb5\x2f\xfd", "zstd"),  # RFC 8878
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x04\x22\x4d\x18", "lz4"),
)


_FIELD: Final = re.compile(rb"([A-Za-z][!-9;-~]{0,75})[ \t]*:|[ \t]+[^\s]")
"""The line of a header field (RFC 5322, section 3.6.8), or one that continues it."""
_FIELDS: Final = frozenset(
    b"return-path received from to cc bcc date subject message-id mime-version content-type sender reply-to "
    b"delivered-to dkim-signature authentication-results received-spf x-ses-spam-verdict x-ses-receipt arc-seal "
    b"envelope-to x-original-to in-reply-to references list-id content-transfer-encoding x-mailer".split()
)
"""Names (lower case) one of which every mail has near its top: what else has colons is no mail."""
_ENOUGH: Final = 4096
"""Bytes of a mail by which it is known."""


def looks_like_mail(head: bytes) -> bool:
    """Whether a stream that begins so is a mail: header fields, one of them known, until the head ends or they do."""
    text = head[:_ENOUGH].removeprefix(BOM).lstrip(b"\r\n")
    cut = len(text) >= _ENOUGH - len(BOM) - 2
    lines = text.split(b"\n")
    known = False
    for number, line in enumerate(lines):
        stripped = line.rstrip(b"\r")
        if not stripped or (cut and number == len(lines) - 1):
            break
        match = _FIELD.match(stripped)
        if match is None or (match[1] is None and not number):
            return False
        known = known or (match[1] is not None and match[1].lower() in _FIELDS)
    return known


def is_mbox(head: bytes) -> bool:
    """Whether a stream that begins so is mails, each behind a `From ` line (RFC 4155)."""
    line, newline, rest = head.removeprefix(BOM).lstrip(b"\r\n").partition(b"\n")
    return bool(newline and line.startswith(b"From ") and looks_like_mail(rest))


class Sniffer:
    """Holds a stream back until it is known whether it is JSON; if not, keeps its first bytes only."""

    __slots__ = ("_lead", "_refused", "prefix", "size")

    def __init__(self) -> None:
        self.prefix = b""
        """The first `PAYLOAD_LIMIT` bytes, when the stream is not JSON."""
        self.size = 0
        """Bytes so far."""
        self._lead = 0
        """Bytes of BOM and white space that were dropped in front."""
        self._refused = False

    def feed(self, chunk: bytes) -> tuple[bytes, int, bool] | None:
        """The first bytes of JSON, their offset, and whether they open an array; None while they are not."""
        self.size += len(chunk)
        room = PAYLOAD_LIMIT - len(self.prefix)
        if self._refused:
            self.prefix += chunk[:room]
            return None
        data = self.prefix + chunk
        if data.startswith(BOM) and not self._lead:
            data, self._lead = data[len(BOM) :], len(BOM)
        if self._lead or not BOM.startswith(data[: len(BOM)]):
            stripped = data.lstrip(_SPACE)
            self._lead += len(data) - len(stripped)
            data = stripped
        first = data[:1]
        if first in (b"{", b"["):
            self.prefix = b""
            return data, self._lead, first == b"["
        self.prefix = data[:PAYLOAD_LIMIT]
        self._refused = len(data) >= len(BOM)
        return None

    def verdict(self) -> tuple[str, str] | None:
        """Cause and detail of a stream that is not JSON; no cause: a control message; None: empty."""
        if not self.prefix:
            return None
        for magic, name in _MAGIC:
            if self.prefix.startswith(magic):
                return "unsupported_compression", f"The content is compressed with {name}."
        if self.prefix.startswith(TOPIC_VALIDATED):
            return "", ""
        return "not_json", "The content is not JSON: its first byte opens neither an object nor an array."
