"""`DistributionPolicy`: what of sending mail on is a setting, and `Unsuitable`: why a mail is not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_ATOM: Final = r"[A-Za-z0-9_'+=~#-]+"
_LOCAL: Final = rf"(?!-){_ATOM}(?:\.{_ATOM})*"
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS: Final = re.compile(rf"({_LOCAL})@((?:{_LABEL}\.)+(?=[A-Za-z0-9-]*[A-Za-z]){_LABEL})")
_LOCAL_LENGTH: Final = 64
_DOMAIN_LENGTH: Final = 253
_LENGTH: Final = 254
"""RFC 5321, 4.5.3.1, with erratum 1690 of RFC 3696."""


class Unsuitable(Exception):  # noqa: N818 - named by what it says
    """A mail is not sent on. `cause` is a word of docs/distribution.md, `detail` a sentence."""

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(cause, detail)
        self.cause = cause
        self.detail = detail


@dataclass(frozen=True, slots=True)
class DistributionPolicy:
    """Nothing is sent to anybody by default: there are no allowed domains."""

    sender: str
    """From: an address, or `Name <address>`, that SES has verified."""
    begin: str = "[[to:"
    end: str = "]]"
    """Between them the text names the recipients."""
    allowed_domains: tuple[str, ...] = ()
    """Of recipients: `example.com` alone, `.example.com` every domain below it."""
    at_most: int = 50
    """Recipients of a mail."""
    senders: tuple[str, ...] = ()
    """Who may have mail sent on: addresses, `*@example.com`; empty: whoever passes the other tests."""
    authenticated: bool = True
    """Whether the mail must have passed DMARC; or SPF or DKIM where its domain has no DMARC policy."""


def valid(address: str) -> str:
    """An address with its domain in lower case; empty when it is none that mail is sent on to.

    That is less than RFC 5321 has: no quoted local parts, no addresses in numbers, ASCII only, and in local parts
    nothing by which old servers are told to pass mail on (`%`, `!`), to run or write something (`|`, `/`), or that
    their programs take for an option.
    """
    match = _ADDRESS.fullmatch(address) if len(address) <= _LENGTH else None
    if match is None or len(match[1]) > _LOCAL_LENGTH or len(match[2]) > _DOMAIN_LENGTH:
        return ""
    return f"{match[1]}@{match[2].lower()}"


def within(domain: str, allowed: tuple[str, ...]) -> bool:
    """Whether a domain is among those that settings name: `example.com` itself, `.example.com` any below."""
    return any(domain.endswith(each) if each.startswith(".") else domain == each for each in allowed)


def matches(address: str, patterns: tuple[str, ...]) -> bool:
    """Whether an address is among those that settings name: itself, or `*@example.com` any of that domain."""
    lower = address.lower()
    return any(
        lower.endswith(each[1:].lower()) if each.startswith("*@") else lower == each.lower()
        for each in patterns
    )
