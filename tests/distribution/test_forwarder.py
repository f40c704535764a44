"""What a forwarder does of a mail, and of what SES, SNS and S3 answer."""

from __future__ import annotations

import hashlib
from email import message_from_bytes
from email.policy import default
from typing import Any

import pytest
from msgspec.structs import replace

from connectors.notify.page import NotDelivered

THROTTLED = NotDelivered("SES is asked too often", retry_after_s=3.0)
REJECTED = NotDelivered("Email address is not verified: eve@x.example", for_good=True)
UNCLEAR = NotDelivered("SES did not answer within 30 s", unknown=True)


def test_a_mail_is_sent_with_a_link_in_place_of_its_photo(world: Any) -> None:
    mail = world.add(world.raw())
    world.life().run(mail)
    assert world.outcomes() == ["intended", "sent"]
    row = world.last()
    assert (row["ses_message_id"], row["links"], row["refused"]) == ("ses-1", 1, 0)
    assert row["recipients"] == [{"address": "ann@a.example", "domain": "a.example"}]
    assert row["links_until"] == round(world.now * 1000) + 168 * 3_600_000
    [(raw, recipients)] = world.mailbox
    assert recipients == ("ann@a.example",)
    sent = message_from_bytes(raw, policy=default)
    digest = hashlib.sha256(world.photo).hexdigest()
    assert not sent.is_multipart()
    assert f"https://links.example/{digest}?for=604800&name=hall.jpg" in sent.get_content()
    assert "Motion." in sent.get_content()
    assert "[[to:" not in sent.get_content()
    assert world.store.contents == {digest: world.photo}
    assert world.told == []


def test_a_mail_that_comes_again_by_any_way_is_sent_once(world: Any) -> None:
    mail = world.add(world.raw())
    life = world.life()
    life.run(mail, mail)
    life.run(mail)
    world.life().run(mail, {**mail, "path": "sns"})
    assert len(world.mailbox) == 1
    assert world.outcomes() == ["intended", "sent"]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("no markers", "markers_missing"),
        ("[[to: x@a.example]] [[to: y@a.example]]", "markers_repeated"),
        ("[[to: eve@evil.example]]", "no_recipients"),
        (
            "[[to: " + ",".join(f"{number}@a.example" for number in range(10_000)) + "]]",
            "too_many_recipients",
        ),
    ],
)
def test_what_names_nobody_goes_to_the_fallback_with_links(world: Any, text: str, cause: str) -> None:
    world.life().run(world.add(world.raw(text)))
    assert world.mailbox == []
    assert world.outcomes() == ["fallback"]
    assert (world.last()["reason"], world.last()["fallback_id"][:5]) == (cause, "sns-1")
    [told] = world.told
    assert (told["reason"], told["outcome"], told["subject"]) == (cause, "fallback", "Capture")
    assert [link["name"] for link in told["links"]] == ["hall.jpg"]


def test_html_alone_names_nobody(world: Any) -> None:
    raw = (
        world.raw("x")
        .replace(b"text/plain", b"text/html")
        .replace(b"\n\nx\n", b"\n\n[[to: ann@a.example]]\n")
    )
    world.life().run(world.add(raw))
    assert (world.outcomes(), world.last()["reason"]) == (["fallback"], "markers_missing")


def test_the_good_recipients_get_it_and_the_fallback_knows_of_the_others(world: Any) -> None:
    world.life().run(world.add(world.raw("[[to: ann@a.example, eve@evil.example, nonsense]]")))
    assert world.mailbox[0][1] == ("ann@a.example",)
    [told] = world.told
    assert told["reason"] == "recipients_refused"
    assert told["refused"] == [
        {"text": "eve@evil.example", "reason": "domain_not_allowed"},
        {"text": "nonsense", "reason": "malformed"},
    ]
    assert (world.last()["outcome"], world.last()["refused"]) == ("sent", 2)


@pytest.mark.parametrize(
    ("changes", "fields", "cause"),
    [
        ({"received_time": 0}, {}, "too_old"),
        ({"path": "file"}, {}, "replayed"),
        ({"kind": "auto_reply"}, {}, "automatic"),
        ({}, {"X_Streams_Distributed": "00"}, "loop"),
        ({}, {"From": "captures@us.example"}, "loop"),
    ],
)
def test_what_is_none_to_be_sent_on_is_skipped_and_nobody_is_told(
    world: Any, changes: dict[str, Any], fields: dict[str, str], cause: str
) -> None:
    world.life().run(world.add(world.raw(**fields), **changes))
    assert (world.mailbox, world.told) == ([], [])
    assert (world.outcomes(), world.last()["reason"]) == (["skipped"], cause)


def test_what_was_sent_on_is_not_sent_on_again_when_it_comes_back(world: Any) -> None:
    life = world.life()
    life.run(world.add(world.raw()))
    life.run(world.add(world.mailbox[0][0]))
    assert len(world.mailbox) == 1
    assert (world.last()["outcome"], world.last()["reason"]) == ("skipped", "loop")


def test_a_throttled_mail_is_tried_again_later_and_so_are_the_others(world: Any) -> None:
    world.answers = [THROTTLED] * 5
    life = world.life()
    began = world.now
    life.run(world.add(world.raw()), world.add(world.raw()), step_s=0.5)
    assert len(world.mailbox) == 2
    assert world.outcomes().count("sent") == 2
    assert world.outcomes().count("deferred") == 5
    assert 3 + 3 + 4 + 8 + 16 <= world.now - began <= 3 + 3 + 4 + 8 + 16 + 10
    assert world.last()["detail"] == ""
    assert world.told == []


