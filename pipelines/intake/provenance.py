"""Where bytes were read, when their source got them, and by what path bare events in them came."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Provenance:
    """Of one message, object, file or request."""

    uri: str
    """`s3://bucket/key`, `file:///…`, a queue's ARN or URL with the message's id, …: the same when it is
    read again."""
    time: int
    """When the source got it, ms since the epoch: SentTimestamp, LastModified, mtime, request time."""
    path: str
    """Path of bare events: `file` in a local replay, `firehose` for Firehose's objects and HTTP requests,
    `sns` for a queue with raw delivery. Inside an SNS or EventBridge envelope the envelope decides."""

    def at(self, offset: int) -> str:
        """The uri of one record in it: `#` and its byte offset (after decompression) where that is not 0."""
        return f"{self.uri}#{offset}" if offset else self.uri
