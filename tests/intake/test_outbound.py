"""What events say of messages sent, for threads: from which events, and which ids, subjects and conversations."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from pipelines.intake.identity import marks
from pipelines.intake.intake import Intake
from pipelines.intake.policy import NormalisePolicy
from pipelines.intake.provenance import Provenance
from pipelines.mail.policy import ConversationRule, MailPolicy
from schemas.avro import newest
from schemas.blocks import BlockBuilder, decode

SES_ID = "0102019b00000000-0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9-000000"
SOURCE = Provenance("file:///events.json", 0, "file")
RULE = ConversationRule("case", re.compile(r"case-(\d+)(?:\+.*)?@support\.example"))


def policy(**facts: Any) -> NormalisePolicy:
    plain = NormalisePolicy(pii="plain", **facts)
    return NormalisePolicy(
        pii="plain",
        outbound=MailPolicy(directory=plain.directory(), pii="plain", conversations=(RULE,)),
        **facts,
    )


def sent(kind: str = "Send", headers: Any = (), common: Any = None, **mail: Any) -> bytes:
    """An event, as SES publishes it."""
    facts = {
        "timestamp": "2026-10-05T10:00:00.000Z",
        "source": "Shop <news@shop.example>",
        "sourceArn": "arn:aws:ses:eu-west-1:111122223333:identity/shop.example",
        "sendingAccountId": "111122223333",
        "messageId": SES_ID,
        "destination": ["Ann@mail.example"],
        "headers": [{"name": name, "value": value} for name, value in headers],
        "commonHeaders": common or {"messageId": SES_ID},
        "tags": {
            "ses:configuration-set": ["marketing"],
            "ses:from-domain": ["shop.example"],
            "ses:tenant-name": ["acme"],
            "ses:feedback-id-a": ["autumn"],
        },
    }
    about = {"timestamp": "2026-10-05T10:00:01.000Z", "recipients": ["ann@mail.example"]}
    return json.dumps({"eventType": kind, "mail": facts | mail, kind.lower(): about}).encode()


def rows(*documents: bytes, intake: Intake | None = None) -> list[Any]:
    intake = intake or Intake(policy())
    return [row for document in documents for row in intake.take(document, SOURCE).outbound]


def row(**facts: Any) -> Any:
    (found,) = rows(sent(**facts))
    return found


def test_a_send_says_all_that_leads_back_to_a_campaign() -> None:
    found = row(headers=[("Subject", "Re: Your order"), ("Message-ID", "<1@shop.example>")])
    assert found == {
        "message_id": SES_ID,
        "header_message_id": "1@shop.example",
        "sent_time": 1_791_194_400_000,
        "tenant": "acme",
        "account": "111122223333",
        "region": "eu-west-1",
        "configuration_set": "marketing",
        "from_domain": "shop.example",
        "feedback_a": "autumn",
        "feedback_b": "",
        "feedback_c": "eu-west-1.111122223333",
        "campaign": "autumn",
        "subject": "Re: Your order",
        "base_subject": "your order",
        "in_reply_to": [],
        "references": [],
        "conversations": [],
        "recipients": marks(["ann@mail.example"]),
    }
    builder = BlockBuilder(newest("outbound_message"))
    builder.add(found)
    (read,) = decode(builder.take())
    assert {name: value for name, value in read.items() if name != "sent_time"} == {
        name: value for name, value in found.items() if name != "sent_time"
    }


@pytest.mark.parametrize(
    ("headers", "common", "expected"),
    [
        ([("message-id", " <a@b>\r\n")], None, "a@b"),
        ([("Message-Id", "no-brackets@b")], None, "no-brackets@b"),
        ([("Message-ID", f"<{SES_ID}@email.amazonses.com>")], None, ""),
        ([("Message-ID", f"<{SES_ID}@eu-west-1.amazonses.com>")], None, ""),
        ([("Message-ID", SES_ID)], None, ""),
        ([("Message-ID", f"<{SES_ID}@notamazonses.com>")], None, f"{SES_ID}@notamazonses.com"),
        ([("Subject", "none")], {"messageId": "<other@b>"}, ""),
        ([], {"messageId": "<own@b>"}, "own@b"),
        ([], {"messageId": SES_ID}, ""),
        ([], None, ""),
    ],
)
def test_the_callers_own_message_id(headers: Any, common: Any, expected: str) -> None:
    assert row(headers=headers, common=common)["header_message_id"] == expected


def test_what_is_cited_but_for_addresses_of_the_message_itself() -> None:
    found = row(
        headers=[
            ("In-Reply-To", "your mail <a@b> of Monday, ann@mail.example"),
            ("References", "<r1@b>\r\n <ANN@mail.example>\r\n\t<r2@b> <r1@b>"),
        ]
    )
    assert (found["in_reply_to"], found["references"]) == (["a@b"], ["r1@b", "r2@b"])


def test_conversations_are_named_by_recipients_and_by_where_replies_go() -> None:
    found = row(
        headers=[("From", "Help <case-1@support.example>"), ("Reply-To", "case-2+ann@support.example")],
        destination=["Case-3@Support.example", "ann@mail.example"],
    )
    assert sorted(found["conversations"]) == ["case:1", "case:2", "case:3"]


@pytest.mark.parametrize("headers", ["cut off", {"name": 1}, [{"name": "Subject"}], None])
def test_headers_that_say_nothing_leave_it_to_the_common_ones(headers: Any) -> None:
    found = row(
        headers=[], common={"subject": "=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "replyTo": ["case-7@support.example"]}
    )
    assert (found["subject"], found["conversations"]) == ("Grüße", ["case:7"])
    document = json.loads(sent(common={"subject": "Hello", "from": "x"}))
    document["mail"]["headers"] = headers
    (found,) = rows(json.dumps(document).encode())
    assert (found["subject"], found["base_subject"]) == ("Hello", "hello")


def test_common_headers_of_another_shape_lose_neither_event_nor_row() -> None:
    taken = Intake(policy()).take(sent(common={"subject": 7}), SOURCE)
    assert (len(taken.events), len(taken.outbound), taken.dead_letters) == (1, 1, [])


SUBJECT = [("Subject", "Hello")]


def test_a_delivery_says_it_where_send_does_not() -> None:
    delivery = sent("Delivery", SUBJECT)
    assert len(rows(delivery, delivery)) == 2
    assert len(rows(sent("Send", SUBJECT), delivery)) == 1
    assert rows(sent("Open", SUBJECT), sent("Bounce", SUBJECT)) == []
    intake = Intake(policy())
    later = sent("Delivery", SUBJECT, timestamp="2026-10-05T11:00:00.000Z")
    assert len(rows(sent("Send", SUBJECT), later, intake=intake)) == 2


def test_of_a_template_the_delivery_says_the_subject() -> None:
    """SES makes it after Send; of all messages of the hour, for it is not known whose are of templates."""
    first, second, third = rows(sent(), sent("Send", SUBJECT), sent("Delivery", SUBJECT))
    assert [first["subject"], second["subject"], third["subject"]] == ["", "Hello", "Hello"]


def test_every_row_of_a_message_says_the_same() -> None:
    headers = [*SUBJECT, ("Message-ID", "<1@shop.example>"), ("References", "<a@b>")]
    send, delivery = rows(sent("Send", headers)), rows(sent("Delivery", headers))
    assert send == delivery


def test_every_row_of_a_message_has_all_its_recipients() -> None:
    everybody = ["Ann@Mail.example", "Bob <bob@mail.example>", "ann@mail.example"]
    (send,), (delivery,) = (rows(sent(kind, destination=everybody)) for kind in ("Send", "Delivery"))
    assert send["recipients"] == delivery["recipients"] == marks(["ann@mail.example", "bob@mail.example"])


@pytest.mark.parametrize(
    "everybody", [["Ann@Mail.example", "Bob <bob@mail.example>"], ["<>", "ann@mail.example"], []]
)
def test_a_delivery_to_everybody_has_the_recipients_that_one_to_nobody_has(everybody: list[str]) -> None:
    found = []
    for recipients in (everybody, ["nobody@mail.example"]):
        document = json.loads(sent("Delivery", SUBJECT, destination=everybody))
        document["delivery"]["recipients"] = recipients
        found += rows(json.dumps(document).encode())
    first, second = found
    assert first == second


def test_without_tags_or_unasked_nothing_is_said() -> None:
    document = json.loads(sent("Delivery", SUBJECT))
    del document["mail"]["tags"]
    assert rows(json.dumps(document).encode()) == []
    assert rows(sent(), intake=Intake(NormalisePolicy(pii="plain"))) == []


def test_keys_of_conversations_are_hashed_like_those_of_mail_received() -> None:
    plain = NormalisePolicy(pii_key=b"k")
    hidden = MailPolicy(directory=plain.directory(), pii_key=b"k", conversations=(RULE,))
    intake = Intake(NormalisePolicy(pii_key=b"k", outbound=hidden))
    (found,) = rows(sent(destination=["case-3@support.example"]), intake=intake)
    (name,) = found["conversations"]
    assert re.fullmatch("case:[0-9a-f]{32}", name)
