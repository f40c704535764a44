"""Addresses of mail: lists of them taken apart, and what is stored in their place.

Lists are read by the mail-parser package: it splits by structure, so that a comma in a name makes no recipient and an
address in a name is none. What is plain (`a@b`, `Name <a@b>`) never gets there.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mailparser.utils import get_addresses

from pipelines.intake import addresses
from pipelines.mail.limits import ADDRESS_CHARACTERS, ADDRESSES, VALUE_CHARACTERS

if TYPE_CHECKING:
    from pipelines.intake.providers import Directory
    from pipelines.mail.parsed import Headers
    from pipelines.mail.policy import MailPolicy

_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,255}"
_PLAIN: Final = re.compile(rf"(?:\"?[^\"<>(),:;@\\\[\]]{{0,200}}\"?[ \t]*<({_ATOM})>|({_ATOM}))")
_IN_TEXT: Final = re.compile(_ATOM)
_CACHED: Final = 10_000
_CACHED_LENGTH: Final = 512


class Person(NamedTuple):
    """What an address comes to."""

    lower: str
    """The plain address: for matching, never to be stored."""
    address: str
    """Keyed hash, or plain address when `pii = "plain"`: as in events."""
    domain: str
    provider: str
    reports: bool
    """Whether the provider tells SES of complaints."""


_NOBODY: Final = Person("", "", "", "", reports=False)


class Pseudonyms:
    """Puts keyed hashes in place of addresses, as the events do; holds a cache, not thread-safe."""

    def __init__(self, policy: MailPolicy) -> None:
        self._plain = policy.pii == "plain"
        self._keyed = addresses.keyed_hash(policy.pii_key)
        self._directory: Directory = policy.directory
        self._known: dict[str, Person] = {}

    def recipient(self, text: str, /) -> Person:
        """What an address, in any form in which mail has it, comes to; all empty for an empty one."""
        known = self._known.get(text)
        if known is None:
            known = self._made(text)
            if len(text) <= _CACHED_LENGTH:
                if len(self._known) >= _CACHED:
                    self._known.clear()
                self._known[text] = known
        return known

    def word(self, text: str) -> str:
        """A word that may name a person, such as the key of a conversation."""
        return text if self._plain or not text else addresses.pseudonym(self._keyed, text)

    def redact(self, text: str) -> str:
        """Free text without addresses in it, unless they are stored plainly."""
        return text if self._plain else addresses.redact(text)

    def _made(self, text: str) -> Person:
        address = addresses.bare(text)
        lower = address.lower()
        if not lower or lower == "<>":
            return _NOBODY
        domain = addresses.domain_of_bare(lower)
        provider = self._directory.of(domain)
        shown = address if self._plain else addresses.pseudonym(self._keyed, lower)
        return Person(lower, shown, domain, provider.name, reports=provider.reports_complaints)


def listed(headers: Headers, *names: str) -> list[str]:
    """Bare addresses of the fields of these names, each once, in order."""
    found: dict[str, None] = {}
    for name in names:
        for value in headers.undecoded(name):
            for address in _remembered(value) if len(value) <= _CACHED_LENGTH else of_value(value):
                found.setdefault(address)
                if len(found) >= ADDRESSES:
                    return list(found)
    return list(found)


@lru_cache(_CACHED)
def _remembered(value: str) -> tuple[str, ...]:
    """Of a value that may well come again: many mails are to the same few addresses."""
    return tuple(of_value(value))


def of_value(value: str) -> list[str]:
    """Bare addresses of a field's value."""
    match = _PLAIN.fullmatch(value)
    if match:
        return [match[1] or match[2]]
    if "@" not in value:
        return []
    value = value[:VALUE_CHARACTERS]
    if value.count(",") + value.count(";") >= ADDRESSES:
        return _IN_TEXT.findall(value)[:ADDRESSES]
    defects: list[dict[str, Any]] = []
    found = [address for _, address in get_addresses(value, defects=defects)]
    # What the library finds ambiguous it leaves out; mail has to be from somebody all the same.
    for defect in defects:
        if not defect["recovered"]:
            found += [candidate["address"] for candidate in defect["candidates"]]
    sound = [address for address in found if 0 < len(address) <= ADDRESS_CHARACTERS]
    return sound or _IN_TEXT.findall(value)[:ADDRESSES]
