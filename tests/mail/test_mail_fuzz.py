"""Generated mails, and what bytes do to them: no exception, and rows that fit."""

from __future__ import annotations

import base64
import quopri

from hypothesis import given, settings
from hypothesis import strategies as st
from mail_making import STEADY, policy, received, tnef

from pipelines.intake.provenance import Provenance
from pipelines.mail.policy import Limits, TenantRule
from pipelines.mail.reading import MailReader
from schemas.avro import newest
from schemas.blocks import BlockBuilder

READER = MailReader(
    policy(pii="hashed", limits=Limits(parts=50, depth=6), tenants=(TenantRule("in.example.net"),))
)
SCHEMA = newest("inbound_mail")
TYPES = st.sampled_from(
    [
        "text/plain",
        "text/html",
        "message/rfc822",
        "text/rfc822-headers",
        "message/delivery-status",
        "message/feedback-report",
        "application/octet-stream",
        "application/ms-tnef",
        "application/gzip",
        "text/calendar",
        "broken",
    ]
)
CHARSETS = st.sampled_from(
    ["utf-8", "iso-8859-1", "utf-7", "iso-2022-jp", "gb18030", "koi8-r", "utf-16", "unknown-8bit", "''"]
)
ENCODINGS = st.sampled_from(["7bit", "8bit", "base64", "quoted-printable", "x-uuencode", "nonsense"])
ADDRESSES = st.sampled_from(
    [
        "a@example.com",
        '"A, B" <a@example.com>',
        "=?utf-8?q?=C3=A9?= <x@y.example>",
        "<>",
        "g: a@b, c@d;",
        "(c) a",
        "@",
        "",
    ]
)
IDS = st.sampled_from(["<a@b>", "<a@b> <c@d>", "text", "<", "a@example.com", "=?utf-8?q?x?="])
WORDS = st.text(max_size=30)
VALUES = {
    "From": ADDRESSES,
    "To": ADDRESSES,
    "Subject": WORDS,
    "Date": st.sampled_from(["Fri, 2 Jan 2026 03:04:05 +0000", "32 Foo", ""]),
    "Message-ID": IDS,
    "In-Reply-To": IDS,
    "References": IDS,
    "Auto-Submitted": st.sampled_from(["auto-replied", "no", "auto-generated"]),
    "Content-Disposition": st.sampled_from(
        ["inline", "attachment; filename*0*=utf-8''%c3; filename*1=x", "odd; =;"]
    ),
    "X-MS-Journal-Report": st.just(""),
    "Authentication-Results": st.sampled_from(["amazonses.com; spf=pass", "x"]),
}
NOISE = st.sampled_from(
    [
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b"--",
        b"=?",
        b"?=",
        b'"',
        b"(",
        b"<",
        b"\x1b$B",
        b"\xff\xfe",
        b"--0\r\n",
        b";",
        b":",
    ]
)


@st.composite
def entities(draw: st.DrawFn, depth: int = 0) -> bytes:
    """A header and its body: a leaf, a multipart, or a message."""
    names = draw(st.lists(st.sampled_from(sorted(VALUES)), max_size=5 if depth else 9))
    lines = [f"{name}: {draw(VALUES[name])}".encode(errors="replace") for name in names]
    if depth < 4 and draw(st.booleans()):
        boundary = draw(st.sampled_from(["0", "0x", "b b", "=_1", ""]))
        kind = draw(
            st.sampled_from(["mixed", "report; report-type=delivery-status", "digest", "alternative"])
        )
        lines.append(f'Content-Type: multipart/{kind}; boundary="{boundary}"'.encode())
        parts = draw(st.lists(entities(depth + 1), max_size=4))
        delimiter = f"--{boundary}".encode()
        body = (
            b"".join(delimiter + b"\r\n" + part + b"\r\n" for part in parts)
            + delimiter
            + draw(st.sampled_from([b"--", b""]))
        )
    else:
        lines.append(f"Content-Type: {draw(TYPES)}; charset={draw(CHARSETS)}; format=flowed".encode())
        content = draw(
            st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode), st.just(tnef(b"\1" * 30)))
        )
        encoding = draw(ENCODINGS)
        lines.append(f"Content-Transfer-Encoding: {encoding}".encode())
        body = {"base64": base64.encodebytes, "quoted-printable": quopri.encodestring}.get(encoding, bytes)(
            content
        )
    return b"\r\n".join([*lines, b"", body])


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A mail with some bytes replaced, repeated, put in or left out."""
    data = bytearray(
        draw(st.sampled_from([b"", received().encode() + b"\r\n", b"From x\n", b"\xef\xbb\xbf"]))
        + draw(entities())
    )
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 30)))
        data[start:end] = draw(st.one_of(NOISE, st.binary(max_size=8), st.just(bytes(data[start:end] * 3))))
    return bytes(data)


@settings(STEADY, max_examples=150)
@given(mutated())
def test_whatever_comes_makes_a_row_and_no_exception(raw: bytes) -> None:
    found = READER.read(raw, None, Provenance("file:///x", 1, "file"), path="file")
    assert [letter["detail"] for letter in found.dead_letters if letter["cause"] == "internal_error"] == []
    builder = BlockBuilder(SCHEMA)
    builder.add(found.mail)
    assert len(builder.take()) > 0
    assert all(letter["stage"] == "mail" for letter in found.dead_letters)
    assert (found.parsed is None) <= bool(found.dead_letters)
