"""What the join compares: hashes of names, so that a thread is a set of numbers.

A *node* is 16 bytes: a hash of a scope (the tenant, where tenants are kept apart) and a name. Names are `id:` and a
Message-ID, `ses:` and SES's id of a message sent, `mail:` and a mail's id where it has no Message-ID, `conv:` and a
conversation. A *facet* is a node for (node, base subject): citing it, rather than the node, is citing a message only if
the subject stayed.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Final

NODE_BYTES: Final = 16
SUBJECT_BYTES: Final = 8
PACKED_BYTES: Final = 28
"""Of SES's id of a message."""
_OURS: Final = (".amazonses.com", ".amazonses.com.cn")
"""SES sends as `ID@email.amazonses.com` in us-east-1, as `ID@REGION.amazonses.com` elsewhere."""
_OURS_BYTES: Final = tuple(each.encode() for each in _OURS)
_REGULAR: Final = 60
"""Characters of an id: 16, 8, 4, 4, 4, 12 and 6 hex digits."""
_DASHES: Final = (16, 25, 30, 35, 40, 53)


@lru_cache(maxsize=65_536)
def scoped(scope: str) -> bytes:
    """What nodes know of a scope."""
    return blake2b(scope.encode(errors="surrogatepass"), digest_size=NODE_BYTES).digest()


def node(scope: str, name: str) -> bytes:
    """The node of a name."""
    return blake2b(scoped(scope) + name.encode(errors="surrogatepass"), digest_size=NODE_BYTES).digest()


def facet(of: bytes, subject: bytes) -> bytes:
    """The facet of a node for a subject, as `subject_of` has it."""
    return blake2b(of + subject, digest_size=NODE_BYTES).digest()


def subject_of(base_subject: str) -> bytes:
    """What facets know of a base subject."""
    return subject_of_bytes(base_subject.encode(errors="surrogatepass"))


def subject_of_bytes(base_subject: bytes) -> bytes:
    """As `subject_of`, of UTF-8."""
    return blake2b(base_subject, digest_size=SUBJECT_BYTES).digest()


def ses_id(message_id: str) -> str:
    """SES's id in a Message-ID that SES gave; empty: another gave it.

    SES replaces the Message-ID of what it sends, so this is what replies cite (SES developer guide, "Header fields").
    """
    local, _, domain = message_id.rpartition("@")
    return local if local and domain.lower().endswith(_OURS) else ""


def may_be_ours(message_id: bytes) -> bool:
    """Whether `ses_id` has to look at a Message-ID (UTF-8)."""
    return message_id.lower().endswith(_OURS_BYTES)


def name_of(message_id: str) -> str:
    """The name of a Message-ID."""
    ours = ses_id(message_id)
    return f"ses:{ours}" if ours else f"id:{message_id}"


def pack(ses: str) -> bytes:
    """28 bytes for SES's id: itself where it is of the usual form, else a hash; their first byte tells which."""
    if len(ses) == _REGULAR and all(ses[at] == "-" for at in _DASHES):
        digits = ses.replace("-", "")
        try:
            found = bytes.fromhex(digits)
        except ValueError:
            found = b""
        if found.hex() == digits:
            return b"\0" + found
    return b"\1" + blake2b(ses.encode(errors="surrogatepass"), digest_size=PACKED_BYTES - 1).digest()


def is_whole(packed: bytes) -> bool:
    """Whether the 28 bytes are the id itself."""
    return packed[0] == 0


def unpack(packed: bytes) -> str:
    """SES's id of 28 bytes that are the id itself."""
    digits = packed[1:].hex()
    tail = digits[16:]
    return "-".join((digits[:16], tail[:8], tail[8:12], tail[12:16], tail[16:20], tail[20:32], tail[32:]))
