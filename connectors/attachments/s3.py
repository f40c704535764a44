"""`S3Store`: contents as objects, `s3://BUCKET/PREFIX/ab/cd/HASH`.

An object appears whole or not at all, and S3 itself compares its bytes with the hash (`x-amz-checksum-sha256`). It is
served as a download (`Content-Disposition: attachment`) of a type that no browser runs anything of. Encryption is the
bucket's. S3 counts a lifecycle's days from when an object was made, so one that is put again after a day is copied
onto itself: each stays for the retention after the last mail that has it, give or take that day.
"""

from __future__ import annotations

import base64
import hashlib
import io
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from connectors.attachments.lifecycle import warnings_of
from connectors.attachments.store import (
    DAY_S,
    LONGEST_LINK_S,
    Stored,
    StoreError,
    StoreRefuses,
    harmless_type,
    path_of,
)
from connectors.aws import error_code, is_missing, s3_client, session, source_error
from connectors.errors import SourceError
from connectors.sources.s3 import ObjectMissing, read_object

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from connectors.aws import Access
    from pipelines.mail.outcome import Content

_ATTACHMENT: Final = "attachment"
_MULTIPART: Final = 32 * 1024 * 1024
"""Beyond it an object goes in parts, each tried again for itself."""
_FRESH_S: Final = DAY_S
_CONFLICTS: Final = 5
_PAUSE_S: Final = 0.1
_HOME: Final = "us-east-1"
_THERE: Final = frozenset({"PreconditionFailed", "412"})
_CONFLICT: Final = frozenset({"ConditionalRequestConflict", "OperationAborted", "409"})
_NO_CONDITIONS: Final = frozenset({"NotImplemented", "501"})


