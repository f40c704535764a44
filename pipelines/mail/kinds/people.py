"""What an address comes to in a row."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pipelines.intake import addresses

if TYPE_CHECKING:
    from pipelines.mail.policy import MailPolicy


class Person(NamedTuple):
    """A recipient as rows have it."""

    lower: str
    address: str
    domain: str
    provider: str
    reports: bool


class People(Protocol):
    """Whoever knows how addresses are written into rows."""

    def recipient(self, text: str, /) -> Person:
        """What an address comes to."""
        ...


class Hashed:
    """Keyed hashes, or plain addresses, under a policy."""

    def __init__(self, policy: MailPolicy) -> None:
        self._plain = policy.pii == "plain"
        key = policy.pii_key
        self._key = key if len(key) <= blake2b.MAX_KEY_SIZE else blake2b(key).digest()
        self._directory = policy.directory

    def recipient(self, text: str, /) -> Person:
        """What an address comes to."""
        address = addresses.bare(text)
        lower = address.lower()
        domain = lower.rpartition("@")[2].rstrip(".") if "@" in lower else ""
        provider = self._directory.of(domain)
        if not self._plain:
            address = blake2b(lower.encode(errors="replace"), key=self._key, digest_size=16).hexdigest()
        return Person(lower, address, domain, provider.name, provider.reports_complaints)
