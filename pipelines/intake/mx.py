"""Who hosts a domain's mail, by its MX records. Pure: someone else looks them up, and never the bridge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.intake.providers import a_label, find, mx_table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipelines.intake.providers import Match


@dataclass(frozen=True, slots=True, order=True)
class Mx:
    """An MX record (RFC 5321, 5.1)."""

    preference: int
    """The least is tried first."""
    host: str


def preferred(records: Iterable[Mx]) -> list[Mx]:
    """The records that mail goes to first, in order of their names; those behind them are for when these fail."""
    ordered = sorted({Mx(one.preference, a_label(one.host)) for one in records})
    return [one for one in ordered if one.preference == ordered[0].preference]


def provider_of(records: Iterable[Mx]) -> tuple[Match, Mx] | None:
    """Whose mail exchangers these are, and the record that tells; None where none is known.

    Only the preferred records count: a filter in front of a provider is who takes the mail, and who hears of it when a
    reader reports spam.
    """
    for one in preferred(records):
        if match := find(mx_table(), one.host):
            return match, one
    return None
