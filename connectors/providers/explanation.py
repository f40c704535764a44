"""Why a domain belongs to a provider, and what follows for rates: for people, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from connectors.errors import SettingsError
from connectors.providers.mx import LookupFailedError
from connectors.providers.tables import INLINE
from pipelines.intake.addresses import domain_of
from pipelines.intake.mx import preferred, provider_of
from pipelines.intake.providers import OTHER, a_label, is_domain

if TYPE_CHECKING:
    from connectors.providers.resolved import Lookup
    from pipelines.intake.providers import Directory, Match

Rule = Literal["domain", "parent", "none"]
RESOLVE = "`ses-streams providers resolve`"


class Exchangers(Struct, frozen=True):
    """What the MX records of a domain say at this moment."""

    hosts: list[str]
    """The preferred ones."""
    provider: str
    """`other` where the hosts are nobody's we know."""
    reports_complaints: bool | None
    """None: not known."""
    source: str
    failed: bool = False
    """No name server answered."""


class Explanation(Struct, frozen=True):
    """One domain, explained."""

    domain: str
    provider: str
    """`other` where no table knows it."""
    rule: Rule
    table: str
    """Which table knows it: a setting, a file, or the program's own; empty: none."""
    key: str
    """What the table has: the domain, or with a leading dot the parent."""
    reports_complaints: bool | None
    """None: not known."""
    eligible: bool
    """Whether its deliveries count as eligible for complaints, under the present settings."""
    source: str
    mx: Exchangers | None
    advice: str


def domain_in(text: str) -> str:
    """The domain of an address, or of a domain as a person writes it.

    Raises:
        SettingsError: it is neither.
    """
    domain = a_label(domain_of(text) if "@" in text else text.strip())
    if not is_domain(domain) or domain.startswith("."):
        raise SettingsError(f"{text!r} is no domain and no address: give one such as example.com")
    return domain


def explain(domain: str, directory: Directory, lookup: Lookup | None = None) -> Explanation:
    """Explain a domain that `domain_in` gave; with a lookup, its MX records are asked for too."""
    match = directory.match(domain)
    provider = directory.of(domain)
    exchangers = _exchangers(domain, lookup) if lookup else None
    unknown = provider.name == OTHER
    return Explanation(
        domain=domain,
        provider=provider.name,
        rule="none" if match is None else "domain" if match.key == domain else "parent",
        table=match.origin if match else "",
        key=match.key if match else "",
        reports_complaints=None if unknown else provider.reports_complaints,
        eligible=provider.reports_complaints,
        source=match.entry.comment if match else "",
        mx=exchangers,
        advice=_advice(domain, match, exchangers) if unknown else "",
    )


def _exchangers(domain: str, lookup: Lookup) -> Exchangers:
    try:
        records = lookup.records(domain)
    except LookupFailedError:
        return Exchangers([], OTHER, None, "", failed=True)
    hosts = [record.host for record in preferred(records)]
    found = provider_of(records)
    if found is None:
        return Exchangers(hosts, OTHER, None, "")
    entry = found[0].entry
    return Exchangers(hosts, entry.provider.name, entry.provider.reports_complaints, entry.comment)


def _advice(domain: str, match: Match | None, mx: Exchangers | None) -> str:
    if match is not None:
        return f"{match.origin} says that it is unknown: take that away, or name a provider there"
    if mx is None:
        return f"ask its MX records with --mx, or let {RESOLVE} do so for every unknown domain"
    if mx.failed:
        return "no name server answered for it: ask again later, or with --nameserver"
    if mx.provider == OTHER:
        return (
            f"nobody we know hosts it: if you know who does, set it in {INLINE}; if it reports complaints, "
            "describe it in counting.providers_file"
        )
    return f'set "{domain}" = "{mx.provider}" in {INLINE}, or let {RESOLVE} write it for every domain'


def text_of(found: Explanation) -> str:
    """Lines for a person, the domain first."""
    unknown = found.provider == OTHER
    by = {
        "none": "no table knows it",
        "domain": f"{found.table} has {found.key}",
        "parent": f"{found.table} has {found.key}, every domain below",
    }[found.rule]
    eligible = "yes" if found.eligible else "no"
    if unknown:
        eligible += f" (counting.unknown_providers_report = {str(found.eligible).lower()})"
    rows = [
        ("provider", found.provider),
        ("because", by),
        ("reports complaints", _word(known=found.reports_complaints)),
        ("counts as eligible", eligible),
        ("source", found.source),
        ("MX now", _mx(found)),
        ("what to do", found.advice),
    ]
    return "\n".join([found.domain, *(f"  {name:<20}{said}" for name, said in rows if said)])


def _mx(found: Explanation) -> str:
    if found.mx is None:
        return ""
    if found.mx.failed:
        return "no answer"
    hosts = ", ".join(found.mx.hosts) or "none"
    if found.mx.provider == OTHER:
        return hosts
    reports = _word(known=found.mx.reports_complaints)
    return f"{hosts}: {found.mx.provider}, reports complaints: {reports} (a bridge does not ask)"


def _word(*, known: bool | None) -> str:
    return "not known" if known is None else "yes" if known else "no"
