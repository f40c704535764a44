"""What machines write, and which of it answers a message: RFC 3834 and the practice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipelines.mail.kinds import automatic

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.mail.kinds import Kind

LIST = "List-Id: <users.example.org>\nPrecedence: list\n"
ANSWER = "In-Reply-To: <a@b.example>\n"


def mail(head: str = "", subject: str = "hello", text: str = "Hi") -> str:
    return f"From: Ann <ann@example.net>\nTo: help@shop.example\nSubject: {subject}\n{head}\n{text}\n"


@pytest.mark.parametrize(
    ("head", "kind", "machine"),
    [
        ("Auto-Submitted: auto-replied\n", "auto_reply", True),
        ("Auto-Submitted: AUTO-REPLIED (vacation); owner-email=ann@example.net\n", "auto_reply", True),
        ("Auto-Submitted: (because) auto-replied\n", "auto_reply", True),
        ("Auto-Submitted: auto-notified; owner-email=ann@example.net\n", "auto_reply", True),
        ("Auto-Submitted: auto-generated\n", "other", True),
        ("Auto-Submitted: auto-generated\n" + ANSWER, "other", True),
        ("Auto-Submitted: no\n", "other", False),
        ("Auto-Submitted: no\n" + ANSWER, "reply", False),
        ("Auto-Submitted: no\nPrecedence: bulk\n", "other", False),
        ("X-Autoreply: yes\n", "auto_reply", True),
        ("X-Autoreply: no\n", "other", False),
        ("X-Autorespond: anything\n", "auto_reply", True),
        ("Precedence: auto_reply\n", "auto_reply", True),
        ("Precedence: bulk\n", "other", True),
        ("Precedence: junk\n" + ANSWER, "reply", False),
        ("Precedence: bulk\nSender: owner-users@example.org\n", "other", False),
        ("Precedence: bulk\nX-Mailing-List: users@example.org\n", "other", False),
        ("Precedence: list\n", "other", False),
        (LIST, "other", False),
        (LIST + ANSWER, "reply", False),
        (
            "List-Id: <users.example.org>\nPrecedence: bulk\nList-Unsubscribe: <mailto:u@e.org>\n" + ANSWER,
            "reply",
            False,
        ),
        ("List-Unsubscribe: <mailto:u@e.org>\n", "other", True),
        ("X-Auto-Response-Suppress: All\n", "other", False),
        ("X-Auto-Response-Suppress: OOF, AutoReply\n" + ANSWER, "reply", False),
        ("Return-Path: <>\n", "other", True),
        ("Return-Path: <>\n" + ANSWER, "auto_reply", True),
        ("Return-Path: <ann@example.net>\n" + ANSWER, "reply", False),
        ("References: <a@b.example>\n", "reply", False),
    ],
)
def test_fields(tell: Callable[..., Kind], head: str, kind: str, *, machine: bool) -> None:
    told = tell(mail(head))
    assert (told.kind, told.automatic) == (kind, machine)


@pytest.mark.parametrize("word", [word for row in automatic.table().subject for word in row.sure])
def test_subjects_that_no_person_writes(tell: Callable[..., Kind], word: str) -> None:
    assert tell(mail(subject=f"{word} November news")).kind == "auto_reply"
    # Letters such as the Turkish dotless i have no way back from capitals.
    shouted = word.upper() if word.upper().casefold() == word.casefold() else word
    assert tell(mail(subject=f"{shouted}: x")).kind == "auto_reply"


@pytest.mark.parametrize("word", [word for row in automatic.table().subject for word in row.likely])
def test_subjects_that_need_another_sign(tell: Callable[..., Kind], word: str) -> None:
    people = tell(mail(subject=f"{word} (Ann)"))
    assert (people.kind, people.automatic) in {("other", False), ("auto_reply", True)}
    for sign in ("Return-Path: <>\n", "X-Auto-Response-Suppress: All\n", "Precedence: bulk\n"):
        assert tell(mail(sign, subject=f"{word} (Ann)")).kind == "auto_reply"


@pytest.mark.parametrize(
    "subject",
    [
        "Re: Automatic reply: news",
        "Your automatic reply",
        "Outofofficedness",
        "OOOh nice",
        "Absence makes",
        "休暇",
    ],
)
def test_people_write_such_words_too(tell: Callable[..., Kind], subject: str) -> None:
    told = tell(mail(subject=subject))
    assert (told.kind, told.automatic) == ("other", False)


def test_reasons_name_nobody(tell: Callable[..., Kind]) -> None:
    assert tell(mail("X-Autoreply-From: ann@example.net\n")).reason == "x-autoreply-from"


def test_encoded_subject(tell: Callable[..., Kind]) -> None:
    subject = "=?utf-8?B?6Ieq5Yqo562U5aSNOiBuZXdz?="
    assert tell(mail(subject=subject)).reason == "subject: 自动答复"


def test_a_list_passes_on_what_people_call_so(tell: Callable[..., Kind]) -> None:
    assert tell(mail(LIST, subject="Out of Office: how do you do it?")).kind == "other"


def test_a_loop_of_vacations_stays_what_it_is(tell: Callable[..., Kind]) -> None:
    head = "Auto-Submitted: auto-replied\nX-Loop: ann@example.net\nReturn-Path: <>\n" + ANSWER
    told = tell(mail(head, subject="Automatic reply: Automatic reply: Re: Automatic reply: hello"))
    assert (told.kind, told.automatic) == ("auto_reply", True)


def test_read_receipts_are_answers_of_machines(tell: Callable[..., Kind]) -> None:
    raw = (
        "From: ann@example.net\nSubject: Read: November news\nMIME-Version: 1.0\n"
        'Content-Type: multipart/report; report-type=disposition-notification; boundary="b"\n\n'
        "--b\nContent-Type: text/plain\n\nIt was read.\n--b\nContent-Type: message/disposition-notification\n\n"
        "Final-Recipient: rfc822;ann@example.net\nDisposition: manual-action/MDN-sent-manually; displayed\n\n--b--\n"
    )
    told = tell(raw)
    assert (told.kind, told.reason) == ("auto_reply", "disposition notification (RFC 8098)")


@pytest.mark.parametrize(
    "sender", ["no-reply@shop.example", "Shop <do_not_reply@shop.example>", "noreply+x@a.example"]
)
def test_nobody_reads_answers(tell: Callable[..., Kind], sender: str) -> None:
    told = tell(f"From: {sender}\nSubject: Your order\n\nIt is on its way.\n")
    assert (told.kind, told.automatic) == ("other", True)
