"""Every way SES tells of received mail ends as a mail, its object, a side note, or a rejection with its cause."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.intake.intake import Intake
from pipelines.intake.outcomes import MailContent, MailObject
from pipelines.intake.policy import NormalisePolicy
from pipelines.intake.provenance import Provenance
from pipelines.intake.sniffing import is_mbox, looks_like_mail

TOPIC = "arn:aws:sns:eu-west-1:111122223333:received"
SES_ID = "o3vrnil0e2ic28trm7dfhrc2v0clambda4nbp0g1"
RAW = "Return-Path: <a@example.org>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nGrüße 🦆\r\n"
PROVENANCE = Provenance("sqs://q/1", 1_795_000_000_000, "sns")


def received(action: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "notificationType": "Received",
        "mail": {
            "timestamp": "2026-11-20T10:00:00.000Z",
            "source": "<bounce+x@example.org>",
            "messageId": SES_ID,
            "destination": ["list@example.com", "other@example.net"],
        },
        "receipt": {
            "timestamp": "2026-11-20T10:00:01.500Z",
            "processingTimeMillis": 222,
            "recipients": ["in@acme.example.com"],
            "spamVerdict": {"status": "DISABLED"},
            "virusVerdict": {"status": "DISABLED"},
            "spfVerdict": {"status": "PASS"},
            "dkimVerdict": {"status": "GRAY"},
            "dmarcVerdict": {"status": "FAIL"},
            "dmarcPolicy": "REJECT",
            "action": action,
        },
    } | more


def in_sns(message: Any) -> dict[str, Any]:
    text = message if isinstance(message, str) else json.dumps(message)
    return {"Type": "Notification", "TopicArn": TOPIC, "MessageId": "m", "Message": text}


def taken(document: Any, **policy: Any) -> Any:
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Intake(NormalisePolicy(pii="plain", **policy)).take(data, PROVENANCE)


SNS = {"type": "SNS", "topicArn": TOPIC, "encoding": "UTF8"}
BASE64 = SNS | {"encoding": "BASE64"}
S3 = {
    "type": "S3",
    "topicArn": TOPIC,
    "bucketName": "mails",
    "objectKeyPrefix": "in",
    "objectKey": f"in/a+b {SES_ID}",
}


def test_a_notification_with_the_mail_is_the_mail_with_what_ses_says_of_it() -> None:
    (mail,) = taken(in_sns(received(SNS, content=RAW))).mails
    assert isinstance(mail, MailContent)
    assert (mail.raw, mail.path) == (RAW.encode(), "sns")
    notice = mail.notice
    assert (notice.ses_id, notice.account, notice.region) == (SES_ID, "111122223333", "eu-west-1")
    assert (notice.envelope_from, notice.recipients) == ("bounce+x@example.org", ("in@acme.example.com",))
    assert notice.time == 1_795_168_801_500
    assert notice.verdicts == {
        "spf": "PASS",
        "dkim": "GRAY",
        "dmarc": "FAIL",
        "spam": "DISABLED",
        "virus": "DISABLED",
        "dmarc_policy": "reject",
    }


@given(body=st.binary(max_size=300))
def test_base64_brings_any_bytes_as_they_are(body: bytes) -> None:
    raw = b"Subject: x\r\n\r\n" + body
    content = base64.b64encode(raw).decode()
    for text in (content, base64.encodebytes(raw).decode()):
        (mail,) = taken(in_sns(received(BASE64, content=text))).mails
        assert mail.raw == raw


@pytest.mark.parametrize("action", [BASE64, SNS, {"type": "SNS"}])
def test_an_encoding_that_is_not_said_or_wrong_is_told_by_the_content(action: dict[str, Any]) -> None:
    (mail,) = taken(received(action, content=RAW)).mails
    assert mail.raw == RAW.encode()


def test_half_of_an_emoji_does_not_cost_the_mail() -> None:
    document = json.dumps(received(SNS, content=RAW)).replace("\\ud83e\\udd86", "\\ud83e")
    (mail,) = taken(document.encode()).mails
    assert mail.raw.decode() == RAW.replace("🦆", "\ufffd")


@pytest.mark.parametrize(
    "wrap", [in_sns, lambda each: each, lambda each: {"Records": [{"Sns": in_sns(each)}]}]
)
def test_the_notification_of_an_s3_action_names_the_object(wrap: Any) -> None:
    (mail,) = taken(wrap(received(S3))).mails
    assert isinstance(mail, MailObject)
    assert (mail.ref.bucket, mail.ref.key) == ("mails", f"in/a+b {SES_ID}")
    assert mail.notice.ses_id == SES_ID


@pytest.mark.parametrize("kind", ["Lambda", "Bounce", "Stop", "WorkMail"])
def test_what_something_else_has_is_counted_and_no_more(kind: str) -> None:
    found = taken(in_sns(received({"type": kind, "topicArn": TOPIC})))
    assert (found.mails, found.dead_letters) == ([], [])
    assert found.control_kinds == {f"receipt_{kind.lower()}": 1}


@pytest.mark.parametrize("kind", ["Lambda", "Bounce", "Stop", "SNS", ""])
def test_it_is_the_object_under_the_place_that_is_set(kind: str) -> None:
    found = taken(received({"type": kind}), mail_objects=("mails", "in/"))
    assert [(mail.ref.bucket, mail.ref.key) for mail in found.mails] == [("mails", f"in/{SES_ID}")]


LAMBDA = {"Records": [{"eventSource": "aws:ses", "eventVersion": "1.0", "ses": {}}]}


def lambda_event(**more: Any) -> dict[str, Any]:
    document = received({"type": "Lambda", "functionArn": TOPIC, "invocationType": "Event"})
    del document["notificationType"]
    return {"Records": [{"eventSource": "aws:ses", "eventVersion": "1.0", "ses": document | more}]}


def test_an_event_for_a_function_has_no_mail_unless_a_place_is_set() -> None:
    (letter,) = taken(lambda_event()).dead_letters
    assert (letter["stage"], letter["cause"]) == ("unwrap", "mail_not_included")
    assert "inbound.objects" in letter["detail"]
    assert json.loads(letter["payload"])["messageId"] == SES_ID
    (mail,) = taken(lambda_event(), mail_objects=("mails", "")).mails
    assert (mail.ref.key, mail.notice.recipients) == (SES_ID, ("in@acme.example.com",))


@pytest.mark.parametrize(
    ("document", "cause"),
    [
        (received(SNS), "mail_not_included"),
        (received({"type": "Teleport"}), "mail_not_included"),
        (received({"type": "S3", "bucketName": "b"}), "missing_field"),
        (received(BASE64, content="%%%"), "invalid_base64"),
        ({"notificationType": "Received"}, "mail_not_included"),
    ],
)
def test_a_mail_that_is_lost_is_a_dead_letter(document: Any, cause: str) -> None:
    found = taken(document)
    assert (found.mails, [letter["cause"] for letter in found.dead_letters]) == ([], [cause])


def test_types_that_are_not_as_documented_cost_a_fact_and_not_the_mail() -> None:
    document = received(SNS, content=RAW)
    document["receipt"] |= {
        "recipients": "a@b",
        "dmarcPolicy": {"status": "REJECT"},
        "spfVerdict": 7,
        "timestamp": 3,
    }
    document["mail"] |= {"source": None, "timestamp": "soon"}
    (mail,) = taken(document).mails
    assert (mail.notice.recipients, mail.notice.time, mail.notice.envelope_from) == ((), 0, "")
    assert mail.notice.verdicts is not None
    assert (mail.notice.verdicts["dmarc_policy"], mail.notice.verdicts["spf"]) == ("", "")
    document["receipt"] = {"action": SNS}
    assert taken(document).mails[0].notice.verdicts is None


def test_sess_trial_is_no_mail() -> None:
    for action in (SNS, S3, {}):
        document = received(action, content="From: no-reply-aws@amazon.com\r\n\r\nx")
        document["mail"]["messageId"] = "AMAZON_SES_SETUP_NOTIFICATION"
        assert taken(in_sns(document)).control_kinds == {"setup_notification": 1}


@pytest.mark.parametrize(
    "message",
    [
        RAW,
        base64.b64encode(RAW.encode()).decode(),
        base64.encodebytes(RAW.encode()).decode(),
        {"content": RAW},
        {"ruleSetId": "rs-1", "content": base64.b64encode(RAW.encode()).decode(), "headers": []},
    ],
    ids=["text", "base64", "lines of base64", "object", "object with base64"],
)
def test_a_mail_that_mail_manager_publishes_is_known_by_what_it_is(message: Any) -> None:
    (mail,) = taken(in_sns(message)).mails
    assert (mail.raw, mail.path) == (RAW.encode(), "sns")


@pytest.mark.parametrize(
    "text", ["lorem ipsum", "ERROR: it broke: twice", "a: 1\nb: 2\n", "YWJjZA==", "key: value", ": x", ""]
)
def test_text_that_is_no_mail_is_none(text: str) -> None:
    assert taken(in_sns(text)).mails == []
    assert not looks_like_mail(text.encode())


@pytest.mark.parametrize(
    ("head", "mail", "mbox"),
    [
        (b"From: a@b\n\n", True, False),
        (b"\xef\xbb\xbfReceived: from x\r\n\tby y; date\r\nX-Foo : 1", True, False),
        (b"\r\n\r\nTo: x\r\n", True, False),
        (b"From a@b Sat Nov 21 10:00:00 2026\nSubject: x\n\n", False, True),
        (b"From a@b Sat Nov 21 10:00:00 2026\n", False, False),
        (b'{"from": 1}', False, False),
        (b"GET / HTTP/1.1\r\nDate: x\r\n\r\n", False, False),
        (b"Subject: x\n" + b"X-Long: " + b"y" * 10_000, True, False),
        (b"\x00\x01Subject: x", False, False),
    ],
)
def test_mails_are_known_by_their_first_bytes(head: bytes, mail: bool, mbox: bool) -> None:  # noqa: FBT001
    assert (looks_like_mail(head), is_mbox(head)) == (mail, mbox)