def test_what_ses_will_never_take_goes_to_the_fallback_without_addresses_in_the_row(world: Any) -> None:
    world.answers = [REJECTED]
    world.life().run(world.add(world.raw()))
    assert world.outcomes() == ["intended", "fallback"]
    assert world.last()["reason"] == "rejected"
    assert world.told[0]["detail"] == REJECTED.reason
    assert world.told[0]["links"]


@pytest.mark.parametrize("taken", [True, False])
def test_a_mail_of_which_nobody_knows_is_told_and_not_sent_again(world: Any, taken: bool) -> None:  # noqa: FBT001
    world.answers = [(UNCLEAR, "taken")] if taken else [UNCLEAR]
    mail = world.add(world.raw())
    world.life().run(mail)
    world.life().run(mail)
    assert len(world.mailbox) == int(taken)
    assert world.outcomes() == ["intended", "unknown"]
    assert [told["outcome"] for told in world.told] == ["unknown"]


def test_an_unclear_answer_is_asked_again_only_where_settings_say_so(world: Any) -> None:
    world.answers = [UNCLEAR]
    world.life(replace(world.settings, resend_unclear=True)).run(world.add(world.raw()))
    assert world.outcomes() == ["intended", "deferred", "intended", "sent"]


def test_while_s3_is_away_a_mail_waits_and_is_given_up_in_the_end(world: Any) -> None:
    mail, other = world.add(world.raw()), world.add(world.raw())
    raw = world.mails.pop(mail["object"])
    life = world.life()
    life.run(mail, other, seconds=600)
    assert world.outcomes() == ["intended", "sent"]  # of the other, which does not wait for it
    world.mails[mail["object"]] = raw
    life.run()
    assert len(world.mailbox) == 2
    late = world.add(world.raw())
    del world.mails[late["object"]]
    life.run(late)
    assert (world.last()["outcome"], world.last()["reason"]) == ("fallback", "gave_up")
    assert "S3 is away" in world.told[0]["detail"]


def test_while_the_store_is_down_nothing_is_sent(world: Any) -> None:
    world.store.down = True
    mail = world.add(world.raw())
    life = world.life()
    life.run(mail, seconds=60)
    assert (world.log, world.mailbox) == ([], [])
    world.store.down = False
    life.run()
    assert world.outcomes() == ["intended", "sent"]


def test_copies_of_a_mail_are_put_together_before_it_is_judged(world: Any) -> None:
    mail = world.add(world.raw())
    nothing = dict.fromkeys(mail["verdicts"], "")
    life = world.life()
    life.run({**mail, "object": ""}, seconds=60)
    life.run({**mail, "verdicts": nothing}, seconds=60)
    assert world.outcomes() == ["intended", "sent"]
    other = world.add(world.raw())
    life.run({**other, "verdicts": nothing}, seconds=60)
    assert world.outcomes() == ["intended", "sent"]
    life.run({**other, "object": ""}, seconds=60)
    assert world.outcomes() == ["intended", "sent"] * 2


def test_a_mail_of_which_nobody_says_who_sent_it_is_not_sent(world: Any) -> None:
    mail = world.add(world.raw())
    world.life().run({**mail, "verdicts": dict.fromkeys(mail["verdicts"], "")})
    assert (world.mailbox, world.last()["reason"]) == ([], "not_authenticated")
    assert world.told[0]["links"] == []


def test_a_mail_whose_bytes_are_nowhere_goes_to_the_fallback(world: Any) -> None:
    world.life().run(world.add(world.raw(), object=""))
    assert (world.outcomes(), world.last()["reason"]) == (["fallback"], "no_object")


def test_the_fallback_is_told_until_it_takes_it(world: Any) -> None:
    world.fallback_answers = [THROTTLED] * 4
    world.life().run(world.add(world.raw("no markers")))
    assert (world.outcomes(), len(world.told)) == (["fallback"], 1)


def test_without_a_fallback_that_works_the_row_says_it(world: Any) -> None:
    world.fallback_answers = [NotDelivered("there is no topic: create it", for_good=True)]
    world.life().run(world.add(world.raw("no markers")))
    assert world.outcomes() == ["untold"]
    assert "there is no topic" in world.last()["detail"]


def test_what_cannot_be_parsed_goes_to_the_fallback(world: Any) -> None:
    deep = b"".join(
        b"Content-Type: multipart/mixed; boundary=%d\n\n--%d\n" % (each, each) for each in range(40)
    )
    world.life().run(world.add(b"From: cam7@devices.example\nMIME-Version: 1.0\n" + deep))
    assert (world.outcomes(), world.last()["reason"]) == (["fallback"], "unreadable")


def test_sender_and_receiver_without_a_text_of_their_own_hold_no_more_than_a_hundred_links(
    world: Any,
) -> None:
    from email.message import EmailMessage

    mail = EmailMessage()
    mail["From"] = "cam7@devices.example"
    mail.set_content("[[to: ann@a.example]]")
    for number in range(101):
        mail.add_attachment(b"%d" % number, "image", "jpeg", filename=f"{number}.jpg")
    world.life().run(world.add(mail.as_bytes()))
    assert (world.outcomes(), world.last()["reason"]) == (["fallback"], "too_many_attachments")
