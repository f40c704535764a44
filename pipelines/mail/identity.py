"""Which mail a mail is: `mail_id`."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import mmap

_ID_BYTES: Final = 16
_CHUNK: Final = 1024 * 1024


def mail_id(ses_id: str, raw: bytes | mmap.mmap) -> bytes:
    """128 bits: of SES's id of the received mail where it is known, else of its bytes, line ends taken as LF."""
    if ses_id:
        return blake2b(f"ses\0{ses_id}".encode(errors="replace"), digest_size=_ID_BYTES).digest()
    digest = blake2b(b"raw\0", digest_size=_ID_BYTES)
    held = b""
    for start in range(0, len(raw), _CHUNK):
        chunk = held + raw[start : start + _CHUNK]
        held = b"\r" if chunk.endswith(b"\r") else b""
        digest.update(chunk[: len(chunk) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n"))
    digest.update(held.replace(b"\r", b"\n"))
    return digest.digest()


def is_setup_notification(raw: bytes | mmap.mmap) -> bool:
    """Whether it is the object that SES puts into a bucket when a rule is made: about the plumbing, no mail."""
    head = bytes(raw[:4096])
    return b"Subject: Amazon SES Setup Notification" in head and b"no-reply-aws@amazon.com" in head
