"""SNS signatures, without any I/O: what was signed, by which certificates, and whether it was.

Source: https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

from __future__ import annotations

import re
from base64 import b64decode
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from cryptography.x509 import Certificate

_NOTIFICATION: Final = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_CONFIRMATION: Final = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_SIGNED: Final = {
    "Notification": _NOTIFICATION,
    "SubscriptionConfirmation": _CONFIRMATION,
    "UnsubscribeConfirmation": _CONFIRMATION,
}
_OPTIONAL: Final = "Subject"
_AWS_HOST: Final = re.compile(r"sns\.[a-z0-9-]+\.amazonaws\.com(\.cn)?")
_HTTPS_PORT: Final = 443


class BadSignature(ValueError):  # noqa: N818 - named by what it says
    """The message was not signed by SNS, or was changed since."""


def string_to_sign(message: Mapping[str, Any]) -> bytes:
    """The bytes SNS signed: `Key`, newline, value, newline, for the keys of the message's type in byte order.

    Raises:
        BadSignature: when the type is unknown, or a key is absent or no string.
    """
    kind = message.get("Type")
    keys = _SIGNED.get(kind) if isinstance(kind, str) else None
    if keys is None:
        raise BadSignature("the message has no type that SNS signs")
    parts: list[str] = []
    for key in keys:
        value = message.get(key)
        if value is None and key == _OPTIONAL:
            continue
        if not isinstance(value, str):
            raise BadSignature(f"the message has no {key}")
        parts += (key, "\n", value, "\n")
    try:
        return "".join(parts).encode()
    except UnicodeEncodeError:
        raise BadSignature("the message is not Unicode text") from None


def verify(message: Mapping[str, Any], certificate: Certificate, now: datetime) -> None:
    """Check a message's signature, version 1 (SHA-1) or 2 (SHA-256).

    Args:
        message: the envelope as decoded.
        certificate: the one at its `SigningCertURL`.
        now: with a time zone; the certificate must be valid then.

    Raises:
        BadSignature: when any of it does not hold.
    """
    signed, digest, signature = string_to_sign(message), _digest(message), _signature(message)
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise BadSignature("the signing certificate is not valid at this time")
    key = certificate.public_key()
    if not isinstance(key, RSAPublicKey):
        raise BadSignature("the signing certificate has no RSA key")
    try:
        key.verify(signature, signed, PKCS1v15(), digest)
    except InvalidSignature:
        raise BadSignature("the signature does not match the message") from None


def certificate_url(message: Mapping[str, Any]) -> str:
    """Where the message says its certificate is; nothing about it is trusted yet.

    Raises:
        BadSignature: when it does not say.
    """
    url = message.get("SigningCertURL", message.get("SigningCertUrl"))
    if not isinstance(url, str):
        raise BadSignature("the message has no SigningCertURL")
    return url


def is_sns_url(url: str, hosts: Collection[str] = ()) -> bool:
    """Whether a URL leads to SNS itself: https, its host, the usual port, no user in it.

    Args:
        url: from a message, so anything.
        hosts: trusted besides AWS's own: `host`, or `host:port` for a port that is not 443.
    """
    # urlsplit strips these silently, so the URL judged would not be the URL fetched.
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return False
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _HTTPS_PORT
    except ValueError:
        return False
    if parts.scheme != "https" or "@" in parts.netloc or parts.fragment:
        return False
    if port == _HTTPS_PORT and (host in hosts or _AWS_HOST.fullmatch(host)):
        return True
    return f"{host}:{port}" in hosts


def is_certificate_url(url: str, hosts: Collection[str] = ()) -> bool:
    """Whether a URL leads to a certificate of SNS: `is_sns_url`, path ends in `.pem`, nothing after it."""
    return is_sns_url(url, hosts) and urlsplit(url).path.endswith(".pem") and "?" not in url


def _digest(message: Mapping[str, Any]) -> HashAlgorithm:
    version = message.get("SignatureVersion")
    if version == "2":
        return SHA256()
    if version == "1":
        return SHA1()  # noqa: S303 - what SNS signs with unless the topic says version 2
    raise BadSignature("the message has no SignatureVersion 1 or 2")


def _signature(message: Mapping[str, Any]) -> bytes:
    text = message.get("Signature")
    if not isinstance(text, str):
        raise BadSignature("the message has no Signature")
    try:
        return b64decode(text, validate=True)
    except ValueError:
        raise BadSignature("the Signature is not base64") from None
