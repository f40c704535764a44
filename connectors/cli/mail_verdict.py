"""Truth beside result, of received mail: kinds, answers by campaign, conversations, and what reports say."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable

    from connectors.simulator.truth import Truth

Ask = Callable[[str], list[list[Any]]]
"""Runs a query."""
Compared = tuple[str, str, str]
"""What, in truth, in ClickHouse."""

PUBLISHED: Final = "origin NOT IN ('dsn', 'arf')"
"""Events that SES published; the others are told by received mail alone."""
_HEALTH: Final = "SELECT campaign, sum({}) FROM campaign_health GROUP BY campaign HAVING sum({}) > 0"
_REPORTED: Final = f"SELECT event_type, count() FROM events WHERE NOT ({PUBLISHED}) GROUP BY event_type"  # noqa: S608 - constants
_ANSWERED: Final = "SELECT count() FROM threads WHERE outbound > 0 AND inbound > 0"
_APART: Final = "SELECT count() FROM threads WHERE outbound > 1"
_JOINED: Final = ("reply", "auto_reply", "bounce", "complaint")
"""Kinds of mail that all are about a message that was sent."""
_CAUSED: Final = (
    f"SELECT uniqExact(mail_id) FROM mails WHERE kind IN {_JOINED} AND campaign != '' AND thread_id != ''"  # noqa: S608
)


def of_mail(truth: Truth, ask: Ask) -> list[Compared]:
    """Ask ClickHouse for all that the truth knows of received mail."""
    if not truth.mails:
        return []
    found = _counts(ask("SELECT kind, count() FROM mails GROUP BY kind"))
    lines = _beside("mails received: ", truth.mails, found)
    lines += _beside("replies to ", truth.replies, _counts(ask(_HEALTH.format("replies", "replies"))))
    absences = _counts(ask(_HEALTH.format("out_of_office", "out_of_office")))
    lines += _beside("out of office: ", truth.out_of_office, absences)
    joined = sum(truth.mails[kind] for kind in _JOINED)
    lines += [
        ("answers, bounces, complaints that know their campaign", str(joined), _one(ask(_CAUSED))),
        ("conversations", str(len(truth.threads)), _one(ask(_ANSWERED))),
        ("conversations that were mixed up", "0", _one(ask(_APART))),
    ]
    lines += _beside("told by mail as well, or alone: ", truth.reported, _counts(ask(_REPORTED)))
    rows = _one(ask("SELECT count() FROM dmarc_records"))
    return [*lines, ("rows of DMARC reports, each report once", str(truth.dmarc_rows), rows)]


def _beside(what: str, truth: Counter[str], found: dict[str, int]) -> list[Compared]:
    return [(f"{what}{name}", str(truth[name]), str(found.get(name, 0))) for name in sorted({*truth, *found})]


def _counts(rows: Iterable[list[Any]]) -> dict[str, int]:
    return {str(name): int(number) for name, number in rows}


def _one(rows: list[list[Any]]) -> str:
    return str(rows[0][0]) if rows else "-"
