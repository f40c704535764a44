"""Records of the count agent's changelog: ids by bucket of cohort hours, watermarks, and ids of the first release.

| key | value |
|---|---|
| `01 'i'`, bucket (int64), writer (8 bytes), number (uint32) | `01`, tier, 6 bytes `00`, keys (uint64 each) |
| `01 'w'`, writer | watermark: hour since the epoch (int64) |
| `01 'u'` | hour until which undated ids are kept (int64) |
| offset (uint64), of the first release | keys, undated |

Integers of keys are big-endian, of values little-endian. A writer is one life of one worker, so that no record ever
takes the place of another's: what a worker sends after its partition was given away must not, after compaction,
stand for what the new owner wrote.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pipelines.worker.errors import UnreadableState

if TYPE_CHECKING:
    from pipelines.counting.dedup import Keys

WRITER_BYTES: Final = 8
_IDS: Final = b"\x01i"
_WATERMARK: Final = b"\x01w"
UNDATED_UNTIL: Final = b"\x01u"
_NAME: Final = struct.Struct(">2sq8sI")
_HOUR: Final = struct.Struct("<q")
_HEAD: Final = struct.Struct("<BB6x")
_VERSION: Final = 1
_OFFSET_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Ids:
    """Ids of a bucket; no keys: the record was deleted."""

    bucket: int | None
    tier: int
    keys: Keys | None


@dataclass(frozen=True, slots=True)
class Watermark:
    """A watermark; no hour: the record was deleted."""

    hour: int | None


@dataclass(frozen=True, slots=True)
class UndatedUntil:
    """When undated ids go."""

    hour: int | None


def ids_name(bucket: int, writer: bytes, number: int) -> bytes:
    """Key of a record of ids."""
    return _NAME.pack(_IDS, bucket, writer, number)


def ids_value(tier: int, keys: Keys) -> bytes:
    """Value of a record of ids."""
    return _HEAD.pack(_VERSION, tier) + keys.astype("<u8", copy=False).tobytes()


def watermark_name(writer: bytes) -> bytes:
    """Key of a watermark."""
    return _WATERMARK + writer


def hour_value(hour: int) -> bytes:
    """Value of a watermark, or of the hour until which undated ids are kept."""
    return _HOUR.pack(hour)


def parse(key: bytes, value: bytes | None) -> Ids | Watermark | UndatedUntil:
    """A record of the changelog.

    Raises:
        UnreadableState: when it is of a later release, or damaged.
    """
    try:
        if len(key) == _OFFSET_BYTES:
            return Ids(None, 0, None if value is None else np.frombuffer(value, dtype="<u8"))
        if key.startswith(_IDS):
            _, bucket, _, _ = _NAME.unpack(key)
            if value is None:
                return Ids(bucket, 0, None)
            version, tier = _HEAD.unpack_from(value)
            if version == _VERSION:
                return Ids(bucket, tier, np.frombuffer(value, dtype="<u8", offset=_HEAD.size))
        elif key.startswith((_WATERMARK, UNDATED_UNTIL)):
            hour = None if value is None else _HOUR.unpack(value)[0]
            return UndatedUntil(hour) if key == UNDATED_UNTIL else Watermark(hour)
    except (struct.error, ValueError) as error:
        raise UnreadableState(_sentence(key)) from error
    raise UnreadableState(_sentence(key))


def _sentence(key: bytes) -> str:
    return (
        f"The changelog of the events seen has a record {key[:24].hex()} that this release cannot read: "
        "run the release that wrote it, or a later one."
    )
