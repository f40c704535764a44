"""The table that `providers resolve` writes: domains whose provider their MX records tell."""

from __future__ import annotations

import itertools
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from connectors.errors import SettingsError
from connectors.providers.mx import LookupFailedError
from pipelines.intake.mx import provider_of
from pipelines.intake.providers import Entry, a_label, is_domain, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pipelines.intake.mx import Mx

MARK: Final = "# Written by `ses-streams providers resolve`"
_HEADER: Final = f"""\
{MARK} from MX records; it is rewritten by the next run, so put rows of
# your own into counting.providers. Every bridge needs the same file; a bridge reads it when it starts.
"""
_THREADS: Final = 32
"""Look-ups at once: they wait for the network, not for us."""


class Lookup(Protocol):
    """Where MX records come from; several threads ask at once."""

    def records(self, domain: str) -> list[Mx]:
        """The records of a domain.

        Raises:
            LookupFailedError: no answer.
        """


@dataclass(frozen=True, slots=True)
class Resolved:
    """What became of the domains that were looked up."""

    entries: Mapping[str, Entry]
    """By domain; the comment says which exchangers told."""
    strangers: tuple[str, ...]
    """Whose exchangers are nobody's we know."""
    failed: tuple[str, ...] = field(default=())
    """That no name server answered for."""


def resolve(domains: Iterable[str], lookup: Lookup, advance: Callable[[], object] = lambda: None) -> Resolved:
    """Look every domain up, many at once; `advance` is called once for each."""

    def one(domain: str) -> list[Mx] | None:
        try:
            return lookup.records(domain)
        except LookupFailedError:
            return None

    entries: dict[str, Entry] = {}
    strangers: list[str] = []
    failed: list[str] = []
    names = {a_label(domain) for domain in domains}
    asked = sorted(name for name in names if is_domain(name) and not name.startswith("."))
    with ThreadPoolExecutor(_THREADS, "mx") as pool:
        for domain, records in zip(asked, pool.map(one, asked), strict=True):
            advance()
            found = provider_of(records) if records else None
            if found:
                match, _ = found
                entries[domain] = Entry(match.entry.provider, f"MX: {match.key.removeprefix('.')}")
            else:
                (failed if records is None else strangers).append(domain)
    return Resolved(entries, tuple(strangers), tuple(failed))


def merged(before: Mapping[str, Entry], found: Resolved) -> dict[str, Entry]:
    """The new table: what was found, and what the old one says of domains that nobody answered for now."""
    kept = {domain: before[domain] for domain in found.failed if domain in before}
    return kept | dict(found.entries)


def render(entries: Mapping[str, Entry]) -> str:
    """The table as text, a domain a line, so that a change is a line of a diff; the same for the same entries."""
    rows = sorted((each.provider.name, each.comment, domain, each) for domain, each in entries.items())
    lines = [_HEADER]
    for (name, comment), group in itertools.groupby(rows, key=lambda row: row[:2]):
        lines.append(f"#\n# {comment}\n")
        lines += (
            f"{name}\t{'yes' if each.provider.reports_complaints else 'no'}\t{domain}\n"
            for _, _, domain, each in group
        )
    return "".join(lines)


def previous(path: Path) -> dict[str, Entry]:
    """What an earlier run wrote; nothing where there is no file.

    Raises:
        SettingsError: the file is not of `resolve`'s writing, so it is not to be overwritten.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read {path}: {error}; choose another --out") from None
    if not text.startswith(MARK):
        raise SettingsError(f"{path} was not written by `providers resolve`: choose another --out")
    try:
        return dict(parse(text, str(path)).entries)
    except ValueError as error:
        raise SettingsError(f"{error}; correct it, or choose another --out") from None


def write(path: Path, text: str) -> None:
    """Replace a file in one step: a bridge that starts meanwhile reads the old one or the new one.

    Raises:
        OSError: it cannot be written.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
