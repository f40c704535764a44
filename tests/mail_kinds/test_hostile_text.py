"""Text made to be slow: every pattern is to cost no more than the length of what it looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.mail.kinds import kind_of
from pipelines.mail.parsed import Headers, ParsedMail, Part
from schemas.mail import KINDS

if TYPE_CHECKING:
    from pipelines.mail.kinds import Kind
    from pipelines.mail.policy import MailPolicy

WORDS = (
    "user", " ", "unknown", "mailbox", "not ", "<", ">", "@", "a@b.example", ".", "550", "5.1.1", "-", "(", ")", ":",
    "\n",
    "is ", "was ", "exceed", "quota", "RCPT TO:", "Final-Recipient:", "rfc822;", "Action:", "attachment", "x" * 70,
    "message ", "too ", "spam", "domain ", "=?utf-8?q?", "\\x{41}", "\t", "\r", "Received:", "---", "unsubscribe", "*",
    "account ", "the ", "0", "é", "\0", "Subject:", "Sender:", "over", "block", "[", "]", "127.0.0.1", "::",
)  # fmt: skip
"""What patterns begin with, go on with and end in."""
LONGEST = 40_000
"""Characters: what costs its square takes minutes, so that the test's time runs out; what does not, takes 20 ms."""
pytestmark = pytest.mark.timeout(120)


def mail(text: str) -> ParsedMail:
    """A text at every place that is looked at."""
    original = ParsedMail(
        Headers((("Message-ID", text), ("To", text), ("Return-Path", text))), "text/plain", {}
    )
    fields = [
        (name, text) for name in ("Subject", "X-Failed-Recipients", "In-Reply-To", "Auto-Submitted", "To")
    ]
    return ParsedMail(
        Headers((("From", "MAILER-DAEMON <>"), ("Return-Path", "<>"), *fields)),
        "multipart/report",
        {},
        [
            Part("message/delivery-status", text=text),
            Part("message/feedback-report", text=text),
            Part("message/rfc822", message=original),
        ],
        text,
    )


def without(whole: ParsedMail, kind: str) -> ParsedMail:
    parts = [part for part in whole.parts if part.content_type != kind]
    return ParsedMail(whole.headers, "text/plain", {}, parts, whole.text)


def told(text: str, policy: MailPolicy) -> list[Kind]:
    whole = mail(text)
    less = without(whole, "message/delivery-status")
    person = ParsedMail(
        Headers((("From", "a@b.example"), ("Subject", text), ("To", text))), "text/plain", {}, [], text
    )
    return [
        kind_of(each, None, policy)
        for each in (whole, less, without(less, "message/feedback-report"), person)
    ]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(
        st.tuples(st.sampled_from(WORDS), st.sampled_from((1, 2, 50, 400))), min_size=1, max_size=8
    ),
    times=st.sampled_from((1, 200)),
)
def test_nothing_raises_and_nothing_is_slow(
    policy: MailPolicy, pieces: list[tuple[str, int]], times: int
) -> None:
    text = ("".join(word * number for word, number in pieces) * times)[:LONGEST]
    for kind in told(text, policy):
        assert kind.kind in KINDS
        assert len(kind.feedback) <= 500
        assert all(
            len(value) <= 1_020 for row in kind.feedback for value in row.values() if isinstance(value, str)
        )


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("joint", ["", " ", "\n"], ids=["joined", "blanks", "lines"])
def test_one_word_over_and_over(policy: MailPolicy, word: str, joint: str) -> None:
    text = ((word + joint) * (LONGEST // len(word + joint)))[:LONGEST]
    assert len(told(text, policy)) == 4
