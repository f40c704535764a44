"""SES, SNS and S3, as the distribution uses them: `SesSender`, `SnsFallback`, `StoredMails`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError
from urllib3.exceptions import HTTPError

from connectors.aws import Access, s3_client, source_error
from connectors.distribution.ports import Later
from connectors.distribution.settings import topic_region
from connectors.errors import SourceError
from connectors.notify.channels.aws import AwsCaller, Refused
from connectors.notify.page import NotDelivered
from connectors.sources.s3 import ObjectMissing, read_object, split_uri
from pipelines.mail.distribution.policy import Unsuitable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from connectors.distribution.settings import Distribution

SEND_S: Final = 30.0
"""The longest that SES may take."""
_TELL_S: Final = 30.0
_SHED: Final = frozenset({"ServiceUnavailable", "ServiceUnavailableException", "SlowDown", "503"})
"""5xx by which AWS says that it did not begin; all others leave open what was done."""
_CURABLE: Final = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
"""4xx that say nothing of the mail: a person changes a policy or a key, and it goes."""
_MESSAGE: Final = 256 * 1024
_NAME: Final = "ses-streams distribution"


class SesSender:
    """Sends raw mails with SES v2; for one thread.

    https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html : it has no token by which SES would know
    a repeated request, so what is asked once is not asked again unless SES says that it did nothing.
    """

    def __init__(self, settings: Distribution, timeout_s: float = SEND_S) -> None:
        access = Access(settings.region, settings.role_arn, settings.endpoint_url)
        self._caller = AwsCaller("sesv2", access, timeout_s, ("SendEmail",))
        self._settings = settings

    def send(self, raw: bytes, recipients: Sequence[str]) -> str:
        """Ask once."""
        fields: dict[str, Any] = {
            "FromEmailAddress": self._settings.sender,
            "Destination": {"ToAddresses": list(recipients)},
            "Content": {"Raw": {"Data": raw}},
        }
        if self._settings.configuration_set:
            fields["ConfigurationSetName"] = self._settings.configuration_set
        try:
            return self._caller.call("send_email", "SES", **fields)
        except Refused as refused:
            raise _judged(refused) from None

    def close(self) -> None:
        """Let go of connections."""
        self._caller.close()


class SnsFallback:
    """Publishes to the fallback topic; for one thread."""

    def __init__(self, settings: Distribution, timeout_s: float = _TELL_S) -> None:
        access = Access(topic_region(settings), settings.role_arn, settings.endpoint_url)
        self._caller = AwsCaller("sns", access, timeout_s, ("Publish",))
        self._topic = settings.fallback_topic

    def tell(self, mail_id: bytes, message: Mapping[str, Any]) -> str:
        """Publish; a FIFO topic drops what it has been told within five minutes."""
        if not self._topic:
            return ""
        text = json.dumps(message, ensure_ascii=True)
        if len(text) > _MESSAGE:
            text = json.dumps(
                {**message, "links": [], "refused": [], "links_left_out": len(message["links"])}
            )
        reason = str(message["reason"])
        fields: dict[str, Any] = {
            "TopicArn": self._topic,
            "Subject": f"{_NAME}: {reason}",
            "Message": text,
            "MessageAttributes": {
                "reason": {"DataType": "String", "StringValue": reason},
                "outcome": {"DataType": "String", "StringValue": str(message["outcome"])},
            },
        }
        if self._topic.endswith(".fifo"):
            fields["MessageGroupId"] = mail_id.hex()
            fields["MessageDeduplicationId"] = f"{mail_id.hex()}-{message['outcome']}-{reason}"
        try:
            return self._caller.call("publish", f"the fallback topic {self._topic}", **fields)
        except Refused as refused:
            raise _judged(refused) from None

    def close(self) -> None:
        """Let go of connections."""
        self._caller.close()


class StoredMails:
    """Raw mails that SES, or our bridge, has put into S3."""

    def __init__(self, settings: Distribution, most: int) -> None:
        """Connects nowhere yet; mails of more than `most` bytes are not read."""
        self._access = Access(settings.region, settings.role_arn, settings.endpoint_url)
        self._most = most
        self._client: Any = None

    def read(self, uri: str) -> bytes:
        """Its object."""
        if not uri.startswith("s3://"):
            raise Unsuitable(
                "no_object", f"its raw bytes are not in S3 but at {uri.partition('://')[0] or 'a file'}"
            )
        bucket, key = split_uri(uri)
        raw = bytearray()
        try:
            if self._client is None:
                self._client = s3_client(self._access)
            for chunk in read_object(self._client, bucket, key):
                raw += chunk
                if len(raw) > self._most:
                    raise Unsuitable("unreadable", f"{uri} has more than {self._most} bytes")
        except ObjectMissing as error:
            raise Unsuitable("no_object", str(error)) from error
        except SourceError as error:
            raise Later(str(error)) from error
        except (BotoCoreError, HTTPError, OSError) as error:
            raise Later(str(source_error(error, uri))) from error
        return bytes(raw)

    def close(self) -> None:
        """Let go of connections."""
        if self._client is not None:
            self._client.close()
            self._client = None


def _judged(refused: Refused) -> NotDelivered:
    """What AWS's answer means: whether it did nothing, and whether it ever will."""
    shed = refused.code in _SHED
    return NotDelivered(
        refused.reason,
        retry_after_s=refused.retry_after_s,
        for_good=refused.for_good and refused.code not in _CURABLE,
        unknown=refused.unknown and not shed,
    )
