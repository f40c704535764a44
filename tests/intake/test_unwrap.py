"""Every envelope in which an event, an object or a control message comes."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest

from pipelines.intake.outcomes import Confirmation, ObjectRef

TOPIC = "arn:aws:sns:us-east-1:111122223333:ses-events"


def sns(message: Any, **fields: Any) -> dict[str, Any]:
    text = message if isinstance(message, str) else json.dumps(message) + "\n"
    return {"Type": "Notification", "MessageId": "m", "TopicArn": TOPIC, "Message": text, **fields}


def eventbridge(detail: Any, kind: str = "Email Bounced", source: str = "aws.ses") -> dict[str, Any]:
    return {
        "version": "0",
        "id": "i",
        "detail-type": kind,
        "source": source,
        "account": "999988887777",
        "time": "2026-01-02T03:04:05Z",
        "region": "ap-south-1",
        "resources": [],
        "detail": detail,
    }


def encoded(*documents: Any) -> str:
    return base64.b64encode(b"".join(json.dumps(one).encode() + b"\n" for one in documents)).decode()


def s3(key: str = "a+b%2Bc/caf%C3%A9", event: str = "ObjectCreated:Put", **of_object: Any) -> dict[str, Any]:
    return {
        "eventSource": "aws:s3",
        "awsRegion": "us-east-1",
        "eventName": event,
        "s3": {"bucket": {"name": "logs"}, "object": {"key": key, "size": 7, **of_object}},
    }


WRAPPED = [
    ("bare", lambda e: e, "file"),
    ("sns", sns, "sns"),
    (
        "sns in sqs text",
        lambda e: {"MessageId": "q", "ReceiptHandle": "r", "Body": json.dumps(sns(e))},
        "sns",
    ),
    ("raw delivery in sqs", lambda e: {"MessageId": "q", "Body": json.dumps(e) + "\n"}, "file"),
    ("ReceiveMessage", lambda e: {"Messages": [{"MessageId": "q", "Body": json.dumps(sns(e))}]}, "sns"),
    (
        "lambda sqs",
        lambda e: {"Records": [{"messageId": "q", "eventSource": "aws:sqs", "body": json.dumps(sns(e))}]},
        "sns",
    ),
    (
        "lambda sns",
        lambda e: {"Records": [{"EventSource": "aws:sns", "Sns": sns(e, SigningCertUrl="https://x")}]},
        "sns",
    ),
    ("eventbridge", eventbridge, "eventbridge"),
    ("eventbridge in sns", lambda e: sns(eventbridge(e)), "eventbridge"),
    ("eventbridge in sqs", lambda e: {"MessageId": "q", "Body": json.dumps(eventbridge(e))}, "eventbridge"),
    (
        "firehose http",
        lambda e: {"requestId": "r", "timestamp": 1, "records": [{"data": encoded(e)}]},
        "firehose",
    ),
    (
        "firehose transform",
        lambda e: {"invocationId": "i", "records": [{"recordId": "r", "data": encoded(e)}]},
        "firehose",
    ),
    (
        "firehose error output",
        lambda e: {"attemptsMade": 4, "arrivalTimestamp": 1, "errorCode": "x", "rawData": encoded(e)},
        "firehose",
    ),
    (
        "kinesis",
        lambda e: {"Records": [{"eventSource": "aws:kinesis", "kinesis": {"data": encoded(e)}}]},
        "firehose",
    ),
    ("array", lambda e: [e], "file"),
    (
        "sqs in firehose",
        lambda e: {"records": [{"data": encoded({"messageId": "q", "body": json.dumps(sns(e))})}]},
        "sns",
    ),
]


@pytest.mark.parametrize(("wrap", "path"), [row[1:] for row in WRAPPED], ids=[row[0] for row in WRAPPED])
def test_an_event_is_the_same_in_every_envelope(wrap: Any, path: str, make: Any, event: Any) -> None:
    bare, wrapped = event(make("Bounce")), event(wrap(make("Bounce")))
    assert wrapped["path"] == path
    # All but the copy's own marks: an envelope changes nothing that is counted.
    for one in (bare, wrapped):
        one["path"], one["arrival_id"] = "", 0
    assert wrapped == bare


def test_a_bare_event_has_the_path_of_its_source(make: Any, event: Any) -> None:
    assert event(make("Send"), path="firehose")["path"] == "firehose"


def test_the_records_of_a_firehose_request_are_events_rejections_and_nothing(make: Any, take: Any) -> None:
    two = base64.b64encode(json.dumps(make("Send")).encode() + json.dumps(make("Open")).encode()).decode()
    packed = base64.b64encode(gzip.compress(json.dumps(make("Click")).encode())).decode()
    data = [
        "",
        two,
        packed,
        base64.b64encode(b"lorem").decode(),
        "%%%",
        base64.b64encode(b"\x1f\x8bxx").decode(),
    ]
    found = take({"requestId": "r", "timestamp": 1, "records": [{"data": one} for one in data]})
    assert [one["event_type"] for one in found.events] == ["Send", "Open", "Click"]
    assert len({one["arrival_id"] for one in found.events}) == 3
    assert [one["cause"] for one in found.dead_letters] == ["not_json", "invalid_base64", "corrupt_gzip"]
    assert found.controls == 1


def test_a_gzip_bomb_in_a_record_is_refused(cause: Any) -> None:
    bomb = base64.b64encode(gzip.compress(b" " * (9 << 20))).decode()
    assert cause({"records": [{"data": bomb}]}) == "record_too_large"


def test_an_s3_notification_names_objects_with_decoded_keys(take: Any) -> None:
    body = {"Records": [s3(), s3("plain", "ObjectCreated:CompleteMultipartUpload", versionId="v1")]}
    expected = [
        ObjectRef("logs", "a b+c/café", "", 7, "us-east-1", "ObjectCreated:Put"),
        ObjectRef("logs", "plain", "v1", 7, "us-east-1", "ObjectCreated:CompleteMultipartUpload"),
    ]
    assert take(body).objects == expected
    assert take({"MessageId": "q", "Body": json.dumps(sns(body))}).objects == expected


def test_an_eventbridge_s3_event_names_an_object_whose_key_is_not_encoded(take: Any) -> None:
    detail = {"bucket": {"name": "logs"}, "object": {"key": "a+b%20", "size": 3, "version-id": "v"}}
    (found,) = take(eventbridge(detail, "Object Created", "aws.s3")).objects
    assert found == ObjectRef("logs", "a+b%20", "v", 3, "ap-south-1", "Object Created")


CONTROLS = [
    {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "logs"},
    {"Records": [s3(event="ObjectRemoved:Delete")]},
    {"Records": [s3("inbound/AMAZON_SES_SETUP_NOTIFICATION")]},
    {"notificationType": "AmazonSnsSubscriptionSucceeded", "message": "You have …"},
    {"notificationType": "Received", "mail": {"messageId": "AMAZON_SES_SETUP_NOTIFICATION"}, "receipt": {}},
    sns("Successfully validated SNS topic for Amazon SES event publishing."),
    b"Successfully validated SNS topic for Amazon SES event publishing.\n",
    b"\xef\xbb\xbf\n",
    {"Type": "UnsubscribeConfirmation", "TopicArn": TOPIC, "Token": "t", "Message": "m"},
    eventbridge({"data": "x"}, "Sending Status Enabled"),
    eventbridge({"bucket": {"name": "b"}, "object": {"key": "k"}}, "Object Deleted", "aws.s3"),
]


@pytest.mark.parametrize("document", CONTROLS)
def test_control_messages_are_counted_and_no_more(document: Any, take: Any) -> None:
    found = take(document)
    assert (found.controls, found.events, found.dead_letters, found.objects) == (1, [], [], [])


def test_a_subscription_confirmation_is_handed_out(take: Any) -> None:
    fields = {"Token": "t", "SubscribeURL": "https://sns/x", "Timestamp": "2026-01-02T03:04:05.678Z"}
    (found,) = take(
        {"Type": "SubscriptionConfirmation", "MessageId": "m", "TopicArn": TOPIC, "Message": "!", **fields}
    ).confirmations
    assert found == Confirmation(
        "SubscriptionConfirmation", TOPIC, "t", "https://sns/x", "m", fields["Timestamp"]
    )


REJECTED = [
    ({}, "empty_object"),
    ({"Records": []}, "empty_object"),
    ({"a": 1}, "not_an_ses_event"),
    ([], "not_an_ses_event"),
    ("text", "not_an_ses_event"),
    (None, "not_an_ses_event"),
    (sns({"AlarmName": "cpu"}), "not_an_ses_event"),
    (eventbridge({"x": 1}, "EC2 Instance State-change", "aws.ec2"), "not_an_ses_event"),
    ({"notificationType": "Sold"}, "not_an_ses_event"),
    ({"bounceType": "Permanent", "bouncedRecipients": []}, "not_an_ses_event"),
    ({"notificationType": "Received", "mail": 3}, "mail_not_included"),
    ({"Records": [{"eventSource": "aws:ses", "ses": {"mail": {}}}]}, "mail_not_included"),
    ({"Type": "Notification", "TopicArn": TOPIC}, "missing_field"),
    ({"Type": "Notification", "TopicArn": TOPIC, "Message": {"a": 1}}, "invalid_field"),
    ({"Records": [{"eventSource": "aws:s3", "s3": {"bucket": 1}}]}, "invalid_field"),
    ({"eventType": 7}, "invalid_field"),
    ({"eventType": "Send"}, "missing_field"),
    ({"eventType": "Send", "mail": {"timestamp": "2026-01-02T03:04:05Z"}}, "missing_field"),
    (b"lorem ipsum", "not_json"),
    (sns("lorem ipsum"), "not_json"),
    (b"\x1f\x8b\x08\x00", "unsupported_compression"),
    (b'{"eventType":"Send","mail":{"time', "truncated_json"),
    (b'{"eventType":"Send",}', "malformed_json"),
    (b"[", "truncated_json"),
    (b'{"eventType":7,"mail":{"ti', "truncated_json"),
    (b'{"eventType":7,"mail":}', "malformed_json"),
    (b"[,]", "malformed_json"),
    (b'{"eventType":"Se\xffnd"}', "invalid_utf8"),
    (b'{"eventType":"Send","nobody reads this":"\xff","mail":{}}', "invalid_utf8"),
    (b'{"nobody reads this":"\xff"}', "invalid_utf8"),
    (b'{"Records":' * 40 + b"1" + b"}" * 40, "not_an_ses_event"),
]


@pytest.mark.parametrize(("document", "expected"), REJECTED)
def test_everything_else_is_rejected_for_its_true_cause(document: Any, expected: str, cause: Any) -> None:
    assert cause(document) == expected


@pytest.mark.parametrize("bracket", [b"[", b'{"eventType":', b'{"mail":{"tags":', b'{"x":'])
def test_json_nested_ten_thousand_deep_is_rejected(bracket: bytes, take: Any) -> None:
    for tail in (b"", b"1" + b"}" * 10_000, b"]" * 10_000):
        found = take(bracket * 10_000 + tail)
        assert found.events == []
        assert {one["cause"] for one in found.dead_letters} <= {
            "nested_too_deep",
            "truncated_json",
            "malformed_json",
        }
        assert found.dead_letters


def test_envelopes_inside_each_other_have_a_limit(make: Any, cause: Any) -> None:
    document: Any = make("Send")
    for _ in range(40):
        document = [document]
    assert cause(document) == "too_many_envelopes"


def test_a_wrong_type_is_named_by_its_path(make: Any, take: Any) -> None:
    for change, path in [
        ({"destination": ["a", 5]}, "$.mail.destination[1]"),
        ({"tags": {"a": "b"}}, "$.mail.tags"),
    ]:
        (letter,) = take(make("Send", change)).dead_letters
        assert letter["cause"] == "invalid_field"
        assert path in letter["detail"]


def test_a_dead_letter_says_where_it_was_read_and_what(take: Any) -> None:
    (letter,) = take({"a": 1}, uri="s3://logs/part-1").dead_letters
    assert (letter["source"], letter["payload"], letter["stage"]) == (
        "s3://logs/part-1",
        b'{"a": 1}',
        "unwrap",
    )
    assert letter["time"] == 1_767_323_045_000


def test_glued_documents_are_told_apart_even_if_the_first_is_invalid(make: Any, take: Any) -> None:
    found = take(b'{"mail":5}{"eventType":7}' + json.dumps(make("Send")).encode())
    assert [one["cause"] for one in found.dead_letters] == ["not_an_ses_event", "invalid_field"]
    assert len(found.events) == 1


def test_a_lone_surrogate_in_an_envelope_breaks_nothing(make: Any, event: Any) -> None:
    envelope = json.dumps(sns(make("Click", link="LINK"), Subject="SUBJECT")).encode()
    row = event(envelope.replace(b"LINK", rb"x\\ud83d").replace(b"SUBJECT", rb"\udc00"))
    assert (row["link"], row["path"]) == ("x\ufffd", "sns")
