"""`DeadLetter`: a record that could not be used, and why. Nothing is dropped without one."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final, TypedDict

PAYLOAD_LIMIT: Final = 64 * 1024
"""Bytes of a rejected record that are kept; `source` says where the rest is, `payload_size` how much there was."""

_EARLIEST: Final = -2_208_988_800_000
_LATEST: Final = 10_413_791_999_999
"""ms: 1900 to 2299, the range of ClickHouse's DateTime64. Files and requests come with any time."""


class DeadLetter(TypedDict):
    """A row of `ses.dead-letter`."""

    dead_letter_id: bytes
    """16 bytes; the same for the same record rejected again for the same cause."""
    time: int
    """When the source got it, ms: a file's mtime, an object's LastModified, a message's SentTimestamp."""
    stage: str
    """`read`, `unwrap`, `parse`, `normalise`, `mail`, `count`, `rate`, `alarm`, `sink`."""
    cause: str
    """A short snake_case word, such as `truncated_gzip`."""
    detail: str
    """One sentence for a person, or a traceback."""
    source: str
    """Where it was read: `s3://bucket/key`, `file:///…`, a queue's ARN or URL, `kafka://topic/partition/offset`; with
    `#offset` (bytes, after decompression) where there is one."""
    payload: bytes
    """Its first `PAYLOAD_LIMIT` bytes."""
    payload_size: int
    """Its whole size in bytes, as far as it was read."""


def dead_letter(
    *, time: int, stage: str, cause: str, detail: str, source: str, payload: bytes, size: int | None = None
) -> DeadLetter:
    """Make a row: identity from stage, cause, source and payload; payload capped, time as near as can be kept."""
    identity = blake2b(digest_size=16)
    for part in (stage.encode(), cause.encode(), source.encode(errors="replace"), payload):
        identity.update(len(part).to_bytes(8, "big"))
        identity.update(part)
    return DeadLetter(
        dead_letter_id=identity.digest(),
        time=min(max(time, _EARLIEST), _LATEST),
        stage=stage,
        cause=cause,
        detail=detail[:4096],
        source=source,
        payload=payload[:PAYLOAD_LIMIT],
        payload_size=len(payload) if size is None else size,
    )
