"""What is known to break parsers of SES payloads, one test a line."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

TOPIC = "arn:aws:sns:us-east-1:111122223333:t"


def test_01_trailing_newline_glued_json_gzip_base64_and_a_string_in_a_string(make: Any, take: Any) -> None:
    one = json.dumps(make("Send")).encode()
    assert len(take(one + b"\n").events) == 1
    assert len(take(one + one).events) == 2
    packed = base64.b64encode(gzip.compress(one + one)).decode()
    assert len(take({"records": [{"data": packed}]}).events) == 2
    sns = {"Type": "Notification", "TopicArn": TOPIC, "Message": one.decode() + "\n"}
    assert len(take({"MessageId": "m", "Body": json.dumps(sns)}).events) == 1


def test_02_the_plain_text_control_message(take: Any) -> None:
    assert take(b"Successfully validated SNS topic for Amazon SES event publishing.").controls == 1


def test_03_the_s3_test_event(take: Any) -> None:
    assert take({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"}).controls == 1


def test_04_null_subtype_and_null_link_tags(make: Any, event: Any) -> None:
    assert event(make("Complaint", complaintSubType=None))["complaint_subtype"] == ""
    assert event(make("Click", linkTags=None))["link"]


def test_05_missing_source_arn_headers_and_payload_timestamp(make: Any, event: Any) -> None:
    row = event(make("Open", {"sourceArn": ..., "headers": ..., "commonHeaders": ...}, timestamp=...))
    assert (row["region"], row["event_time"]) == ("", row["sent_time"])


def test_06_rendering_failure_has_a_space_and_its_object_is_failure(make: Any, event: Any) -> None:
    assert event(make("Rendering Failure"))["template"] == "hello"


def test_07_unknown_subtype_tag_and_event_type(make: Any, event: Any) -> None:
    assert event(make("Bounce", bounceSubType="Melted"))["bounce_subtype"] == "Melted"
    assert event(make("Send", {"tags": {"ses:new": ["x"]}}))["tags"] == [{"name": "ses:new", "values": ["x"]}]
    assert event({**make("Send"), "eventType": "Recall"})["original_type"] == "Recall"


def test_08_timestamps_with_offsets_and_whole_seconds(make: Any, event: Any) -> None:
    texts = ("2018-10-08T14:05:45 +0000", "2018-10-08T09:05:45.000-05:00", "2018-10-08T14:05:45Z")
    assert {event(make("Send", {"timestamp": text}))["sent_time"] for text in texts} == {1_539_007_545_000}


def test_09_comma_joined_to_encoded_source_and_sender_of_either_type(make: Any, event: Any) -> None:
    headers = {"to": ["A <a@gmail.com>, b@aol.com"]}
    for sender in ("s@x.y", ["s@x.y"]):
        mail = {
            "commonHeaders": {**headers, "sender": sender},
            "destination": ...,
            "source": "=?utf-8?q?J=C3=B6?= <j@x.example>",
            "tags": ...,
        }
        row = event(make("Send", mail))
        assert [one["provider"] for one in row["recipients"]] == ["gmail", "yahoo"]
        assert row["from_domain"] == "x.example"


def test_10_invalid_ip_addresses(make: Any, event: Any) -> None:
    assert event(make("Delivery", remoteMtaIp="123.456.789.012"))["remote_mta_ip"] == "123.456.789.012"


def test_11_message_ids_as_in_the_documentation(make: Any, event: Any) -> None:
    message_id = "EXAMPLE7c191be45-e9aedb9a-02f9-4d12-a87d-dd0099a07f8a-000000"
    assert event(make("Send", {"messageId": message_id}))["message_id"] == message_id


def test_12_13_received_mail_has_its_own_recipients_and_verdicts(make: Any, take: Any) -> None:
    action = {"type": "S3", "bucketName": "mails", "objectKey": "in/m1"}
    receipt = {"recipients": ["in@example.com"], "spamVerdict": {"status": "DISABLED"}, "action": action}
    (mail,) = take({"notificationType": "Received", "mail": make("Send")["mail"], "receipt": receipt}).mails
    assert mail.notice.recipients == ("in@example.com",)
    assert (mail.notice.verdicts["spam"], mail.notice.verdicts["dmarc"]) == ("DISABLED", "")


def test_14_the_setup_notification(take: Any) -> None:
    found = take({"notificationType": "Received", "mail": {"messageId": "AMAZON_SES_SETUP_NOTIFICATION"}})
    assert found.controls == 1


def test_15_one_delivery_by_two_channels_is_one_event(make: Any, make_legacy: Any, event: Any) -> None:
    assert event(make("Delivery"))["event_id"] == event(make_legacy("Delivery"))["event_id"]
