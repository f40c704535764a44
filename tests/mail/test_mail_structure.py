"""Parts of a message, however they are delimited."""

from __future__ import annotations

import base64

import pytest
from mail_making import HEAD, mail, taken_apart

from pipelines.mail.limits import MailRefused

MIXED = mail(
    HEAD.rstrip(),
    "MIME-Version: 1.0",
    'Content-Type: multipart/mixed; boundary="outer"',
    "",
    "This is a multi-part message.",
    "--outer",
    "Content-Type: multipart/alternative; boundary=inner",
    "",
    "--inner",
    "Content-Type: text/plain",
    "",
    "plain",
    "--inner",
    "Content-Type: text/html",
    "",
    "<p>rich</p>",
    "--inner--",
    "--outer",
    'Content-Type: application/pdf; name="a.pdf"',
    "Content-Disposition: attachment; filename=a.pdf",
    "Content-Transfer-Encoding: base64",
    "",
    "JVBERi0x",
    "LjQ=",
    "--outer--",
    "",
)
SHAPE = [("text/plain", 2, b"plain"), ("text/html", 2, b"<p>rich</p>"), ("application/pdf", 1, b"%PDF-1.4")]


def shape(raw: bytes) -> list[tuple[str, int, bytes]]:
    return [(part.content_type, part.depth, part.content) for part in taken_apart(raw).parts]


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n", b"\r", b"\r\r\n"])
def test_the_same_parts_whatever_ends_the_lines(line_end: bytes) -> None:
    found = [
        (kind, depth, content.strip()) for kind, depth, content in shape(MIXED.replace(b"\r\n", line_end))
    ]
    assert found == SHAPE


def test_line_ends_may_change_between_header_and_body() -> None:
    header, _, body = MIXED.partition(b"\r\n\r\n")
    assert shape(header.replace(b"\r\n", b"\r") + b"\r\r" + body.replace(b"\r\n", b"\n")) == SHAPE


def test_a_whole_mail_has_no_defects_and_reads_as_its_plain_text() -> None:
    parsed = taken_apart(MIXED)
    assert (parsed.defects, parsed.text, parsed.content_type) == ([], "plain", "multipart/mixed")
    assert (parsed.parts[2].filename, parsed.parts[2].disposition) == ("a.pdf", "attachment")
    assert (parsed.size, parsed.headers.get("SUBJECT")) == (len(MIXED), "Hello")


def test_an_outer_delimiter_ends_what_is_not_closed_inside() -> None:
    raw = MIXED.replace(b"--inner--\r\n", b"")
    assert shape(raw) == SHAPE
    assert taken_apart(raw).defects == ["multipart_unclosed"]


@pytest.mark.parametrize("cut", [b"--outer--\r\n", b"\r\nLjQ=\r\n--outer--\r\n"])
def test_a_mail_that_ends_too_soon_keeps_what_there_is(cut: bytes) -> None:
    parsed = taken_apart(MIXED.replace(cut, b""))
    assert parsed.parts[2].content.startswith(b"%PDF-1")
    assert parsed.defects == ["multipart_unclosed"]


@pytest.mark.parametrize(
    ("was", "now"), [(b'; boundary="outer"', b""), (b'boundary="outer"', b'boundary="another"')]
)
def test_a_boundary_that_is_not_the_one_in_use_is_guessed(was: bytes, now: bytes) -> None:
    raw = MIXED.replace(was, now)
    assert shape(raw) == SHAPE
    assert taken_apart(raw).defects == ["boundary_guessed"]


def test_without_any_delimiter_a_multipart_is_text() -> None:
    parsed = taken_apart(HEAD + b'Content-Type: multipart/mixed; boundary="x"\r\n\r\nhello\r\n')
    assert (parsed.text, parsed.defects) == ("hello\r\n", ["boundary_missing"])


def test_a_longer_boundary_that_begins_like_another_is_another() -> None:
    raw = MIXED.replace(b"inner", b"outerinner")
    assert shape(raw) == SHAPE


def test_a_line_that_only_begins_like_a_delimiter_is_text() -> None:
    raw = MIXED.replace(
        b"plain\r\n--inner\r\n", b"plain\r\n--innermost thoughts\r\nx--inner\r\n--inner \t\r\n"
    )
    assert shape(raw)[0][2] == b"plain\r\n--innermost thoughts\r\nx--inner"


def test_true_delimiters_are_found_among_thousands_of_false_ones() -> None:
    false = b"--innerX\r\nX--inner\r\n" * 500
    raw = MIXED.replace(b"\r\nplain\r\n", b"\r\n" + false + b"plain\r\n")
    assert shape(raw) == [("text/plain", 2, false + b"plain"), *SHAPE[1:]]


