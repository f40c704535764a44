"""What a receipt notification of SES stands for: a mail, an object that is one, or nothing that is ours to read.

Sources: SES developer guide, "Contents of notifications for Amazon SES email receiving", "Actions"; for Lambda's event
"Invoke Lambda function action"; Mail Manager API, SnsAction.

Only the SNS action's notification holds the mail; that of an S3 action says where it is. What actions without
either tell of is a mail that something else has: a Bounce action has refused it, WorkMail delivered it, Stop and Lambda
come after whatever stored it.
"""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING, Any, Final

from msgspec.json import decode

from pipelines.intake.envelopes import Keys, Layer, Opened, Refusal
from pipelines.intake.outcomes import Control, MailContent, MailElsewhere, MailObject, ObjectRef
from pipelines.intake.sniffing import looks_like_mail
from pipelines.intake.timestamps import TimestampParser
from pipelines.mail.notice import Notice
from schemas.mail import Verdicts

if TYPE_CHECKING:
    from collections.abc import Callable

SETUP: Final = "AMAZON_SES_SETUP_NOTIFICATION"
"""SES's id of the mail, and the end of its key, by which it tries whether it may write to a bucket or topic."""
LAMBDA_EVENT: Final = "lambda_event"

_ARN: Final = re.compile(r"arn:[a-z-]+:[a-z]+:([a-z0-9-]+):(\d{12}):")
_ANGLES: Final = re.compile(r"\s*<?([^<>]*)>?\s*")
_VERDICTS: Final = ("spf", "dkim", "dmarc", "spam", "virus")
_CONTENT: Final = ("content", "Content", "mailContent", "rawMessage", "rawContent", "message")
"""Names under which Mail Manager and forwarders are known or likely to put a mail."""
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/\r\n]+={0,2}\s*")
_HEAD: Final = 4096
"""Bytes of a mail by which it is known; a multiple of four, so that base64 can be cut there."""

_timestamps = TimestampParser()


def received(layer: Layer, *, action: str = "") -> Opened:
    """Of `{"mail": …, "receipt": …, "content": …}`; `action` is what an envelope says of it.

    Raises:
        Refusal: when it is a notification that a mail should be in, and is not.
        DecodeError: when it is not JSON.
    """
    document = decode(layer.data, type=dict[str, Any])
    mail, receipt = _object(document, "mail"), _object(document, "receipt")
    done = _object(receipt, "action")
    notice = _notice(mail, receipt, done)
    if notice.ses_id == SETUP:
        return [Control("setup_notification")]
    if content := _text(document, "content"):
        return [MailContent(_decoded(content, _text(done, "encoding")), notice, layer.path)]
    kind = _text(done, "type")
    if kind == "S3":
        bucket, key = _text(done, "bucketName"), _text(done, "objectKey")
        if not bucket or not key:
            raise Refusal("missing_field", "A notification of an S3 action without bucketName or objectKey.")
        if key.endswith(SETUP):
            return [Control("setup_notification")]
        return [MailObject(ObjectRef(bucket, key, "", -1, "", "Received"), notice)]
    return [MailElsewhere(notice, action or kind)]


def lambda_event(layer: Layer, keys: Keys) -> Opened:
    """A record that SES gives a Lambda function."""
    return received(layer.inner(bytes(keys["ses"])), action=LAMBDA_EVENT)


KNOWN: Final[tuple[tuple[Callable[[Keys], bool], Callable[[Layer, Keys], Opened]], ...]] = (
    (lambda keys: "receipt" in keys, lambda layer, _: received(layer)),
    (lambda keys: "ses" in keys, lambda_event),
)
"""As `envelopes.KNOWN`, and before it."""


def bare(data: bytes, path: str) -> MailContent | None:
    """A mail that is text of its own, or base64 of one, as Mail Manager may publish it."""
    raw = _mail_in(data)
    return MailContent(raw, Notice(), path) if raw is not None else None


def named(layer: Layer, keys: Keys) -> MailContent | None:
    """A mail in a JSON object that is no notification we know: under a likely name, and looking like one."""
    for name in _CONTENT:
        value = keys.get(name)
        if value is not None and bytes(value)[:1] == b'"':
            raw = _mail_in(decode(value, type=str).encode())
            if raw is not None:
                return MailContent(raw, Notice(), layer.path)
    return None


def _mail_in(data: bytes) -> bytes | None:
    if looks_like_mail(data[:_HEAD]):
        return data
    head = b"".join(data[: 2 * _HEAD].split())
    if not _BASE64.fullmatch(head):
        return None
    try:
        if looks_like_mail(binascii.a2b_base64(head[:_HEAD])):
            return binascii.a2b_base64(data)
    except ValueError:
        pass
    return None


def _decoded(content: str, encoding: str) -> bytes:
    """The mail's bytes; the encoding that is named is believed unless the content says otherwise."""
    data = content.encode()
    if encoding.upper().replace("-", "") == "UTF8" or looks_like_mail(data[:_HEAD]):
        return data
    try:
        return binascii.a2b_base64(b"".join(data.split()), strict_mode=True)
    except ValueError as error:
        if encoding.upper() == "BASE64":
            raise Refusal("invalid_base64", f"The mail's content is not base64: {error}.") from None
        return data


def _notice(mail: dict[str, Any], receipt: dict[str, Any], action: dict[str, Any]) -> Notice:
    place = _ARN.match(_text(action, "topicArn") or _text(action, "functionArn"))
    recipients = receipt.get("recipients")
    time = _timestamps.parse(_text(receipt, "timestamp") or None) or _timestamps.parse(
        _text(mail, "timestamp")
    )
    sender = _ANGLES.fullmatch(_text(mail, "source"))
    return Notice(
        ses_id=_text(mail, "messageId"),
        time=time or 0,
        account=place[2] if place else "",
        region=place[1] if place else "",
        envelope_from=sender[1] if sender else _text(mail, "source"),
        recipients=tuple(each for each in recipients if isinstance(each, str))
        if isinstance(recipients, list)
        else (),
        verdicts=_verdicts(receipt),
    )


def _verdicts(receipt: dict[str, Any]) -> Verdicts | None:
    """As given; None: it has none."""
    given = {name: _text(_object(receipt, f"{name}Verdict"), "status") for name in _VERDICTS}
    if not any(given.values()):
        return None
    policy = _text(receipt, "dmarcPolicy").lower()
    return Verdicts(
        spf=given["spf"],
        dkim=given["dkim"],
        dmarc=given["dmarc"],
        spam=given["spam"],
        virus=given["virus"],
        dmarc_policy=policy,
    )


def _object(document: dict[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _text(document: dict[str, Any], name: str) -> str:
    value = document.get(name)
    return value if isinstance(value, str) else ""
