"""The mail that is sent on: its fields, its text, and what of the original cannot get into its header."""

from __future__ import annotations

from email import message_from_bytes
from email.policy import default
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.mail.distribution.forwarded import Link, forwarded, one_line
from pipelines.mail.distribution.guards import LOOP_HEADER, check_loop, check_trust
from pipelines.mail.distribution.policy import DistributionPolicy, Unsuitable
from pipelines.mail.parsed import Headers

if TYPE_CHECKING:
    from schemas.mail import InboundMail

NOW = 1_795_000_000_000
LINK = Link("phöto\u202egpj.exe", "image/jpeg", 123_456, "0" * 64, "https://b.s3.amazonaws.com/" + "x" * 1500)


def built(*fields: tuple[str, str], text: str = "hello", links: list[Link] | None = None) -> bytes:
    return forwarded(
        b"\1" * 16,
        Headers(fields),
        text,
        links or [],
        sender="Captures <captures@us.example>",
        recipients=["ann@a.example", "bob@a.example"],
        now_ms=NOW,
        until_ms=NOW + 3_600_000,
    )


def test_it_says_who_sends_it_and_that_a_machine_does() -> None:
    mail = message_from_bytes(
        built(("From", "Device <cam7@devices.example>"), ("Subject", "Bewegung im Flur, grün")),
        policy=default,
    )
    assert mail["From"] == "Captures <captures@us.example>"
    assert mail["To"] == "ann@a.example, bob@a.example"
    assert mail["Reply-To"] == "cam7@devices.example"
    assert mail["Subject"] == "Bewegung im Flur, grün"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail[LOOP_HEADER] == "01" * 16
    assert mail["Bcc"] is None
    assert mail.get_content() == "hello\r\n"


def test_links_are_whole_and_names_are_not_what_they_pretend() -> None:
    raw = built(links=[LINK])
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    text = message_from_bytes(raw, policy=default).get_content()
    assert LINK.url in text.splitlines()
    assert "phöto gpj.exe (123 kB)" in text
    assert "\u202e" not in text
    assert "until 2026-11-18 12:06 UTC" in text


@pytest.mark.parametrize(
    "evil", ["x\r\nBcc: eve@evil.example", "x\nBcc: eve@evil.example", "x\u2028Bcc: e", "x\0\x0b\x0cy"]
)
def test_no_field_of_the_original_becomes_two(evil: str) -> None:
    mail = message_from_bytes(
        built(("Subject", evil), ("Reply-To", evil), ("From", f"{evil} <cam@devices.example>")),
        policy=default,
    )
    assert mail["Bcc"] is None
    assert sorted(mail.keys()) == sorted(
        ["From", "To", "Subject", "Date", "Auto-Submitted", LOOP_HEADER, "Content-Type",
         "Content-Transfer-Encoding", "MIME-Version", *(["Reply-To"] if mail["Reply-To"] else [])]
    )  # fmt: skip
    assert "\n" not in mail["Subject"]


def test_answers_go_to_the_one_whom_the_original_names() -> None:
    def reply_to(*fields: tuple[str, str]) -> Any:
        return message_from_bytes(built(*fields), policy=default)["Reply-To"]

    assert reply_to(("From", "a@x.example"), ("Reply-To", "Team <t@x.example>, u@x.example")) == "t@x.example"
    assert reply_to(("From", "a@x.example"), ("Reply-To", "not an address")) == "a@x.example"
    assert reply_to(("From", "ä@x.example")) is None


def test_text_that_cannot_be_encoded_does_not_stop_it() -> None:
    mail = message_from_bytes(built(text="a\ud800b\0c\r\n\rd"), policy=default)
    assert mail.get_content() == "a?b c\r\n\r\nd\r\n"
    assert one_line(" a \t b\r\nc ", 4) == "a b "


def mail_row(**changes: Any) -> InboundMail:
    verdicts = {
        "spf": "PASS",
        "dkim": "",
        "dmarc": "GRAY",
        "spam": "PASS",
        "virus": "PASS",
        "dmarc_policy": "",
    }
    domains = {"from_domain": "devices.example", "envelope_domain": "devices.example"}
    said = verdicts | changes.pop("verdicts", {})
    return {"kind": "other", "verdicts": said, **domains, **changes}  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("fields", "kind", "expected"),
    [
        ([(LOOP_HEADER, "0101")], "other", "loop"),
        ([("x-streams-distributed", "")], "other", "loop"),
        ([("From", "Us <CAPTURES@us.example>")], "other", "loop"),
        ([("Received", "by x")] * 31, "other", "loop"),
        ([], "auto_reply", "automatic"),
        ([], "bounce", "automatic"),
        ([], "complaint", "automatic"),
    ],
)
def test_answers_of_machines_and_our_own_mail_go_no_further(
    fields: list[tuple[str, str]], kind: str, expected: str
) -> None:
    with pytest.raises(Unsuitable) as refused:
        check_loop(mail_row(kind=kind), Headers(tuple(fields)), "captures@us.example")
    assert refused.value.cause == expected


def test_what_is_sent_on_is_itself_a_loop_when_it_comes_back() -> None:
    back = message_from_bytes(built(("From", "cam7@devices.example")), policy=default)
    with pytest.raises(Unsuitable):
        check_loop(
            mail_row(), Headers(tuple((name, str(value)) for name, value in back.items())), "else@us.example"
        )


FROM = ("From", "cam7@devices.example")


@pytest.mark.parametrize(
    ("fields", "verdicts", "expected"),
    [
        ([FROM], {"virus": "FAIL"}, "virus"),
        ([FROM], {"spam": "FAIL"}, "spam"),
        ([], {}, "sender_not_allowed"),
        ([("From", "cam7@devices.example, eve@evil.example")], {}, "sender_not_allowed"),
        ([("From", "eve@evil.example")], {}, "sender_not_allowed"),
        ([FROM], {"dmarc": "FAIL"}, "not_authenticated"),
        ([FROM], {"spf": "", "dmarc": ""}, "not_authenticated"),
        ([FROM], {"spf": "FAIL", "dkim": "GRAY"}, "not_authenticated"),
        ([FROM], {"dmarc": "PASS", "spf": "FAIL"}, ""),
        ([FROM], {"spf": "", "dkim": "PASS"}, "not_authenticated"),
        ([FROM], {"dmarc": "GRAY", "spf": "PASS"}, ""),
    ],
)
def test_mail_is_sent_on_for_those_who_may_and_are_who_they_say(
    fields: list[tuple[str, str]], verdicts: dict[str, str], expected: str
) -> None:
    policy = DistributionPolicy("c@us.example", senders=("*@devices.example",))
    found = ""
    try:
        check_trust(mail_row(verdicts=verdicts), Headers(tuple(fields)), policy)
    except Unsuitable as refused:
        found = refused.cause
    assert found == expected


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("devices.example", ""),
        ("Bounces.Devices.example", ""),
        ("evil.example", "not_authenticated"),
        ("evildevices.example", "not_authenticated"),
        ("", "not_authenticated"),
    ],
)
def test_spf_of_another_domain_shows_nothing(domain: str, expected: str) -> None:
    verdicts = {"dmarc": "GRAY", "spf": "PASS", "dkim": "PASS"}
    policy = DistributionPolicy("c@us.example", senders=("*@devices.example",))
    found = ""
    try:
        check_trust(mail_row(verdicts=verdicts, envelope_domain=domain), Headers((FROM,)), policy)
    except Unsuitable as refused:
        found = refused.cause
    assert found == expected
