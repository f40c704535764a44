"""The rules that settings name, refused in one sentence where they are not valid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connectors.errors import SettingsError
from pipelines.alarms.rules import RulesError
from pipelines.alarms.rules_file import RulesFile

if TYPE_CHECKING:
    from pathlib import Path

    from connectors.settings import Settings


def rules_file_of(settings: Settings, path: str | Path = "") -> RulesFile:
    """A rules file, held against what is counted.

    Args:
        settings: of the process.
        path: another file than that of the settings.

    Raises:
        SettingsError: it cannot be read, or is not valid; with the line.
    """
    counting = settings.counting
    try:
        return RulesFile(path or settings.alarms.rules, counting.dimensions, counting.retention_days)
    except RulesError as error:
        raise SettingsError(str(error)) from None
