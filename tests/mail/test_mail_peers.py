"""Mails that the standard library writes come back as they were."""

from __future__ import annotations

import email
import email.policy
from email.headerregistry import Address
from email.message import EmailMessage

from hypothesis import given, settings
from hypothesis import strategies as st
from mail_making import STEADY, read, taken_apart

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Zl", "Zp")), max_size=200)
NAME = st.text(st.characters(codec="utf-8", categories=("L", "N")), min_size=1, max_size=20)
PHRASE = st.lists(NAME, min_size=1, max_size=5).map(" ".join)
ENCODINGS = st.sampled_from(["base64", "quoted-printable", "8bit"])


@st.composite
def messages(draw: st.DrawFn, depth: int = 0) -> EmailMessage:
    """Text, perhaps HTML, files and a message."""
    message = EmailMessage(
        policy=email.policy.SMTP.clone(max_line_length=draw(st.sampled_from([60, 78, 200])))
    )
    message["Subject"] = draw(PHRASE)
    message["From"] = Address(draw(PHRASE), "ann", "example.com")
    message["To"] = [
        Address(draw(PHRASE), f"a{number}", "example.org") for number in range(draw(st.integers(1, 4)))
    ]
    message["Message-ID"] = "<abc@example.com>"
    message.set_content("\n".join(draw(st.lists(TEXT, max_size=4))), cte=draw(ENCODINGS))
    if draw(st.booleans()):
        message.add_alternative(f"<p>{draw(NAME)}</p>", subtype="html", cte=draw(ENCODINGS))
    for _ in range(draw(st.integers(0, 2))):
        name = draw(PHRASE) + draw(st.sampled_from([".pdf", ' "a".txt', "; b"]))
        message.add_attachment(
            draw(st.binary(max_size=300)), maintype="application", subtype="x", filename=name
        )
    if depth == 0 and draw(st.booleans()):
        message.add_attachment(draw(messages(depth=1)))
    return message


def subjects(message: EmailMessage) -> set[str]:
    """As it was set, and as the library reads what it wrote: folding may cost it a space."""
    return {
        message["Subject"],
        email.message_from_bytes(bytes(message), policy=email.policy.default)["Subject"],
    }


def lines(text: object) -> list[str]:
    return [line.rstrip("\r") for line in str(text).rstrip("\r\n").split("\n")]


@settings(STEADY, max_examples=80)
@given(messages())
def test_a_message_comes_back(message: EmailMessage) -> None:
    raw = bytes(message)
    parsed = taken_apart(raw)
    assert (parsed.defects, parsed.content_type) == ([], message.get_content_type())
    assert parsed.headers.get("Subject") in subjects(message)
    leaves = [part for part in message.walk() if not part.is_multipart()]
    ours = [part for part in parsed.parts if part.message is None]
    for part in parsed.parts:
        ours += part.message.parts if part.message else []
    assert [part.content_type for part in ours] == [part.get_content_type() for part in leaves]
    for part, leaf in zip(ours, leaves, strict=True):
        if leaf.get_content_maintype() == "text":
            assert lines(part.text) == lines(leaf.get_content())
        else:
            assert (part.content, part.filename) == (
                leaf.get_content(),
                (leaf.get_filename() or "").strip(' "'),
            )


@settings(STEADY, max_examples=40)
@given(messages())
def test_its_row_has_its_people_and_its_files(message: EmailMessage) -> None:
    row = read(bytes(message)).mail
    assert row["from_address"] == "ann@example.com"
    assert row["subject"] in subjects(message)
    # The library may hide a comma in an encoded word: then their order is lost, and nothing else.
    assert sorted(each["address"] for each in row["recipients"]) == [
        each.addr_spec for each in message["To"].addresses
    ]
    assert len(row["attachments"]) == len(list(message.iter_attachments()))
