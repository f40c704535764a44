"""`[inbound.distribution]`: received mail that is sent on, with links for its attachments; docs/distribution.md."""

from __future__ import annotations

import re
from email.utils import parseaddr
from typing import Annotated, Final

from msgspec import Meta, Struct

from connectors.errors import SettingsError
from pipelines.mail.distribution.policy import DistributionPolicy, valid

_TOPIC: Final = re.compile(r"arn:aws[a-z-]*:sns:([a-z0-9-]+):\d{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?")
_DOMAIN: Final = re.compile(r"\.?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}")
_SHORTEST: Final = 2


class Distribution(Struct, frozen=True, forbid_unknown_fields=True):
    """Off by default; and once on, nothing is sent to domains that are not named."""

    enabled: bool = False
    recipients: tuple[str, ...] = ()
    """To whom a mail must have been sent to be sent on: addresses, or `*@captures.example.com`."""
    sender: str = ""
    """From of what is sent: an address, or `Name <address>`, that SES has verified in this region."""
    begin: str = "[[to:"
    """In its text a mail names between `begin` and `end` to whom it is to be sent."""
    end: str = "]]"
    allowed_domains: tuple[str, ...] = ()
    """Domains that may be sent to: `example.com` alone, `.example.com` every domain below it. Empty: none."""
    at_most: Annotated[int, Meta(ge=1, le=50)] = 50
    """Recipients a mail may name; with more it is not sent on. SES takes 50."""
    senders: tuple[str, ...] = ()
    """Who may have mail sent on: addresses, or `*@devices.example.com`. Empty: anybody."""
    authenticated: bool = True
    """Whether a mail must have passed DMARC; or SPF for the domain of From, where that has no policy."""
    link_h: Annotated[float, Meta(gt=0, le=168)] = 168.0
    """Hours that links hold; AWS makes none that hold longer than 7 days, or than the credentials that sign them."""
    max_age_h: Annotated[float, Meta(gt=0, le=24 * 30)] = 24.0
    """Mails received longer ago are not sent on, so that a replay sends nothing."""
    retry_h: Annotated[float, Meta(gt=0, le=24 * 7)] = 6.0
    """For how long sending is tried while SES, S3 or SNS do not take it."""
    resend_unclear: bool = False
    """Whether a mail is sent again after an answer (500, 502, 504) that leaves open whether SES has taken it. Then
    somebody may get it twice."""
    configuration_set: str = ""
    """With which it is sent; empty: that of the identity."""
    fallback_topic: str = ""
    """ARN of an SNS topic that is told of what is not sent, and why; empty: only view `mail_forwards` says it."""
    region: str = ""
    """Of SES; empty: that of the default credential chain."""
    role_arn: str = ""
    """To assume, for SES, SNS and the stored mails."""
    endpoint_url: str = ""
    """Other than AWS's own, for local stand-ins."""


def policy_of(settings: Distribution) -> DistributionPolicy:
    """What the pure part is told."""
    return DistributionPolicy(
        sender=settings.sender,
        begin=settings.begin,
        end=settings.end,
        allowed_domains=tuple(each.lower() for each in settings.allowed_domains),
        at_most=settings.at_most,
        senders=settings.senders,
        authenticated=settings.authenticated,
    )


def sender_of(settings: Distribution) -> str:
    """The bare address that is sent from."""
    return valid(parseaddr(settings.sender)[1])


def topic_region(settings: Distribution) -> str:
    """Of the fallback topic; empty: there is none."""
    match = _TOPIC.fullmatch(settings.fallback_topic)
    return match[1] if match else ""


def check(settings: Distribution, attachments: str) -> None:
    """What their types do not say.

    Args:
        settings: themselves.
        attachments: `inbound.attachments`.

    Raises:
        SettingsError: with what is wrong.
    """
    if settings.fallback_topic and not topic_region(settings):
        _refuse("fallback_topic", "must be the ARN of an SNS topic: arn:aws:sns:REGION:ACCOUNT:NAME")
    for name in ("begin", "end"):
        marker = getattr(settings, name)
        if (
            len(marker) < _SHORTEST
            or marker != marker.strip()
            or not marker.isprintable()
            or marker[0] in ">|"
        ):
            _refuse(
                name, "must be two or more characters on one line, that do not begin like a quotation (>, |)"
            )
    for each in settings.allowed_domains:
        if not _DOMAIN.fullmatch(each.lower()):
            _refuse(
                "allowed_domains",
                f"{each!r} is no domain: write example.com, or .example.com for all below it",
            )
    for name in ("recipients", "senders"):
        for each in getattr(settings, name):
            if not valid(each.replace("*", "a", 1) if each.startswith("*@") else each):
                _refuse(name, f"{each!r} is neither an address nor *@ and a domain")
    if settings.enabled:
        _check_enabled(settings, attachments)


def _check_enabled(settings: Distribution, attachments: str) -> None:
    if not attachments.startswith("s3://"):
        _refuse("enabled", "links need attachments in S3: set inbound.attachments to s3://BUCKET/PREFIX")
    if not settings.recipients:
        _refuse("recipients", "is empty: name the addresses whose mail is to be sent on")
    if not sender_of(settings) or not settings.sender.isprintable() or not settings.sender.isascii():
        _refuse("sender", "must be an address that SES has verified, in ASCII, or a name and <address>")
    if not settings.allowed_domains:
        _refuse("allowed_domains", "is empty, so nothing could be sent: name the domains that may be sent to")


def _refuse(name: str, reason: str) -> None:
    raise SettingsError(f"inbound.distribution.{name}: {reason}")
