"""Mails for tests: raw bytes put together, and read."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, settings

from pipelines.intake.provenance import Provenance
from pipelines.intake.providers import Directory
from pipelines.mail.parse import parse
from pipelines.mail.policy import Limits, MailPolicy
from pipelines.mail.reading import MailReader

if TYPE_CHECKING:
    from pipelines.mail.notice import Notice
    from pipelines.mail.outcome import MailRead
    from pipelines.mail.parsed import ParsedMail

STEADY = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
"""The same examples in every run, however busy the machine is."""
SES_ID = "o3vrnil0e2ic28trm7dfhrc2v0clambda4nbp0g1"
DIRECTORY = Directory()
HEAD = b"From: Ann <ann@example.com>\r\nTo: help@in.example.net\r\nSubject: Hello\r\n"


def mail(*lines: str | bytes) -> bytes:
    """Lines as a message, with CRLF."""
    return b"\r\n".join(line.encode() if isinstance(line, str) else line for line in lines)


def received(ses_id: str = SES_ID, region: str = "eu-west-1") -> str:
    """The Received field that SES prepends."""
    return (
        f"Received: from mx.example.com (mx.example.com [192.0.2.1])\r\n by inbound-smtp.{region}.amazonaws.com"
        f" with SMTP id {ses_id}\r\n for help@in.example.net;\r\n Fri, 02 Jan 2026 03:04:05 +0000 (UTC)"
    )


def taken_apart(raw: bytes, **limits: int) -> ParsedMail:
    """Parsed, under limits other than the usual ones."""
    return parse(raw, Limits(**limits))


def policy(**settings: Any) -> MailPolicy:
    """A policy that hides nothing, unless told."""
    return MailPolicy(directory=DIRECTORY, **{"pii": "plain", **settings})


def read(raw: bytes, notice: Notice | None = None, *, object_uri: str = "", **settings: Any) -> MailRead:
    """Read by a reader of its own."""
    provenance = Provenance("file:///mail.eml", 1_767_323_000_000, "file")
    return MailReader(policy(**settings)).read(raw, notice, provenance, object_uri=object_uri, path="file")


def tnef_attribute(level: int, name: int, data: bytes) -> bytes:
    """[MS-OXTNEF] 2.1.3: level, id, length, data, checksum."""
    return struct.pack("<BII", level, name, len(data)) + data + struct.pack("<H", sum(data) & 0xFFFF)


def tnef_property(name: int, kind: int, data: bytes) -> bytes:
    """One property of variable length."""
    return struct.pack("<HHII", kind, name, 1, len(data)) + data + b"\0" * (-len(data) % 4)


def tnef(*attributes: bytes) -> bytes:
    """A TNEF stream."""
    return b"\x78\x9f\x3e\x22\x01\x00" + b"".join(attributes)
