"""What of received mail is a setting: `[inbound]`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import re

    from pipelines.intake.providers import Directory


@dataclass(frozen=True, slots=True)
class TenantRule:
    """Names a mail's tenant: by a subdomain of its recipients, or by a header field. One of the two is empty."""

    subdomain_of: str = ""
    """`in.example.com`: a mail to `anybody@acme.in.example.com` is tenant `acme`'s."""
    header: str = ""
    """`X-Tenant`: its value is the tenant."""


@dataclass(frozen=True, slots=True)
class ConversationRule:
    """Addresses that name a conversation outright, such as `case-123+bob@support.example.com`."""

    name: str
    pattern: re.Pattern[str]
    """Matched against whole addresses in lower case; its groups, else the whole, are the conversation's key."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Beyond them a mail is refused: it is a bomb, or as good as one."""

    size: int = 40 * 1024 * 1024
    """Bytes of the raw mail: what SES takes."""
    parts: int = 1_000
    depth: int = 30
    """Parts within parts, messages within messages included."""
    headers: int = 2_000
    """Header fields of a part."""
    header_bytes: int = 1024 * 1024
    """Of all header fields of a part."""
    inflated: int = 64 * 1024 * 1024
    """Bytes of a compressed report or TNEF once it is inflated."""
    ratio: int = 200
    """Of inflated to compressed bytes, once it is more than a megabyte."""


@dataclass(frozen=True, slots=True)
class MailPolicy:
    """Settings of reading a mail."""

    directory: Directory = field(repr=False)
    """Who hosts which domain: as for events."""
    pii: Literal["hashed", "plain"] = "hashed"
    pii_key: bytes = field(default=b"", repr=False)
    tenants: tuple[TenantRule, ...] = ()
    """The first that says something has it."""
    conversations: tuple[ConversationRule, ...] = ()
    expected_originators: tuple[str, ...] = ()
    """Values of `X-MAIL-MANAGER-ORIGINATOR-ORG` that are expected; any other is flagged."""
    list_addresses: tuple[str, ...] = ()
    """Addresses (patterns with `*`) of List-Unsubscribe: what comes there is of kind `unsubscribe`."""
    limits: Limits = Limits()
