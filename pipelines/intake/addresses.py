"""Addresses as SES writes them: bare, `Name <a@b>`, RFC 2047, comma-joined."""

from __future__ import annotations

import re
from email.utils import getaddresses, parseaddr
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_PLAIN: Final = re.compile(r"[^\s<>\",;:()@]+@[^\s<>\",;:()@]+")
# RFC 5321, 4.5.3.1: 64 octets of local part, 255 of domain. Without limits a long word costs its square.
_IN_TEXT: Final = re.compile(r"[^\s<>\",;:()@=]{1,64}@[^\s<>\",;:()@]{1,255}")
_MAX_LENGTH: Final = 2048
"""Characters with display name; what is longer is no address, and not worth a parser's time."""


def bare(text: str) -> str:
    """The address alone, its domain in lower case; the text itself, stripped, when there is none in it."""
    if not _PLAIN.fullmatch(text):
        text = _parsed(text)
    local, at, domain = text.rpartition("@")
    return f"{local}@{domain.lower()}" if at else text


def _parsed(text: str) -> str:
    inside = (
        text[text.rfind("<") + 1 : text.rfind(">")] if text.rstrip().endswith(">") and "<" in text else ""
    )
    if inside:
        return inside.strip()
    # The library reads comments and quoted local parts; it is slow and refuses what is not RFC 5322.
    if len(text) > _MAX_LENGTH:
        return text.strip()
    try:
        return (parseaddr(text)[1] or text).strip()
    except RecursionError:
        return text.strip()  # comments nested by the hundred


def domain_of(text: str) -> str:
    """The domain of an address in lower case, without a trailing dot; empty when there is none."""
    return bare(text).rpartition("@")[2].strip().rstrip(".>").lower() if "@" in text else ""


def listed(values: Iterable[str]) -> list[str]:
    """Every address of header values, each of which may hold several."""
    short = [value for value in values if len(value) <= _MAX_LENGTH * 50]
    try:
        return [address for _, address in getaddresses(short) if address]
    except RecursionError:
        return []


def redact(text: str) -> str:
    """Free text with `<address>` in place of addresses: providers repeat them in SMTP replies."""
    return _IN_TEXT.sub("address", text) if "@" in text else text


def keyed_hash(key: bytes) -> blake2b:
    """What `pseudonym` starts from: a hash under a key of any length."""
    short = key if len(key) <= blake2b.MAX_KEY_SIZE else blake2b(key).digest()
    return blake2b(key=short, digest_size=16)


def pseudonym(keyed: blake2b, lower: str) -> str:
    """Of an address in lower case: 32 hex digits, the same wherever an address is stored."""
    digest = keyed.copy()
    digest.update(lower.encode(errors="replace"))
    return digest.hexdigest()


def domain_of_bare(lower: str) -> str:
    """The domain of a bare address in lower case, without a trailing dot; empty when there is none."""
    return lower.rpartition("@")[2].rstrip(".") if "@" in lower else ""
