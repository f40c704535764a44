"""Who an event is, however it came, and which copy of it this is."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_SEPARATOR: Final = "\0"
ID_BYTES: Final = 16
_BLANK: Final = {size: blake2b(digest_size=size) for size in (4, 8, ID_BYTES)}
"""Hashes of nothing, by bytes of digest: copying one is quicker than making one."""


def event_id(
    event_type: str, message_id: str, feedback_id: str, recipients: Iterable[str], time: int, *details: str
) -> bytes:
    """128 bits: of the feedback where SES names one, else of recipients, time and other details.

    `event_type` is SES's word, `recipients` are plain addresses in lower case, `time` is ms. Nothing of an
    envelope, of tags or of settings takes part, so that the legacy notification and the published event of
    one thing are one.
    """
    if feedback_id:
        parts = [event_type, message_id, "feedback", feedback_id]
    else:
        parts = [event_type, message_id, "", *sorted(recipients), str(time), *details]
    return _digest(_SEPARATOR.join(parts), ID_BYTES)


def report_id(event_type: str, message_id: str, origin: str, *details: str) -> bytes:
    """128 bits of an event that a received report is: of all that it is counted by; never that of one of SES's own."""
    parts = [event_type, message_id, origin, *details]
    return _digest(_SEPARATOR.join(parts), ID_BYTES)


def marks(addresses: Iterable[str]) -> list[int]:
    """31 bits of each address (as rows have them: hashed, or plain), in order, each once: enough to know it again."""
    found = [*map(_mark, addresses)]
    return found if len(found) == 1 else sorted({*found})


def _mark(address: str) -> int:
    return int.from_bytes(_digest(address.lower(), 4), "big") >> 1


def arrival_id(path: str, uri: str, offset: int, position: str) -> int:
    """Signed 64 bits of where exactly this copy was read: the same when it is read there again."""
    digest = _place(path, uri).copy()
    digest.update(f"{offset}\0{position}".encode(errors="replace"))
    return int.from_bytes(digest.digest(), "big", signed=True)


@lru_cache(maxsize=16)
def _place(path: str, uri: str) -> blake2b:
    """Of an object of many records the beginning is hashed once."""
    digest = _BLANK[8].copy()
    digest.update(f"{path}\0{uri}\0".encode(errors="replace"))
    return digest


def _digest(text: str, size: int) -> bytes:
    digest = _BLANK[size].copy()
    digest.update(text.encode(errors="replace"))
    return digest.digest()
