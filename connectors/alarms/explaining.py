"""`Explaining`: makes of a transition of revision 0 the one of revision 1, whatever ClickHouse says to it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import msgspec

from connectors.alarms.explanation import explain
from connectors.alarms.subject import Unexplained, subject_of
from connectors.clickhouse.client import Client, error_code, sentence
from connectors.clickhouse.landing import Stopped
from pipelines.alarms.transition import evidence_text
from schemas.alarms import RATE_SIGNALS, Alarm

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from connectors.clickhouse.patience import Patience

LOG: Final = logging.getLogger(__name__)
REVISION: Final = 1
CAUSES: Final = frozenset({"evidence", "escalated", "relapse"})
"""Of transitions that somebody may be woken for."""
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

    def __call__(self, alarm: Alarm, shortcoming: str = "") -> tuple[Alarm, bool]:
        """The same transition with richer evidence, and whether it is explained. ClickHouse away: waits for it.

        Args:
            alarm: of revision 0.
            shortcoming: what may be missing of the events, a sentence.

        Raises:
            Stopped: told to stop meanwhile.
        """
        evidence = _evidence(alarm)
        told = self._told(alarm, evidence)
        if shortcoming:
            told["unexplained"] = "; ".join(filter(None, (told.get("unexplained"), shortcoming)))
        row = Alarm(**{**alarm, "revision": REVISION, "evidence": evidence_text({**evidence, **told})})
        return row, bool(told["explained"])

    def close(self) -> None:
        """Disconnect."""
        if self._client is not None:
            self._client.close()

    def _told(self, alarm: Alarm, evidence: dict[str, Any]) -> dict[str, Any]:
        reason = ""
        for _ in range(_ATTEMPTS):
            try:
                return explain(subject_of(alarm, evidence), self._ask)
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

    def _ask(self, sql: str) -> Sequence[Sequence[Any]]:
        if self._client is None:
            self._client = self._patience(self._connect)
        return self._patience(lambda: self._query(sql))

    def _query(self, sql: str) -> Sequence[Sequence[Any]]:
        try:
            rows: Sequence[Sequence[Any]] = self._client.query(sql, settings=_SETTINGS).result_rows
        except Exception as error:
            if error_code(error) is None:
                raise
            raise _Refused(sentence(error)) from error
        return rows


def _evidence(alarm: Alarm) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(alarm["evidence"])
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}
