"""What Postmaster Tools has of some days, domain by domain: a refused one does not keep the others from theirs."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from connectors.errors import SourceError
from connectors.postmaster import metrics, wire
from connectors.postmaster.client import Api, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from msgspec import Raw

    from connectors.postmaster.metrics import Metric
    from connectors.postmaster.wire import Days, Figure

_INVALID: Final = 400
_FORBIDDEN: Final = 403
_NOT_FOUND: Final = 404


@dataclass(slots=True)
class Fetched:
    """Of one domain."""

    domain: str
    figures: list[Figure] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """Sentences: why figures are missing that there may be."""


def days_before(today: date, count: int) -> Days:
    """The `count` days before today: today's figures are never there yet."""
    return wire.Days(today - timedelta(days=count), today - timedelta(days=1))


def fetch(api: Api, domains: Sequence[str], today: date, days: int) -> Iterator[Fetched]:
    """Ask.

    Args:
        api: where.
        domains: which; none: all verified ones that the account may see.
        today: in UTC; what is said of the present is of this day.
        days: how many before it.

    Raises:
        SourceError: Google cannot be asked, or there is no domain to ask about.
    """
    chosen = sorted({each.strip().rstrip(".").lower() for each in domains} - {""}) or api.domains()
    if not chosen:
        raise SourceError(
            f"{api.account} sees no verified domain in Postmaster Tools: add it as a user of your domains there, or "
            "set postmaster.subject to a user who sees them"
        )
    for domain in chosen:
        yield _of(api, domain, today, days_before(today, days))


def _of(api: Api, domain: str, today: date, days: Days) -> Fetched:
    found = Fetched(domain)
    try:
        for group in metrics.groups():
            _gather(api, found, group, days)
        seen = wire.identifiers(_stats(api, found, (metrics.FEEDBACK_LOOP_ID,), days))
        for group in metrics.feedback_loops(seen):
            _gather(api, found, group, days)
        found.figures += wire.compliance(domain, today, api.compliance(domain))
    except RefusedError as error:
        found.problems.append(_sentence(api, domain, error))
    return found


def _gather(api: Api, found: Fetched, group: Sequence[Metric], days: Days) -> None:
    found.figures += wire.figures(found.domain, group, _stats(api, found, group, days))


def _stats(api: Api, found: Fetched, group: Sequence[Metric], days: Days) -> list[Raw]:
    try:
        return api.stats(found.domain, group, days)
    except RefusedError as error:
        if error.status != _INVALID:
            raise
        # It dislikes this question; the others are none the worse for it.
        found.problems.append(f"{found.domain}: Postmaster Tools refuses {group[0].name} ({error})")
        return []


def _sentence(api: Api, domain: str, error: RefusedError) -> str:
    if error.status == _FORBIDDEN:
        return (
            f"{domain}: Postmaster Tools gives {api.account} no access ({error}): verify the domain there, and add "
            "the account as its user"
        )
    if error.status == _NOT_FOUND:
        return f"{domain}: Postmaster Tools does not know it ({error}): register and verify it there"
    return f"{domain}: Postmaster Tools does not answer ({error}): the next fetch asks again"
