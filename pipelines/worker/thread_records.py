"""Records of the threads' changelog: messages in threads, and messages sent.

| key | value |
|---|---|
| `01 'm'`, mail's id (16 bytes), writer (8 bytes) | a mail received: see `pipelines.threads.facts` |
| `01 's'`, SES's id (28 bytes), writer | a message sent that is in a thread |
| `01 'o'`, day (int64), whether with callers' Message-IDs, writer, number (uint32) | messages sent: `threads.rows` |

Integers are big-endian. A writer is one life of one worker, so that no record takes the place of another's (see
`seen_records`).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from pipelines.counting.rate import StateError

if TYPE_CHECKING:
    from pipelines.threads.index import Place

WRITER_BYTES: Final = 8
_FORMAT: Final = b"\x01"
_ROWS: Final = struct.Struct(">2sq?8sI")
_MEMBERS: Final = {b"m": 17, b"s": 29}


def fact_name(member: bytes, writer: bytes) -> bytes:
    """Key of the record of a message in a thread."""
    return _FORMAT + member + writer


def rows_name(place: Place, writer: bytes, number: int) -> bytes:
    """Key of a record of messages sent."""
    return _ROWS.pack(b"\x01o", *place, writer, number)


def parse(key: bytes) -> bytes | Place:
    """Whose record it is: a member's, or a bucket's.

    Raises:
        StateError: when it is of a later release.
    """
    kind = key[1:2]
    if key[:1] == _FORMAT and kind == b"o" and len(key) == _ROWS.size:
        _, day, headed, _, _ = _ROWS.unpack(key)
        return day, headed
    if key[:1] == _FORMAT and len(key) == 1 + _MEMBERS.get(kind, 0) + WRITER_BYTES:
        return key[1:-WRITER_BYTES]
    raise StateError(f"a record {key[:24].hex()} of a kind that a later release wrote")
