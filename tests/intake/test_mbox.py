"""Mails of an mbox, whatever its writer and wherever chunks end; the standard library's `mailbox` is the oracle."""

from __future__ import annotations

import mailbox
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.intake.mbox import MboxSplitter

if TYPE_CHECKING:
    from pathlib import Path

SENDER = "From MAILER-DAEMON Sat Nov 21 10:00:00 2026\n"
LINES = st.sampled_from(
    [
        "",
        "\r",
        "text",
        "From",
        "From here on it is prose",
        ">From quoted",
        ">>From quoted twice",
        " From indented",
        "> From",
        "From: ",
        ">",
    ]
)
MAILS = st.lists(st.lists(LINES, max_size=8).map("\n".join), min_size=1, max_size=6)


def split(data: bytes, size: int = 1 << 20) -> list[tuple[int, bytes]]:
    splitter, found = MboxSplitter(), []
    pieces = [
        piece for start in range(0, len(data), size) for piece in splitter.feed(data[start : start + size])
    ]
    for piece in (*pieces, *splitter.finish()):
        if isinstance(piece, int):
            found.append((piece, b""))
        else:
            found[-1] = (found[-1][0], found[-1][1] + piece)
    return found


def mails(data: bytes, size: int = 1 << 20) -> list[bytes]:
    return [mail for _, mail in split(data, size)]


@given(bodies=MAILS, size=st.integers(1, 200))
def test_what_the_standard_library_writes_is_read_as_it_reads_it(
    bodies: list[str], size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path: Path = tmp_path_factory.mktemp("mbox") / "box"
    box = mailbox.mbox(path)
    for number, body in enumerate(bodies):
        box.add(f"Subject: {number}\n\n{body}".encode())
    box.close()
    box = mailbox.mbox(path)
    expected = [re.sub(rb"(?m)^>(>*From )", rb"\1", box.get_bytes(key)) for key in box.iterkeys()]
    box.close()
    assert mails(path.read_bytes(), size) == expected


@given(bodies=MAILS, size=st.integers(1, 80))
def test_where_chunks_end_changes_nothing(bodies: list[str], size: int) -> None:
    data = "".join(f"{SENDER}Subject: x\n\n{body}\n\n" for body in bodies).encode()
    assert split(data, size) == split(data)


@given(bodies=MAILS)
def test_every_mail_comes_back_as_it_was(bodies: list[str]) -> None:
    wanted = [f"Subject: {number}\n\n{body}\n".encode() for number, body in enumerate(bodies)]
    quoted = [
        b"\n".join(
            b">" + line if line.lstrip(b">").startswith(b"From ") else line for line in mail.split(b"\n")
        )
        for mail in wanted
    ]
    assert mails(b"".join(SENDER.encode() + mail + b"\n" for mail in quoted)) == wanted


PROSE = "Subject: x\n\nHello,\n\nFrom our office in 2026 there are news.\nFrom 10:00 on.\n"


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_prose_that_nobody_quoted_is_no_mail_of_its_own(size: int) -> None:
    assert mails(f"{SENDER}{PROSE}\n{SENDER}{PROSE}".encode(), size) == [PROSE.encode()] * 2


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "line",
    [
        "From - Sat Nov 21 10:00:00 2026",
        "From reader@example.com  Sat Nov 21 10:00:00 2026",
        "From reader@example.com Sat, 21 Nov 2026 10:00:00 +0100",
        "From reader@example.com",
        "From ???@??? Sat Nov 21 10:00:00 2026",
    ],
)
def test_lines_between_mails_are_as_varied_as_their_writers(line: str, newline: str) -> None:
    mail = f"Subject: x{newline}{newline}text{newline}"
    data = f"{line}{newline}{mail}{newline}" * 3
    found = split(data.encode(), 5)
    assert [raw.decode() for _, raw in found] == [mail] * 3
    assert all(data.encode()[offset:].startswith(b"Subject") for offset, _ in found)


def test_mails_without_an_empty_line_between_are_told_apart_by_a_whole_date() -> None:
    assert mails(f"{SENDER}A: 1\n\ntext\n{SENDER}B: 2\n\ntext\n".encode()) == [
        b"A: 1\n\ntext\n",
        b"B: 2\n\ntext\n",
    ]


@pytest.mark.parametrize("size", [1000, 65_536, 65_537, 1 << 20])
def test_a_line_of_any_length_is_whole_and_not_kept(size: int) -> None:
    line = b">From " + b"x" * 300_000 + b"\r"
    data = SENDER.encode() + b"Subject: x\n\n" + line + b"\n\n" + SENDER.encode() + b"B: 2\n"
    splitter = MboxSplitter()
    for start in range(0, len(data), size):
        list(splitter.feed(data[start : start + size]))
        assert len(splitter._carry) <= 65_536
    assert mails(data, size) == [b"Subject: x\n\n" + line[1:] + b"\n", b"B: 2\n"]


def test_a_byte_order_mark_and_empty_lines_before_are_of_no_mail() -> None:
    assert mails(b"\xef\xbb\xbf" + SENDER.encode() + b"A: 1\n") == [b"A: 1\n"]
    assert mails(b"\n\n" + SENDER.encode() + b"A: 1\n", 1) == [b"A: 1\n"]
