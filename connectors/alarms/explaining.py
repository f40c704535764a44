"""`Explaining`: makes of a transition of revision 0 the one of revision 1, whatever ClickHouse says to it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, TypeVar

from connectors.alarms.explanation import explain
from connectors.alarms.subject import Unexplained, subject_of
from connectors.clickhouse.client import Client, error_code, sentence
from connectors.clickhouse.landing import Stopped
from pipelines.alarms.transition import evidence_of, evidence_text
from schemas.alarms import RATE_SIGNALS, Alarm

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from connectors.clickhouse.patience import Patience

T = TypeVar("T")
LOG: Final = logging.getLogger(__name__)
REVISION: Final = 1
CAUSES: Final = frozenset({"evidence", "escalated", "relapse"})
"""Of transitions that somebody may be woken for."""
_REPLACED: Final = frozenset({"drivers_since", "forecast", "smtp_replies", "reasons", "unexplained"})
"""Of an earlier explanation, and not always told."""
_ATTEMPTS: Final = 3
"""Of an explanation that ClickHouse refuses: no memory just now, a table that is being changed."""
_SETTINGS: Final[dict[str, Any]] = {
    # Beside the sink's inserts: an explanation is worth little of either.
    "max_memory_usage": 2 * 1024**3,
    "max_threads": 2,
    "max_execution_time": 20,
}


class _Refused(Exception):  # noqa: N818 - what ClickHouse does
    """ClickHouse answers, and does not run the query."""


def wanted(alarm: Alarm) -> bool:
    """Whether a transition is to be explained."""
    return (
        alarm["revision"] < REVISION
        and alarm["state"] == "firing"
        and alarm["cause"] in CAUSES
        and alarm["signal"] in RATE_SIGNALS
    )


class Explaining:
    """For one thread at a time."""

    def __init__(self, connect: Callable[[], Client], patience: Patience) -> None:
        """Connects when first asked."""
        self._connect = connect
        self._client: Client = None
        self._patience = patience

    def __call__(self, alarm: Alarm, shortcoming: str = "", until: int = 0) -> tuple[Alarm, bool]:
        """The same transition with richer evidence, and whether it is explained. ClickHouse away: waits for it.

        Args:
            alarm: a transition; its next revision is made.
            shortcoming: what may be missing of the events, a sentence.
            until: see `subject_of`.

        Raises:
            Stopped: told to stop meanwhile.
        """
        evidence = {name: fact for name, fact in evidence_of(alarm).items() if name not in _REPLACED}
        told = self._told(alarm, evidence, until)
        if shortcoming:
            told["unexplained"] = "; ".join(filter(None, (told.get("unexplained"), shortcoming)))
        revision = max(REVISION, alarm["revision"] + 1)
        row = Alarm(**{**alarm, "revision": revision, "evidence": evidence_text({**evidence, **told})})
        return row, bool(told["explained"])

    def close(self) -> None:
        """Disconnect."""
        if self._client is not None:
            self._client.close()

    def _told(self, alarm: Alarm, evidence: dict[str, Any], until: int) -> dict[str, Any]:
        reason = ""
        for _ in range(_ATTEMPTS):
            try:
                return explain(subject_of(alarm, evidence, until), self._ask)
            except Unexplained as error:
                return {"explained": False, "unexplained": str(error)}
            except Stopped:
                raise
            except _Refused as error:
                reason = f"ClickHouse refuses: {error}"
            # Whatever else it is, the page must not wait for it, nor the sink stop because of it.
            except Exception as error:
                LOG.exception("no explanation of %s %d", alarm["alarm_key"], alarm["seq"])
                reason = f"{type(error).__name__}: {error}"
                break
        LOG.error("%s %d stays unexplained: %s", alarm["alarm_key"], alarm["seq"], reason)
        return {"explained": False, "unexplained": reason}

    def asking(self, ask: Callable[[Client], T]) -> T:
        """Ask something else over the same connection. ClickHouse away: waits for it.

        Raises:
            Stopped: told to stop meanwhile.
        """
        if self._client is None:
            self._client = self._patience(self._connect)
        return self._patience(lambda: ask(self._client))

    def _ask(self, sql: str) -> Sequence[Sequence[Any]]:
        return self.asking(lambda client: _query(client, sql))


def _query(client: Client, sql: str) -> Sequence[Sequence[Any]]:
    try:
        rows: Sequence[Sequence[Any]] = client.query(sql, settings=_SETTINGS).result_rows
    except Exception as error:
        if error_code(error) is None:
            raise
        raise _Refused(sentence(error)) from error
    return rows
