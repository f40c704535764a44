"""Which mailbox provider a recipient domain belongs to, and whether it tells SES of complaints.

Nothing here looks anything up: a domain's provider follows from tables alone, so that an event comes to the same
whenever, wherever and however often it is taken. Tables are text: lines of name, `yes` or `no`, and domains (tab,
tab, spaces); `.example.com` stands for every domain below example.com. A comment holds for the rows after it,
until the next.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from importlib import resources
from itertools import chain
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OTHER: Final = "other"
"""Provider of a domain that is in no table."""

_DOMAIN: Final = re.compile(r"\.?(?!-)[a-z0-9-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9-]{1,63}(?<!-))+")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_]{0,63}")
_COLUMNS: Final = 3
_LONGEST: Final = 255
"""Octets of a domain (RFC 1035, 2.3.4); encoding what is longer would cost more than it is worth."""


@dataclass(frozen=True, slots=True)
class Provider:
    """A mailbox provider."""

    name: str
    reports_complaints: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """What a table says of a domain."""

    provider: Provider
    comment: str = ""
    """The comment its row stands under: where the fact is from."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table by its domains; a key with a leading dot is of all domains below it."""

    origin: str
    """What a person knows it by: a file's name or a setting's."""
    entries: Mapping[str, Entry]


@dataclass(frozen=True, slots=True)
class Match:
    """Why a domain belongs to a provider."""

    entry: Entry
    key: str
    """The domain or, with a leading dot, the parent that the table has."""
    origin: str


def is_domain(text: str) -> bool:
    """Whether a table may have it: lower case, IDNA A-labels, at least two labels; perhaps a leading dot."""
    return _DOMAIN.fullmatch(text) is not None


def a_label(domain: str) -> str:
    """A domain as DNS and the tables have it (RFC 5890); itself in lower case where it is none."""
    lower = domain.lower().rstrip(".")
    if lower.isascii() or len(lower) > _LONGEST:
        return lower
    try:
        return lower.encode("idna").decode("ascii")
    except UnicodeError:
        return lower


def parse(text: str, origin: str) -> Table:
    """Read a table.

    Raises:
        ValueError: with the line that is malformed, names a domain twice, or contradicts another one's flag.
    """
    entries: dict[str, Entry] = {}
    flags: dict[str, bool] = {}
    comment: list[str] = []
    gathering = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#"):
            said = line[1:].strip()
            comment = [*comment, said] if gathering and said else [said] if said else []
            gathering = True
        elif line.strip():
            gathering = False
            try:
                entry, domains = _row(line, " ".join(comment))
                _add(entries, flags, entry, domains)
            except ValueError as error:
                raise ValueError(f"{origin}, line {number}: {error}") from None
    return Table(origin, entries)


def _row(line: str, comment: str) -> tuple[Entry, list[str]]:
    columns = line.split("\t")
    if len(columns) != _COLUMNS:
        raise ValueError("give name, yes or no, and domains, with a tab between each")
    name, reports, domains = columns
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a provider: use a-z, 0-9 and _")
    if reports not in ("yes", "no"):
        raise ValueError(f"{reports!r} is neither yes nor no")
    return Entry(Provider(name, reports == "yes"), comment), domains.split()


def _add(entries: dict[str, Entry], flags: dict[str, bool], entry: Entry, domains: list[str]) -> None:
    provider = entry.provider
    if flags.setdefault(provider.name, provider.reports_complaints) != provider.reports_complaints:
        raise ValueError(f"{provider.name} is yes in one row and no in another")
    for domain in domains:
        if not is_domain(domain):
            raise ValueError(f"{domain!r} is no domain in lower case (xn--… where it is not ASCII)")
        if domain in entries:
            raise ValueError(f"{domain} stands twice")
        entries[domain] = entry


@cache
def table() -> Table:
    """The table that comes with the program."""
    return _shipped("providers.tsv")


@cache
def mx_table() -> Table:
    """The table of mail exchangers that comes with the program: keys are host names and their ends."""
    return _shipped("mx.tsv")


@cache
def known() -> Mapping[str, Provider]:
    """Every provider of the program's own tables, by name."""
    every = chain(table().entries.values(), mx_table().entries.values())
    return {entry.provider.name: entry.provider for entry in every}


def _shipped(name: str) -> Table:
    return parse(resources.files("pipelines.intake").joinpath(name).read_text("utf-8"), name)


class Directory:
    """Tables in order: what an earlier one says of a domain or its parents, a later one is not asked for."""

    def __init__(self, tables: Sequence[Table] = (), *, unknown_report: bool = False) -> None:
        """Args: tables that come before the program's own; whether unknown providers report complaints."""
        self.unknown: Final = Provider(OTHER, unknown_report)
        self._tables = (*tables, table())

    def match(self, domain: str) -> Match | None:
        """Why a domain belongs where it does; None where no table knows it."""
        name = a_label(domain)
        for each in self._tables:
            if found := find(each, name):
                return found
        return None

    def of(self, domain: str) -> Provider:
        """The provider of a domain."""
        found = self.match(domain)
        if found is None or found.entry.provider.name == OTHER:
            return self.unknown
        return found.entry.provider

    def fingerprint(self) -> str:
        """8 hex digits that differ where any domain's provider may: bridges that show the same agree."""
        digest = blake2b(repr(self.unknown.reports_complaints).encode(), digest_size=4)
        for each in self._tables:
            digest.update(b"\n")
            for domain, entry in sorted(each.entries.items()):
                digest.update(
                    f"{domain} {entry.provider.name} {entry.provider.reports_complaints}\n".encode()
                )
        return digest.hexdigest()


def find(table: Table, domain: str) -> Match | None:
    """What one table says of a domain: the domain itself first, then its parents, the nearest first."""
    if entry := table.entries.get(domain):
        return Match(entry, domain, table.origin)
    start = domain.find(".")
    while start >= 0:
        if entry := table.entries.get(domain[start:]):
            return Match(entry, domain[start:], table.origin)
        start = domain.find(".", start + 1)
    return None
