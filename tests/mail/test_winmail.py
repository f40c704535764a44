"""TNEF: files and bodies of `winmail.dat`."""

from __future__ import annotations

import base64
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mail_making import HEAD, STEADY, mail, read, taken_apart, tnef, tnef_attribute, tnef_property

from pipelines.mail import rtf
from pipelines.mail.limits import MailRefused

CODEPAGE = tnef_attribute(1, 0x00069007, struct.pack("<II", 1251, 0))
FILE = tnef_attribute(2, 0x00069002, b"\1\0" + b"\0" * 12)
STRING, UNICODE, OBJECT, BINARY = 0x1E, 0x1F, 0xD, 0x102
# [MS-OXRTFCP] 4.1: the specification's own example.
COMPRESSED = bytes.fromhex(
    "2d0000002b0000004c5a4675f1c5c7a703000a007263706731323542320af32068656c090020627705b06c647d0a800fa0"
)


def message(*properties: bytes) -> bytes:
    return tnef_attribute(1, 0x00069003, struct.pack("<I", len(properties)) + b"".join(properties))


def attachment(*properties: bytes) -> bytes:
    return tnef_attribute(2, 0x00069005, struct.pack("<I", len(properties)) + b"".join(properties))


def winmail(*attributes: bytes) -> bytes:
    encoded = base64.encodebytes(tnef(*attributes))
    return HEAD + mail(
        "Content-Type: application/ms-tnef; name=winmail.dat",
        "Content-Transfer-Encoding: base64",
        "",
        encoded,
    )


def test_files_with_their_names_types_and_bytes() -> None:
    raw = winmail(
        CODEPAGE,
        tnef_attribute(1, 0x00018004, b"a subject\0"),
        FILE,
        tnef_attribute(2, 0x00018010, "отчёт.txt\0".encode("cp1251")),
        tnef_attribute(2, 0x0006800F, b"first"),
        FILE,
        attachment(
            tnef_property(0x3707, UNICODE, "../a long name 你.pdf\0".encode("utf-16-le")),
            tnef_property(0x370E, STRING, b"Application/PDF\0"),
            tnef_property(0x3712, STRING, b"cid@x\0"),
            tnef_property(0x3701, BINARY, b"second"),
            tnef_property(0x3704, STRING, b"ALONGN~1.PDF\0"),
        ),
    )
    parsed = taken_apart(raw)
    assert [
        (part.filename, part.content_type, part.content, part.content_id) for part in parsed.parts[1:]
    ] == [
        ("отчёт.txt", "application/octet-stream", b"first", ""),
        ("a long name 你.pdf", "application/pdf", b"second", "cid@x"),
    ]
    assert parsed.defects == []
    names = [row["name"] for row in read(raw).mail["attachments"]]
    assert names == ["отчёт.txt", "a long name 你.pdf"]


@pytest.mark.parametrize(
    ("attribute", "text"),
    [
        (tnef_attribute(1, 0x0002800C, "Привет\0".encode("cp1251")), "Привет"),
        (message(tnef_property(0x1000, UNICODE, "Привет\0".encode("utf-16-le"))), "Привет"),
        (message(tnef_property(0x1013, BINARY, "<p>Привет</p>".encode("cp1251"))), "Привет"),
        (message(tnef_property(0x1009, BINARY, COMPRESSED)), "hello world"),
    ],
)
def test_the_body_is_the_mails_text(attribute: bytes, text: str) -> None:
    assert taken_apart(winmail(CODEPAGE, attribute)).text.strip() == text


def test_properties_with_names_and_of_other_types_are_passed_by() -> None:
    named = (
        struct.pack("<HH", 3, 0x8001) + b"\0" * 16 + struct.pack("<II", 1, 6) + b"a\0b\0\0\0\0\0" + b"\0" * 4
    )
    several = struct.pack("<HHI", 0x1003, 0x3000, 2) + struct.pack("<II", 1, 2)
    number = struct.pack("<HHI", 3, 0x3FDE, 1251)
    body = tnef_property(0x1000, STRING, "Да\0".encode("cp1251"))
    assert taken_apart(winmail(message(named, several, number, body))).text == "Да"


