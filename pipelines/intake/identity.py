"""Who an event is, however it came, and which copy of it this is."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_SEPARATOR: Final = "\0"
ID_BYTES: Final = 16


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
    return blake2b(_SEPARATOR.join(parts).encode(errors="replace"), digest_size=ID_BYTES).digest()


def report_id(event_type: str, message_id: str, origin: str, *details: str) -> bytes:
    """128 bits of an event that a received report is: of all that it is counted by; never that of one of SES's own."""
    parts = [event_type, message_id, origin, *details]
    return blake2b(_SEPARATOR.join(parts).encode(errors="replace"), digest_size=ID_BYTES).digest()


def marks(addresses: Iterable[str]) -> list[int]:
    """31 bits of each address (as rows have them: hashed, or plain), in order, each once: enough to know it again."""
    return sorted({_mark(address) for address in addresses})


def _mark(address: str) -> int:
    digest = blake2b(address.lower().encode(errors="replace"), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1


def arrival_id(path: str, uri: str, offset: int, position: str) -> int:
    """Signed 64 bits of where exactly this copy was read: the same when it is read there again."""
    place = f"{path}\0{uri}\0{offset}\0{position}".encode(errors="replace")
    return int.from_bytes(blake2b(place, digest_size=8).digest(), "big", signed=True)
