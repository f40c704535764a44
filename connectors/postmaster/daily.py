"""Asking Postmaster Tools, and doing so once a day."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from connectors.errors import SourceError, UserError
from connectors.postmaster.fetch import fetch
from connectors.postmaster.table import Written

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from connectors.postmaster.client import Api
    from connectors.postmaster.table import Table
    from connectors.settings import Postmaster

LOG: Final = logging.getLogger(__name__)
DAY: Final = timedelta(hours=24)
AGAIN: Final = timedelta(hours=1)
"""After an asking of which nothing came."""
_LOOK_S: Final = 60.0
"""How often the clock is looked at: a machine that slept does not wait its sleep again."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of asking about all domains."""

    domains: int
    refused: int
    """Of them, those that had a problem."""
    written: Written


def ask(
    api: Api, table: Table, settings: Postmaster, now: datetime, tell: Callable[[str], object]
) -> Outcome:
    """Ask about every domain and write what comes, domain by domain.

    Args:
        api: where.
        table: where to.
        settings: which domains and how many days.
        now: the time.
        tell: told in sentences what is refused.

    Raises:
        SourceError: Google cannot be asked; what had come by then is written.
        ClickHouseError: nothing can be written.
    """
    domains = refused = figures = new = corrected = 0
    try:
        for found in fetch(api, settings.domains, now.astimezone(UTC).date(), settings.days):
            written = table.write(found.figures, now)
            table.log(now, found.domain, written, "; ".join(found.problems))
            for problem in found.problems:
                tell(problem)
            domains, refused = domains + 1, refused + bool(found.problems)
            figures, new = figures + written.figures, new + written.new
            corrected += written.corrected
    except SourceError as error:
        table.log(now, "", Written(0, 0, 0), str(error))
        raise
    return Outcome(domains, refused, Written(figures, new, corrected))


def due(table: Table) -> datetime | None:
    """When to ask next; None: at once, for it has never been done."""
    last = table.last_fetch()
    return last and last[0] + (DAY if last[1] else AGAIN)


def run_daily(
    connect: Callable[[], Api],
    table: Table,
    settings: Postmaster,
    stop: threading.Event,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """Ask whenever it is time, until stopped. What goes wrong is logged, and tried again in an hour.

    The time of the last asking is remembered in ClickHouse, so starting anew does not ask anew.

    Args:
        connect: makes a client for each asking, so that a new key is heeded.
        table: where to.
        settings: which domains and how many days.
        stop: ends it.
        clock: the time.
    """
    failed: datetime | None = None
    while not stop.is_set():
        now = clock()
        try:
            next_time = failed + AGAIN if failed else due(table)
            if next_time is None or next_time <= now:
                failed = None
                outcome = ask(connect(), table, settings, now, LOG.warning)
                LOG.info("Postmaster Tools: %s", outcome)
                continue
        except UserError as error:
            failed = now
            LOG.warning("%s", error)
        except Exception:
            # Figures beside the counting must never stop the counting.
            failed = now
            LOG.exception("asking Postmaster Tools failed")
        stop.wait(_LOOK_S)
