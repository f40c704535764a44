"""S3 objects: read in bounded memory, resumed where the connection broke; and prefixes as units of a replay.

SourceError
 └─ ObjectError
     ├─ ObjectMissing      there is no such object or bucket
     ├─ ObjectForbidden    we may not read it, or it is archived
     ├─ ObjectEncrypted    only its writer's key opens it
     └─ ObjectUnavailable  S3 does not give it now; trying again may help
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from connectors.aws import source_error
from connectors.errors import SourceError
from connectors.inbound.encrypted import encrypted_by, sentence
from connectors.sources.units import Unit
from pipelines.intake.provenance import Provenance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHUNK: Final = 256 * 1024
RESUMES: Final = 5
"""Broken connections in a row, none of which brought a byte, before an object counts as unavailable."""

_MISSING: Final = {"NoSuchKey", "NoSuchVersion", "NoSuchBucket", "404", "MethodNotAllowed"}
"""`MethodNotAllowed`: the version asked for is a delete marker."""
_FORBIDDEN: Final = {"AccessDenied", "403", "Forbidden", "InvalidObjectState", "AllAccessDisabled"}
"""`InvalidObjectState`: in Glacier, to be restored first."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What S3 says of an object."""

    size: int
    """Bytes, as stored."""
    modified: int
    """ms since the epoch."""


class ObjectError(SourceError):
    """An object cannot be read; `cause` is that of its dead letter."""

    cause = "object_unavailable"


class ObjectMissing(ObjectError):  # noqa: N818 - named by what it says, like its siblings
    """There is no such object or bucket."""

    cause = "object_missing"


class ObjectForbidden(ObjectError):  # noqa: N818
    """We may not read it, or it is archived."""

    cause = "object_forbidden"


class ObjectEncrypted(ObjectError):  # noqa: N818
    """Only its writer's key opens it."""

    cause = "client_side_encrypted"


class ObjectUnavailable(ObjectError):  # noqa: N818
    """S3 does not give it now; trying again may help."""


def read_object(
    client: Any, bucket: str, key: str, version: str = "", told: Callable[[Facts], None] = lambda _: None
) -> Iterator[bytes]:
    """The bytes of an object, as stored; resumes after a broken connection if the object is still the same.

    `told` gets what S3 says of the object, before the first chunk.

    Raises:
        ObjectError: before the first chunk or between any two.
    """
    position, etag, fruitless = 0, "", 0
    while True:
        begun = position
        try:
            answer = client.get_object(**_request(bucket, key, version, position, etag))
            if not etag:
                if how := encrypted_by(answer.get("Metadata", {})):
                    answer["Body"].close()
                    raise ObjectEncrypted(sentence(f"s3://{bucket}/{key}", how))
                told(Facts(answer["ContentLength"], int(answer["LastModified"].timestamp() * 1000)))
            etag = answer["ETag"]
            # Whoever has read enough leaves the rest, and with it the connection.
            with closing(answer["Body"]) as body:
                for chunk in body.iter_chunks(CHUNK):
                    position += len(chunk)
                    yield chunk
        except ClientError as error:
            raise object_error(error, f"s3://{bucket}/{key}") from error
        except (BotoCoreError, HTTPError, OSError) as error:
            fruitless = fruitless + 1 if position == begun else 0
            if fruitless >= RESUMES:
                raise ObjectUnavailable(f"S3 does not give s3://{bucket}/{key}: {error}") from error
        else:
            return


def open_object(client: Any, bucket: str, key: str, version: str = "") -> tuple[Facts, Iterator[bytes]]:
    """What S3 says of an object, and its bytes as `read_object` gives them.

    Raises:
        ObjectError: now, or between any two chunks.
    """
    said: list[Facts] = []
    chunks = read_object(client, bucket, key, version, said.append)
    first = next(chunks, b"")
    return said[0], chain((first,), chunks)


def _request(bucket: str, key: str, version: str, position: int, etag: str) -> dict[str, str]:
    request = {"Bucket": bucket, "Key": key}
    if version:
        request["VersionId"] = version
    if position:
        request |= {"Range": f"bytes={position}-", "IfMatch": etag}
    return request


def object_error(error: ClientError, uri: str) -> ObjectError:
    """What S3's refusal means."""
    code = error.response.get("Error", {}).get("Code", "")
    if code in _MISSING:
        return ObjectMissing(f"{uri} does not exist ({code})")
    if code in _FORBIDDEN:
        return ObjectForbidden(
            f"{uri} may not be read ({code}): grant s3:GetObject and s3:ListBucket; restore what is archived"
        )
    if code == "PreconditionFailed":
        return ObjectUnavailable(f"{uri} was replaced while it was read; read it again")
    return ObjectUnavailable(str(source_error(error, uri)))


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and prefix of `s3://bucket/prefix`.

    Raises:
        SourceError: when it is not such a URI.
    """
    scheme, separator, rest = uri.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not separator or not bucket:
        raise SourceError(f"{uri} is not an S3 address: write s3://bucket/prefix")
    return bucket, prefix


class S3Prefix:
    """Every object whose key begins with a prefix, in the order of their keys, as units of a replay."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        """Take a boto3 client of S3; it is not closed."""
        self._client = client
        self._bucket = bucket
        self._prefix = prefix

    def units(self) -> Iterator[Unit]:
        """List them; keys that end in `/` and hold nothing are folders of the console, and left out.

        Raises:
            SourceError: when the bucket cannot be listed, or has no such key at all: a prefix is never empty on
                purpose, but it is often mistyped.
        """
        paginator = self._client.get_paginator("list_objects_v2")
        found = False
        try:
            for page in paginator.paginate(Bucket=self._bucket, Prefix=self._prefix):
                for entry in page.get("Contents", ()):
                    found = True
                    if entry["Size"] or not entry["Key"].endswith("/"):
                        yield self._unit(entry)
        except ClientError as error:
            raise object_error(error, f"s3://{self._bucket}/{self._prefix}") from error
        except (BotoCoreError, HTTPError, OSError) as error:
            raise source_error(error, f"s3://{self._bucket}/{self._prefix}") from error
        if not found:
            raise SourceError(
                f"no object's key begins with s3://{self._bucket}/{self._prefix}: check the prefix"
            )

    def _unit(self, entry: Any) -> Unit:
        key = entry["Key"]
        uri = f"s3://{self._bucket}/{key}"
        return Unit(
            provenance=Provenance(
                uri=uri, time=int(entry["LastModified"].timestamp() * 1000), path="firehose"
            ),
            size=entry["Size"],
            identity=f"{uri}\n{entry['Size']}\n{entry['ETag']}",
            chunks=lambda: read_object(self._client, self._bucket, key),
        )
