"""The provider tables of a user's own: from the settings, and from the file they name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from connectors.errors import SettingsError
from pipelines.intake.providers import OTHER, Entry, Provider, Table, is_domain, known, parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from connectors.settings import Counting

INLINE: Final = "counting.providers"
"""Origin of what the settings themselves say."""


def tables_of(counting: Counting) -> tuple[Table, ...]:
    """The user's tables; what the settings say comes before what the file says.

    Raises:
        SettingsError: the file cannot be read or is malformed, or a setting names no domain or no provider.
    """
    file = _read(Path(counting.providers_file)) if counting.providers_file else None
    names = dict(known())
    if file:
        names |= {entry.provider.name: entry.provider for entry in file.entries.values()}
    inline = _inline(counting.providers, names)
    return tuple(table for table in (inline, file) if table is not None)


def _read(path: Path) -> Table:
    try:
        table = parse(path.read_text("utf-8"), str(path))
    except OSError as error:
        raise SettingsError(f"cannot read counting.providers_file {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"counting.providers_file {path} is not UTF-8: give a table as text") from None
    except ValueError as error:
        raise SettingsError(f"counting.providers_file {error}") from None
    for entry in table.entries.values():
        ours = known().get(entry.provider.name, entry.provider)
        if ours != entry.provider:
            word = "yes" if ours.reports_complaints else "no"
            raise SettingsError(
                f"counting.providers_file {path} contradicts the program's table: {ours.name} is {word} there; "
                "say the same, or use another name"
            )
    return table


def _inline(given: Mapping[str, str], names: Mapping[str, Provider]) -> Table | None:
    entries: dict[str, Entry] = {}
    for domain, name in given.items():
        if not is_domain(domain):
            raise SettingsError(
                f"{INLINE}: {domain!r} is no domain in lower case (write xn--… where it is not ASCII)"
            )
        if name != OTHER and name not in names:
            raise SettingsError(
                f"{INLINE}: there is no provider {name!r} for {domain}: take a name that "
                "`ses-streams providers list` shows, or describe it in counting.providers_file"
            )
        # Whether the unknown provider reports is another setting; the directory looks at its name alone.
        entries[domain] = Entry(names.get(name, Provider(OTHER, reports_complaints=False)))
    return Table(INLINE, entries) if entries else None
