from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from connectors.sources.sns_signature import (
    BadSignature,
    is_certificate_url,
    is_sns_url,
    string_to_sign,
    verify,
)

NOW = datetime.now(UTC)


def test_a_notification_is_signed_over_its_keys_in_order(notification: Any) -> None:
    assert string_to_sign(notification("hällo\n")) == (
        b"Message\nh\xc3\xa4llo\n\nMessageId\n7c0e3d3c-0000-4000-8000-000000000001\n"
        b"Timestamp\n2026-11-01T10:00:02.000Z\nTopicArn\narn:aws:sns:us-east-1:123456789012:ses\n"
        b"Type\nNotification\n"
    )


def test_a_subject_is_signed_only_where_there_is_one(notification: Any) -> None:
    with_subject = string_to_sign(notification("m", Subject="s"))
    assert b"MessageId\n7c0e3d3c-0000-4000-8000-000000000001\nSubject\ns\nTimestamp\n" in with_subject
    assert b"Subject\n\n" in string_to_sign(notification("m", Subject=""))
    assert b"Subject" not in string_to_sign(notification("m", Subject=None))


@pytest.mark.parametrize("kind", ["SubscriptionConfirmation", "UnsubscribeConfirmation"])
def test_a_confirmation_is_signed_with_token_and_url_but_no_subject(notification: Any, kind: str) -> None:
    message = notification("m", Type=kind, Token="t", SubscribeURL="https://u", Subject="s")
    assert string_to_sign(message) == (
        b"Message\nm\nMessageId\n7c0e3d3c-0000-4000-8000-000000000001\nSubscribeURL\nhttps://u\n"
        b"Timestamp\n2026-11-01T10:00:02.000Z\nToken\nt\n"
        b"TopicArn\narn:aws:sns:us-east-1:123456789012:ses\nType\n" + kind.encode() + b"\n"
    )


@pytest.mark.parametrize(
    "broken",
    [
        {"Type": "Other"},
        {"Type": ["Notification"]},
        {"MessageId": None},
        {"Message": 1},
        {"Message": "\ud800"},
    ],
)
def test_what_sns_would_not_sign_has_no_string_to_sign(notification: Any, broken: dict[str, Any]) -> None:
    with pytest.raises(BadSignature):
        string_to_sign(notification("m") | broken)


@pytest.mark.parametrize("version", ["1", "2"])
def test_both_versions_verify(notification: Any, signer: Any, version: str) -> None:
    verify(signer.sign(notification("m", Subject="s"), version), signer.certificate(), NOW)


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("key", ["Message", "MessageId", "Subject", "Timestamp", "TopicArn"])
def test_a_change_of_any_signed_key_is_noticed(
    notification: Any, signer: Any, key: str, version: str
) -> None:
    message = signer.sign(notification("m", Subject="s"), version)
    with pytest.raises(BadSignature, match="does not match"):
        verify(message | {key: message[key] + "x"}, signer.certificate(), NOW)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"SignatureVersion": "2"}, "does not match"),
        ({"SignatureVersion": "3"}, "SignatureVersion"),
        ({"SignatureVersion": 1}, "SignatureVersion"),
        ({"Signature": "%%%"}, "base64"),
        ({"Signature": None}, "no Signature"),
        ({"Signature": ""}, "does not match"),
    ],
)
def test_an_unsound_signature_is_refused(
    notification: Any, signer: Any, change: dict[str, Any], reason: str
) -> None:
    with pytest.raises(BadSignature, match=reason):
        verify(signer.sign(notification("m")) | change, signer.certificate(), NOW)


@pytest.mark.parametrize(("starts_in", "ends_in"), [(-2, -1), (1, 2)])
def test_a_certificate_counts_only_while_it_is_valid(
    notification: Any, signer: Any, starts_in: int, ends_in: int
) -> None:
    certificate = signer.certificate(starts_in=starts_in, ends_in=ends_in)
    with pytest.raises(BadSignature, match="not valid at this time"):
        verify(signer.sign(notification("m")), certificate, NOW)


def test_another_key_does_not_verify(notification: Any, signer: Any) -> None:
    other = type(signer)()
    with pytest.raises(BadSignature, match="does not match"):
        verify(signer.sign(notification("m")), other.certificate(), NOW)
    other.key = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(BadSignature, match="no RSA key"):
        verify(signer.sign(notification("m")), other.certificate(), NOW)


@pytest.mark.parametrize(
    "url",
    [
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123.pem",
        "https://sns.cn-north-1.amazonaws.com.cn/SimpleNotificationService-0123.pem",
        "https://sns.us-gov-west-1.amazonaws.com:443/x.pem",
        "https://trusted.example/x.pem",
        "https://127.0.0.1:8443/x.pem",
    ],
)
def test_certificates_come_from_sns_or_a_host_of_the_settings(url: str) -> None:
    assert is_certificate_url(url, {"trusted.example", "127.0.0.1:8443"})


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-west-1.amazonaws.com/x.pem",
        "https://sns.eu-west-1.amazonaws.com.evil.example/x.pem",
        "https://sns.eu-west-1.amazonaws.com@evil.example/x.pem",
        "https://user@sns.eu-west-1.amazonaws.com/x.pem",
        "https://evil.example\\@sns.eu-west-1.amazonaws.com/x.pem",
        "https://evil.example/sns.eu-west-1.amazonaws.com/x.pem",
        "https://sns.eu-west-1.amazonaws.com:8443/x.pem",
        "https://sns.eu-west-1.amazonaws.com:0x1/x.pem",
        "https://sns.evil.example/.amazonaws.com/x.pem",
        "https://snsXeu-west-1.amazonaws.com/x.pem",
        "https://sns.a.b.amazonaws.com/x.pem",
        "https://bucket.s3.amazonaws.com/x.pem",
        "https://sns.eu-west-1.amazonaws.com\t/x.pem",
        "https://sns.eu-west-1.amazonaws.com\n/x.pem",
        "https://sns.eu-west-1.amazonaws.com/x.pem?y",
        "https://sns.eu-west-1.amazonaws.com/x#.pem",
        "https://sns.eu-west-1.amazonaws.com/x",
        "https://sns.eu-west-1.amazonaws.com/x.pem/",
        "https://trusted.example:8443/x.pem",
        "https://127.0.0.1/x.pem",
        "https://[::1/x.pem",
        "file:///etc/x.pem",
        "",
    ],
)
def test_certificates_come_from_nowhere_else(url: str) -> None:
    assert not is_certificate_url(url, {"trusted.example", "127.0.0.1:8443"})


@given(st.text(max_size=60))
def test_a_host_is_never_taken_for_another(text: str) -> None:
    assert not is_sns_url(f"https://{text}.example/", ())
    assert not is_sns_url(f"https://evil.example{text.replace('.', '')}/", ())
