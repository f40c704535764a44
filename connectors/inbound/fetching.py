"""`Buckets`: objects of any region and account, as one role may read them."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from connectors.aws import Access, s3_client
from connectors.sources.s3 import open_object

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client

    from connectors.sources.s3 import Facts
    from pipelines.intake.outcomes import ObjectRef

_REGION: Final = re.compile(r"[a-z]{2,4}(-[a-z]+){1,3}-\d{1,2}")


class Buckets:
    """Thread-safe.

    An S3 event says which region its bucket is in, and is asked for there. A receipt notification does not: then S3 is
    asked where the queue is, answers with a redirection and the region, and boto3 follows and remembers it.
    """

    def __init__(self, access: Access, *, connections: int = 10) -> None:
        """Args: how S3 is reached; threads that do it at once."""
        self._access = access
        self._connections = connections
        self._lock = threading.Lock()
        self._clients: dict[str, S3Client] = {}

    def open(self, ref: ObjectRef) -> tuple[Facts, Iterator[bytes]]:
        """What S3 says of an object, and its bytes as stored.

        Raises:
            ObjectError: now, or between any two chunks.
            SourceError: when there are no credentials for the role.
        """
        return open_object(self._client(ref.region), ref.bucket, ref.key, ref.version_id)

    def _client(self, region: str) -> S3Client:
        own = self._access.region
        # A stand-in for AWS is in one place whatever the region.
        wanted = region if _REGION.fullmatch(region) and not self._access.endpoint_url else own
        with self._lock:
            if wanted not in self._clients:
                access = replace(self._access, region=wanted)
                self._clients[wanted] = s3_client(access, connections=self._connections)
            return self._clients[wanted]
