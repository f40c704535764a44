"""The tables of Google's figures (`schemas/clickhouse/008_postmaster.sql`)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from connectors.clickhouse.client import Client, translated
from connectors.errors import ClickHouseError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from connectors.postmaster.wire import Figure

_COLUMNS: Final = ("metric", "day", "domain", "identifier", "value", "fetched")
_LOG: Final = ("time", "domain", "figures", "new", "corrected", "problem")
_TICK: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Written:
    """What came of writing figures."""

    figures: int
    new: int
    corrected: int
    """Had another value before."""


class Table:
    """Writes figures; repeating that changes nothing."""

    def __init__(self, client: Client, dsn: str) -> None:
        """A client of a migrated database; `dsn` is for errors.

        Raises:
            ClickHouseError: it is not migrated.
        """
        self._client = client
        self._dsn = dsn
        with translated(dsn):
            if not int(client.command("EXISTS TABLE postmaster_rows")):
                raise ClickHouseError("ClickHouse has no table for this yet: run `ses-streams migrate` first")

    def write(self, figures: Sequence[Figure], now: datetime) -> Written:
        """Insert what is new or has changed.

        Raises:
            ClickHouseError: it cannot be done; any part of it may have been.
        """
        latest = {(each.metric, each.day, each.domain, each.identifier): each.value for each in figures}
        if not latest:
            return Written(0, 0, 0)
        with translated(self._dsn):
            known = self._known(figures)
            rows = [
                # Newer than what it corrects, even where the clock was set back.
                (*key, value, max(now, known[key][1] + _TICK) if key in known else now)
                for key, value in latest.items()
                if key not in known or known[key][0] != value
            ]
            if rows:
                self._client.insert("postmaster_rows", rows, column_names=_COLUMNS)
        corrected = sum(row[:4] in known for row in rows)
        return Written(len(latest), len(rows) - corrected, corrected)

    def log(self, now: datetime, domain: str, written: Written, problem: str) -> None:
        """Remember that a domain (empty: all) was asked about."""
        row = (now, domain, written.figures, written.new, written.corrected, problem)
        with translated(self._dsn):
            self._client.insert("postmaster_fetches", [row], column_names=_LOG)

    def last_fetch(self) -> tuple[datetime, bool] | None:
        """When Google was last asked, and whether anything was had; None: never."""
        with translated(self._dsn):
            rows = self._client.query(
                "SELECT toUnixTimestamp64Milli(time), countIf(figures > 0 OR problem = '') > 0"
                " FROM postmaster_fetches GROUP BY time ORDER BY time DESC LIMIT 1"
            ).result_rows
        return (_moment(rows[0][0]), bool(rows[0][1])) if rows else None

    def _known(self, figures: Sequence[Figure]) -> dict[tuple[Any, ...], tuple[float, datetime]]:
        rows = self._client.query(
            "SELECT metric, day, domain, identifier, value, toUnixTimestamp64Milli(fetched) FROM postmaster"
            " WHERE domain IN %(domains)s AND day BETWEEN %(first)s AND %(last)s",
            parameters={
                "domains": tuple(sorted({each.domain for each in figures})),
                "first": min(each.day for each in figures).isoformat(),
                "last": max(each.day for each in figures).isoformat(),
            },
        ).result_rows
        return {tuple(row[:4]): (float(row[4]), _moment(row[5])) for row in rows}


def _moment(millis: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(millis))
