"""Addresses as SES writes them: bare, `Name <a@b>`, RFC 2047, comma-joined."""

from __future__ import annotations

import re
from email.utils import getaddresses, parseaddr
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
