"""Whose mail it is: rules of `[[inbound.tenants]]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipelines.mail.parsed import Headers
    from pipelines.mail.policy import TenantRule

_CHARACTERS: Final = 256


def tenant_of(rules: Iterable[TenantRule], recipients: Iterable[str], headers: Headers) -> str:
    """The tenant that the first rule which says something names; empty where none does.

    `recipients` are plain addresses. Of `a@x.acme.in.example.com` under `in.example.com` it is `acme`: the label next
    to the domain, so that a tenant may have subdomains of its own.
    """
    addresses = list(recipients)
    for rule in rules:
        named = _by_subdomain(rule.subdomain_of, addresses) if rule.subdomain_of else ""
        if not named and rule.header:
            named = headers.get(rule.header).strip()[:_CHARACTERS]
        if named:
            return named
    return ""


def _by_subdomain(base: str, addresses: Iterable[str]) -> str:
    suffix = "." + base.strip(".").lower()
    for address in addresses:
        domain = address.rpartition("@")[2].rstrip(".").lower()
        if domain.endswith(suffix) and (label := domain[: -len(suffix)].rpartition(".")[2]):
            return label
    return ""