def test_files_of_a_message_within_are_there() -> None:
    inner = tnef(FILE, tnef_attribute(2, 0x00018010, b"deep.txt\0"), tnef_attribute(2, 0x0006800F, b"deep"))
    outer = winmail(FILE, attachment(tnef_property(0x3701, OBJECT, b"\7" * 16 + inner)))
    assert [(part.filename, part.content) for part in taken_apart(outer).parts[1:]] == [("deep.txt", b"deep")]


def test_what_is_cut_off_keeps_what_came_before() -> None:
    whole = tnef(FILE, tnef_attribute(2, 0x00018010, b"a.txt\0"), tnef_attribute(2, 0x0006800F, b"x"), FILE)
    raw = HEAD + b"Content-Type: application/ms-tnef\r\n\r\n" + whole[:-10]
    parsed = taken_apart(raw)
    assert [part.filename for part in parsed.parts[1:]] == ["a.txt"]
    assert parsed.defects == ["tnef_damaged"]
    assert read(raw).mail["attachments"][0]["content_type"] == "application/ms-tnef"


@pytest.mark.parametrize(
    "attributes",
    [
        [message(struct.pack("<HHI", 0x1003, 0x1000, 0xFFFFFFFF))],
        [
            tnef_attribute(
                1, 0x00069003, struct.pack("<I", 0xFFFFFFFF) + struct.pack("<HHI", 0x1003, 0x1000, 0) * 50_000
            )
        ],
        [
            message(
                tnef_property(
                    0x1009, BINARY, struct.pack("<IIII", 0, 0xFFFFFFFF, 0x75465A4C, 0) + b"\xff\0\x0f" * 99
                )
            )
        ],
        [tnef_attribute(1, 0x00060001, b"")] * 50_000,
    ],
)
def test_counts_that_lie_cost_nothing(attributes: list[bytes]) -> None:
    assert len(taken_apart(winmail(*attributes)).parts) <= 2


@pytest.mark.parametrize(("count", "cause"), [(1_200, "too_many_parts")])
def test_its_files_count_as_parts(count: int, cause: str) -> None:
    with pytest.raises(MailRefused) as refused:
        taken_apart(winmail(FILE * count))
    assert refused.value.cause == cause


def test_messages_within_messages_have_a_limit() -> None:
    inner = tnef(FILE)
    for _ in range(40):
        inner = tnef(FILE, attachment(tnef_property(0x3701, OBJECT, b"\7" * 16 + inner)))
    with pytest.raises(MailRefused) as refused:
        taken_apart(HEAD + b"Content-Type: application/ms-tnef\r\n\r\n" + inner)
    assert refused.value.cause == "nested_too_deep"


def test_compressed_rtf_of_the_specification() -> None:
    assert rtf.inflated(COMPRESSED, 1000) == b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n"
    crossing = bytes.fromhex("1a0000001c0000004c5a4675e2d44b51410004205758595a0d6e7d010eb0")
    assert rtf.inflated(crossing, 1000) == b"{\\rtf1 WXYZWXYZWXYZWXYZWXYZ}"
    assert rtf.inflated(COMPRESSED, 6) == b"{\\rtf1"


def test_text_of_rtf() -> None:
    source = (
        rb"{\rtf1\ansi\ansicpg1251{\fonttbl{\f0 Arial;}}{\*\htmltag <p>}\u1055?\'f0\'e8\par a\tab b\{c\}\~d}"
    )
    assert rtf.text_of(source) == "При\na\tb{c}~d"


@settings(STEADY, max_examples=60)
@given(st.binary(max_size=400))
def test_any_bytes_behind_the_signature_are_read_without_error(data: bytes) -> None:
    found = read(HEAD + b"Content-Type: application/ms-tnef\r\n\r\n" + tnef(data))
    assert [letter["cause"] for letter in found.dead_letters] == []
    assert (
        rtf.text_of(rtf.inflated(struct.pack("<IIII", 9, 900, 0x75465A4C, 0) + data, 900)).encode()[:0] == b""
    )
