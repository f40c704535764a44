"""Listing and showing dead letters, wherever ClickHouse is."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from connectors.clickhouse.sql import run_sql
from connectors.errors import ClickHouseError

if TYPE_CHECKING:
    from connectors.clickhouse.sql import Target

_ID: Final = re.compile(r"[0-9a-f]{4,32}")
_WORD: Final = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Listed:
    """A dead letter in a list."""

    dead_letter_id: str
    """32 hexadecimal digits."""
    time: datetime
    stage: str
    cause: str
    source: str
    detail: str
    """Its first line."""
    payload_size: int


@dataclass(frozen=True, slots=True)
class Shown:
    """A dead letter with all that is kept of it."""

    listed: Listed
    detail: str
    payload: bytes


def list_letters(target: Target, *, stage: str = "", cause: str = "", limit: int = 50) -> list[Listed]:
    """The newest dead letters first.

    Raises:
        ClickHouseError: ClickHouse does not answer, or a filter is not a word.
    """
    wanted = [
        f"{column} = '{_word(value)}'" for column, value in (("stage", stage), ("cause", cause)) if value
    ]
    where = f"WHERE {' AND '.join(wanted)}" if wanted else ""
    rows = _ask(
        target,
        "SELECT dead_letter_id, toUnixTimestamp64Milli(time), stage, cause, source,"  # noqa: S608 - checked above
        f" substring(splitByChar('\\n', detail)[1], 1, 300), payload_size FROM dead_letters {where}"
        f" ORDER BY time DESC, dead_letter_id LIMIT {int(limit)}",
    )
    return [_listed(row) for row in rows]


def show_letter(target: Target, dead_letter_id: str) -> Shown:
    """One dead letter, by its id or the beginning of it.

    Raises:
        ClickHouseError: ClickHouse does not answer; there is none, or more than one.
    """
    given = dead_letter_id.lower()
    if not _ID.fullmatch(given):
        raise ClickHouseError(
            f"{dead_letter_id!r} is no id of a dead letter: take it from `dead-letters list`"
        )
    rows = _ask(
        target,
        "SELECT dead_letter_id, toUnixTimestamp64Milli(time), stage, cause, source,"  # noqa: S608 - checked above
        " '', payload_size, detail,"
        f" base64Encode(payload) FROM dead_letters WHERE startsWith(dead_letter_id, '{given}') LIMIT 2",
    )
    if len(rows) != 1:
        trouble = "more than one dead letter begins" if rows else "no dead letter begins"
        raise ClickHouseError(f"{trouble} with {given}: see `ses-streams dead-letters list`")
    *first, detail, payload = rows[0]
    return Shown(_listed(first), str(detail), base64.b64decode(payload))


def _ask(target: Target, sql: str) -> list[list[Any]]:
    text = b"".join(run_sql(sql, "JSONCompactEachRow", target))
    return [msgspec.json.decode(line) for line in text.splitlines() if line]


def _listed(row: list[Any]) -> Listed:
    dead_letter_id, time, stage, cause, source, detail, size = row
    when = datetime.fromtimestamp(int(time) / 1000, UTC)
    return Listed(dead_letter_id, when, stage, cause, source, detail, int(size))


def _word(text: str) -> str:
    if not _WORD.fullmatch(text):
        raise ClickHouseError(
            f"{text!r} is no stage or cause: see `ses-streams dead-letters list` for those there are"
        )
    return text