def test_a_multipart_that_is_encoded_as_a_whole_is_decoded() -> None:
    head, _, body = MIXED.partition(b"\r\n\r\n")
    raw = head + b"\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(body)
    assert shape(raw) == SHAPE
    assert taken_apart(raw).defects == ["multipart_encoded"]


def test_parts_of_a_digest_are_messages() -> None:
    raw = HEAD + mail(
        "Content-Type: multipart/digest; boundary=d", "", "--d", "", "Subject: one", "", "1", "--d--", ""
    )
    (part,) = taken_apart(raw).parts
    assert part.message is not None
    assert (part.content_type, part.message.headers.get("subject")) == ("message/rfc822", "one")


def nested(encoding: str = "", body: bytes = MIXED) -> bytes:
    return HEAD + mail("Content-Type: message/rfc822", f"Content-Transfer-Encoding: {encoding}", "", body)


def test_a_message_in_the_message_is_taken_apart_and_its_parts_are_its_own() -> None:
    (part,) = taken_apart(nested()).parts
    assert part.message is not None
    assert part.content == MIXED
    assert [(inner.content_type, inner.depth) for inner in part.message.parts] == [
        ("text/plain", 3),
        ("text/html", 3),
        ("application/pdf", 2),
    ]
    assert part.message.text == "plain"


def test_a_message_that_is_encoded_though_it_must_not_be_is_read() -> None:
    parsed = taken_apart(nested("base64", base64.encodebytes(MIXED)))
    assert parsed.parts[0].message is not None
    assert parsed.parts[0].message.headers.get("Subject") == "Hello"
    assert parsed.defects == ["message_encoded"]


def test_header_fields_of_a_returned_message_without_its_body() -> None:
    raw = HEAD + mail("Content-Type: text/rfc822-headers", "", "Subject: lost", "Message-ID: <a@b>")
    (part,) = taken_apart(raw).parts
    assert part.message is not None
    assert part.message.headers.get("message-id") == "<a@b>"


def test_nul_bytes_a_byte_order_mark_and_an_mbox_line_are_left_out() -> None:
    raw = b"\xef\xbb\xbf\r\n>From ann Fri Jan  2 03:04:05 2026\r\n" + HEAD + b"\r\nhel\0lo"
    parsed = taken_apart(raw)
    assert (parsed.headers.get("From"), parsed.text) == ("Ann <ann@example.com>", "hello")
    assert parsed.defects == ["mbox_line", "nul_bytes"]


def test_a_header_without_an_empty_line_ends_where_the_text_begins() -> None:
    parsed = taken_apart(HEAD + b"Dear all,\r\n\r\nhello: you\r\n")
    assert (parsed.text, parsed.defects) == ("Dear all,\r\n\r\nhello: you\r\n", ["header_without_end"])
    assert [name for name, _ in parsed.headers.fields] == ["From", "To", "Subject"]


def test_a_line_folded_without_a_space_belongs_to_the_field_before_it() -> None:
    raw = b"Received: from a\r\nby mx.example.com; Fri\r\n" + HEAD + b"\r\nhello"
    parsed = taken_apart(raw)
    assert parsed.headers.get("Received") == "from a by mx.example.com; Fri"
    assert (parsed.headers.get("Subject"), parsed.text) == ("Hello", "hello")
    assert parsed.defects == ["header_line_broken"]


def test_so_does_a_parameter_that_lost_its_indent() -> None:
    raw = MIXED.replace(b"alternative; boundary", b"alternative;\r\nboundary")
    assert shape(raw) == SHAPE
    assert taken_apart(raw).defects == ["header_line_broken"]


def test_header_fields_without_a_body() -> None:
    parsed = taken_apart(HEAD.rstrip())
    assert (parsed.text, parsed.headers.get("subject"), len(parsed.parts)) == ("", "Hello", 1)


def test_a_wrong_content_type_is_text() -> None:
    parsed = taken_apart(HEAD + b"Content-Type: html charset=utf-8\r\n\r\nh\xc3\xa9")
    assert (parsed.content_type, parsed.text) == ("text/plain", "hé")
    assert parsed.defects == ["content_type_invalid"]


@pytest.mark.parametrize(
    ("raw", "cause"),
    [
        (b"", "empty_mail"),
        (b"\xef\xbb\xbf \r\n\0\r\n", "empty_mail"),
        (b"%PDF-1.4\n%\xe2\xe3\n1 0 obj\n", "not_a_mail"),
        (b'{"eventType": "Send"}', "not_a_mail"),
        (b"<html><body>hello</body></html>", "not_a_mail"),
        (b"just text\nwithout any fields", "not_a_mail"),
    ],
)
def test_what_is_no_mail_is_refused(raw: bytes, cause: str) -> None:
    with pytest.raises(MailRefused) as refused:
        taken_apart(raw)
    assert refused.value.cause == cause
