"""Which mailbox provider a recipient domain belongs to, and whether it tells SES of complaints."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

OTHER: Final = "other"
"""Provider of a domain that is not in the table."""


@dataclass(frozen=True, slots=True)
class Provider:
    """A row of `providers.tsv`."""

    name: str
    reports_complaints: bool


@cache
def table() -> dict[str, Provider]:
    """Provider by domain.

    Raises:
        ValueError: if the table has a malformed line or a domain twice.
    """
    text = resources.files("pipelines.intake").joinpath("providers.tsv").read_text("utf-8")
    rows: dict[str, Provider] = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        name, reports, domains = line.split("\t")
        if reports not in ("yes", "no"):
            raise ValueError(f"providers.tsv: {name}: {reports} is neither yes nor no")
        for domain in domains.split():
            if domain in rows:
                raise ValueError(f"providers.tsv: {domain} stands twice")
            rows[domain] = Provider(name, reports == "yes")
    return rows
