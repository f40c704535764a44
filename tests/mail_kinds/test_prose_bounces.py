"""Bounces in prose, each of a mail system's making; what each comes to stands in `mails.tsv`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.mail.kinds import Kind

HERE = Path(__file__).parent
SES_ID = "0102018f00000001-11111111-2222-3333-4444-555555555555-000000"
ROWS = [
    line.split("\t")
    for line in (HERE / "mails.tsv").read_text("utf-8").splitlines()
    if line and not line.startswith("#")
]


def outcome(kind: Kind) -> list[str]:
    return [
        " ".join(
            [
                row["address"],
                row["action"] or "-",
                row["status"] or "-",
                f"{row['bounce_type'] or '-'}/{row['bounce_subtype'] or '-'}",
            ]
        )
        for row in kind.feedback
    ]


def test_every_mail_has_a_row() -> None:
    assert sorted(row[0] for row in ROWS) == sorted(path.stem for path in (HERE / "mails").glob("*.eml"))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_prose(tell: Callable[..., Kind], row: list[str], end: bytes) -> None:
    name, form, *recipients = row
    raw = (HERE / "mails" / f"{name}.eml").read_bytes().replace(b"\n", end)
    kind = tell(raw)
    assert (kind.kind, kind.reason, kind.automatic) == ("bounce", f"bounce in prose: {form}", True)
    assert outcome(kind) == recipients
    assert {row["ses_id"] for row in kind.feedback} == {SES_ID}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_forwarded_by_a_person_it_is_none(tell: Callable[..., Kind], row: list[str]) -> None:
    """The same text in a mail that somebody wrote."""
    body = (HERE / "mails" / f"{row[0]}.eml").read_text("utf-8").partition("\n\n")[2]
    head = (
        "Return-Path: <bob@example.org>\nFrom: Bob <bob@example.org>\nTo: help@shop.example\n"
        "Subject: Fwd: what is this?\nContent-Type: text/plain; charset=utf-8\n\nLook:\n\n"
    )
    kind = tell(head + body)
    assert (kind.kind, kind.automatic, kind.feedback) == ("other", False, [])
