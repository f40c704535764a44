"""`[inbound]`: what is made of received mail; docs/inbound.md."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Meta, Struct

from connectors.distribution.settings import Distribution
from connectors.distribution.settings import check as check_distribution
from connectors.errors import SettingsError
from connectors.inbound.patterns import repeats_repetition
from pipelines.mail.policy import ConversationRule, Limits, MailPolicy, TenantRule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.intake.policy import NormalisePolicy

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.IGNORECASE)
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]+:", re.IGNORECASE)


class Tenant(Struct, frozen=True, forbid_unknown_fields=True):
    """How a mail's tenant is told; the first of the list that says something has it."""

    subdomain_of: str = ""
    """`in.example.com`: mail to `anybody@acme.in.example.com` is tenant `acme`'s."""
    header: str = ""
    """`X-Tenant`: the value of that header field is the tenant. Whoever can write to you can set it."""


class Conversation(Struct, frozen=True, forbid_unknown_fields=True):
    """Addresses that name a conversation outright."""

    name: str
    pattern: str
    """Regular expression of a whole address in lower case; what its groups hold is the conversation's key."""


class Inbound(Struct, frozen=True, forbid_unknown_fields=True):
    """Received mail: reports, replies, threads and attachments."""

    threads: bool = True
    """Whether messages sent are remembered, so that replies find them."""
    outbound_days: Annotated[int, Meta(ge=1, le=400)] = 30
    """Days that a message sent is remembered for replies and reports about it."""
    thread_days: Annotated[int, Meta(ge=1, le=400)] = 90
    """Days without news after which a conversation is forgotten; ClickHouse keeps what there was."""
    tenants: tuple[Tenant, ...] = ()
    conversations: tuple[Conversation, ...] = ()
    expected_originators: tuple[str, ...] = ()
    """Values of `X-MAIL-MANAGER-ORIGINATOR-ORG` that mail relayed by Mail Manager may have; any other is flagged."""
    list_addresses: tuple[str, ...] = ()
    """Addresses of List-Unsubscribe (patterns with `*`): what comes there asks to be unsubscribed."""
    objects: str = ""
    """`s3://bucket/prefix` under which a rule's S3 action stores mails: notifications that hold no mail and name no
    object (of a Lambda, Bounce or Stop action) then stand for the object there that has the mail's id for a name."""
    attachments: str = ""
    """Where attachments are kept by their hash: `s3://bucket/prefix` or a directory. Empty: nowhere, only hashed; an
    embedded instance keeps them in its data directory."""
    attachment_days: Annotated[int, Meta(ge=1, le=3650)] = 90
    """Days that an attachment is kept."""
    max_mb: Annotated[int, Meta(ge=1, le=40)] = 40
    """Size of a mail beyond which it is not read; SES takes 40 MB at the most."""
    readers: Annotated[int, Meta(ge=1, le=64)] = 16
    """Mails of a queue that are fetched and read at once: mostly they wait for S3."""
    in_hand: Annotated[int, Meta(ge=10, le=5000)] = 1000
    """Mails of a queue received and waiting to be read at the most, shared alike by the tenants that have any."""
    memory_mb: Annotated[int, Meta(ge=40, le=65_536)] = 128
    """Size of all mails of a process that are being read at once."""
    distribution: Distribution = Distribution()


def policy_of(inbound: Inbound, normalise: NormalisePolicy) -> MailPolicy:
    """How mails are read; addresses and providers are treated as those of events are."""
    return MailPolicy(
        directory=normalise.directory(),
        pii=normalise.pii,
        pii_key=normalise.pii_key,
        tenants=tuple(
            TenantRule(rule.subdomain_of.strip(".").lower(), rule.header) for rule in inbound.tenants
        ),
        conversations=tuple(
            ConversationRule(rule.name, re.compile(rule.pattern)) for rule in inbound.conversations
        ),
        expected_originators=inbound.expected_originators,
        list_addresses=tuple(address.lower() for address in inbound.list_addresses),
        limits=Limits(size=inbound.max_mb * 1024 * 1024),
    )


def check(inbound: Inbound) -> None:
    """What their types do not say.

    Raises:
        SettingsError: with what is wrong.
    """
    for tenant in inbound.tenants:
        if bool(tenant.subdomain_of) == bool(tenant.header):
            raise SettingsError("inbound.tenants: give each rule either subdomain_of or header")
    _check_conversations(inbound.conversations)
    if inbound.objects and not inbound.objects.startswith("s3://"):
        raise SettingsError("inbound.objects: write s3://bucket/prefix")
    for address in inbound.list_addresses:
        if "@" not in address:
            raise SettingsError(
                f"inbound.list_addresses: {address!r} is no address: write one such as unsubscribe+*@example.com"
            )
    if _SCHEME.match(inbound.attachments) and not inbound.attachments.startswith("s3://"):
        raise SettingsError("inbound.attachments: write s3://bucket/prefix or a directory")
    check_distribution(inbound.distribution, inbound.attachments)


def _check_conversations(rules: Sequence[Conversation]) -> None:
    names = [rule.name for rule in rules]
    for rule in rules:
        if not _NAME.fullmatch(rule.name) or names.count(rule.name) > 1:
            raise SettingsError(
                f"inbound.conversations: {rule.name!r} is no name of a rule: "
                "give each its own, of letters, digits, - and _"
            )
        try:
            re.compile(rule.pattern)
        except re.error as error:
            raise SettingsError(
                f"inbound.conversations: the pattern of {rule.name} is no regular expression: {error}"
            ) from None
        if repeats_repetition(rule.pattern):
            raise SettingsError(
                f"inbound.conversations: the pattern of {rule.name} repeats what repeats, so an address made for it"
                " could hold everything up: write [a-z-]+ in place of ([a-z]+-?)+"
            )