class S3Store:
    """See `AttachmentStore`."""

    def __init__(
        self,
        bucket: str,
        prefix: str,
        access: Access,
        days: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Connects nowhere yet.

        Args:
            bucket: its name.
            prefix: before each key; may be empty.
            access: how it is reached.
            days: the retention, which is done by the bucket's lifecycle.
            clock: seconds since the epoch.
        """
        self._bucket = bucket
        self._prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        self._access = access
        self._days = days
        self._clock = clock
        self._lock = threading.Lock()
        self._made: Any = None
        self._signing: Any = None

    def put(self, content: Content) -> str:
        """Send it, unless it is there; an older one is made anew."""
        key = self._key(content.sha256)
        digest = hashlib.sha256(content.content)
        if digest.hexdigest() != content.sha256:
            raise ValueError(f"the content of {content.name!r} is not of the hash {content.sha256}")
        with self._told():
            there = self._head(key)
            if there is None or there.size != len(content.content):
                self._send(key, content, digest.digest(), replace=there is not None)
            elif self._clock() - there.time / 1000 > _FRESH_S:
                self._renew(key, content.content_type)
        return f"s3://{self._bucket}/{key}"

    def find(self, sha256: str) -> Stored | None:
        """By a HEAD request."""
        with self._told():
            return self._head(self._key(sha256))

    def read(self, sha256: str) -> Iterator[bytes]:
        """Its object; a broken connection is resumed."""
        found = hashlib.sha256()
        try:
            with self._told():
                for chunk in read_object(self._client, self._bucket, self._key(sha256)):
                    found.update(chunk)
                    yield chunk
        except ObjectMissing:
            raise StoreRefuses(f"there is no content {sha256} in the {self._where}") from None
        if found.hexdigest() != sha256:
            raise StoreRefuses(f"the object of {sha256} in the {self._where} is damaged: remove it")

    def link(self, sha256: str, expires_s: int, name: str = "") -> str:
        """Signed here (Signature Version 4); for the bucket's own region, or its first answer were a redirect."""
        if not 1 <= expires_s <= LONGEST_LINK_S:
            raise StoreRefuses("a link holds between a second and 7 days, which is the most that AWS signs")
        fields = {
            "Bucket": self._bucket,
            "Key": self._key(sha256),
            "ResponseContentDisposition": disposition(name),
        }
        with self._told():
            url: str = self._signer().generate_presigned_url("get_object", Params=fields, ExpiresIn=expires_s)
        return url

    def link_holds_s(self, expires_s: int) -> int:
        """Bounded by the credentials, where they end at a known time."""
        with self._told():
            credentials = session(self._access).get_credentials()
            if credentials is None:
                raise StoreError(
                    f"no AWS credentials for the {self._where}: set AWS_PROFILE, or attach a role"
                )
            credentials.get_frozen_credentials()
            until = getattr(credentials, "_expiry_time", None)
        if not isinstance(until, datetime):
            return expires_s
        return max(0, min(expires_s, int(until.timestamp() - datetime.now(UTC).timestamp())))

    def warnings(self) -> list[str]:
        """About the bucket's lifecycle."""
        try:
            return warnings_of(self._client, self._bucket, self._prefix, self._days)
        except SourceError as error:
            return [str(error)]

    def close(self) -> None:
        """Let go of connections."""
        with self._lock:
            for client in {
                id(each): each for each in (self._made, self._signing) if each is not None
            }.values():
                client.close()
            self._made = self._signing = None

    @property
    def _where(self) -> str:
        return f"attachment bucket s3://{self._bucket}/{self._prefix}"

    @property
    def _client(self) -> Any:
        with self._lock:
            if self._made is None:
                self._made = s3_client(self._access)
            return self._made

    def _key(self, sha256: str) -> str:
        return self._prefix + path_of(sha256)

    def _head(self, key: str) -> Stored | None:
        try:
            told = self._client.head_object(Bucket=self._bucket, Key=key)
        except ClientError as error:
            # A HEAD has no body, so a bucket that is missing looks the same; the put then says it.
            if is_missing(error):
                return None
            raise
        uri, made = f"s3://{self._bucket}/{key}", told["LastModified"]
        return Stored(uri, told["ContentLength"], round(made.timestamp() * 1000))

    def _send(self, key: str, content: Content, digest: bytes, *, replace: bool) -> None:
        served = {
            "ContentType": harmless_type(content.content_type),
            "ContentDisposition": _ATTACHMENT,
        }
        if len(content.content) > _MULTIPART:
            self._client.upload_fileobj(
                io.BytesIO(content.content),
                self._bucket,
                key,
                ExtraArgs=served | {"ChecksumAlgorithm": "SHA256"},
                Config=TransferConfig(multipart_threshold=_MULTIPART, use_threads=False),
            )
            return
        request: dict[str, Any] = served | {"ChecksumSHA256": base64.b64encode(digest).decode()}
        if not replace:
            request["IfNoneMatch"] = "*"
        for attempt in range(_CONFLICTS):
            try:
                self._client.put_object(Bucket=self._bucket, Key=key, Body=content.content, **request)
            except ClientError as error:
                code = error_code(error)
                if code in _THERE:
                    return  # somebody else was quicker, with the same bytes
                if code in _NO_CONDITIONS and "IfNoneMatch" in request:
                    del request["IfNoneMatch"]
                elif code not in _CONFLICT or attempt == _CONFLICTS - 1:
                    raise
                time.sleep(_PAUSE_S * attempt)
            else:
                return

    def _renew(self, key: str, content_type: str) -> None:
        self._client.copy_object(
            Bucket=self._bucket,
            Key=key,
            CopySource={"Bucket": self._bucket, "Key": key},
            MetadataDirective="REPLACE",
            ContentType=harmless_type(content_type),
            ContentDisposition=_ATTACHMENT,
        )

    def _signer(self) -> Any:
        made = self._client
        with self._lock:
            if self._signing is None:
                # A certificate of AWS's covers one name before the region, and a bucket's may have dots.
                path = bool(self._access.endpoint_url) or "." in self._bucket
                style = Config(
                    signature_version="s3v4", s3={"addressing_style": "path" if path else "virtual"}
                )
                self._signing = session(self._access).client(
                    "s3",
                    region_name=self._region(made),
                    endpoint_url=self._access.endpoint_url or None,
                    config=style,
                )
            return self._signing

    def _region(self, client: Any) -> str:
        if self._access.endpoint_url:
            return str(client.meta.region_name or _HOME)
        told = client.head_bucket(Bucket=self._bucket)
        return str(told.get("BucketRegion") or client.meta.region_name or _HOME)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (StoreError, ObjectMissing):
            raise
        except (BotoCoreError, Boto3Error, ClientError, HTTPError, SourceError, OSError) as error:
            raise StoreError(str(source_error(error, self._where))) from error


def disposition(name: str) -> str:
    """`Content-Disposition` of a download under a name (RFC 6266): plain for old programs, and encoded for the rest."""
    kept = "".join(each for each in name if each.isprintable() and each not in '/\\"').strip(" .")[:120]
    if not kept:
        return _ATTACHMENT
    plain = "".join(each if each.isascii() and each not in "%;" else "_" for each in kept)
    return f"{_ATTACHMENT}; filename=\"{plain}\"; filename*=UTF-8''{quote(kept, safe='')}"
