"""What a report says of received mail: how much of which kind, who was answered, and how soon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from connectors.reports.conversation_text import span
from connectors.reports.figures import ask, table

if TYPE_CHECKING:
    from connectors.clickhouse.sql import Target

_MOST: Final = 10
# The last day there is, not the clock's: a replayed archive has its own.
_KINDS: Final = """
WITH (SELECT max(received_time) FROM mails WHERE received_time <= now64(3)) AS newest
SELECT kind, count(), countIf(received_time > newest - INTERVAL 1 DAY) FROM mails GROUP BY kind ORDER BY 2 DESC, kind
"""
_THREADS: Final = """
SELECT count(), countIf(outbound > 0 AND inbound > 0), countIf(time_to_first_reply IS NOT NULL),
    quantileExactIf(0.5)(time_to_first_reply, time_to_first_reply IS NOT NULL)
FROM threads
"""
_ANSWERED: Final = """
SELECT campaign, sum(replies), sum(deliveries), sum(out_of_office)
FROM campaign_health GROUP BY campaign HAVING sum(replies) + sum(out_of_office) > 0
ORDER BY 2 DESC, 4 DESC, campaign
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """Mails of a kind."""

    name: str
    mails: int
    last_day: int
    """Of them, those of the last 24 hours there are."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What came back to a campaign."""

    campaign: str
    replies: int
    """By people."""
    deliveries: int
    out_of_office: int


@dataclass(frozen=True, slots=True)
class Mail:
    """All of it."""

    kinds: tuple[Kind, ...]
    """The most frequent first."""
    threads: int
    joined: int
    """Threads that have a message of ours and a mail received."""
    replied: int
    """Threads in which a person answered a message of ours."""
    first_reply_s: float | None
    """Median seconds of those until the first reply."""
    answered: tuple[Answered, ...]
    """Most replies first."""


def mail(target: Target) -> Mail:
    """Ask ClickHouse.

    Raises:
        ClickHouseError: it does not answer.
    """
    kinds = tuple(Kind(str(name), int(mails), int(day)) for name, mails, day in ask(target, _KINDS))
    if not kinds:
        return Mail((), 0, 0, 0, None, ())
    ((threads, joined, replied, median),) = ask(target, _THREADS)
    answered = tuple(
        Answered(str(campaign), int(replies), int(deliveries), int(away))
        for campaign, replies, deliveries, away in ask(target, _ANSWERED)
    )
    first = float(median) if int(replied) else None
    return Mail(kinds, int(threads), int(joined), int(replied), first, answered)


def render(found: Mail) -> list[str]:
    """Sections of plain text; none where no mail was ever received."""
    if not found.kinds:
        return []
    rows = [(each.name, f"{each.mails:,}", f"{each.last_day:,}") for each in found.kinds]
    sections = [table([("mails received", "mails", "in the last 24 h"), *rows])]
    sentence = (
        f"{found.threads:,} threads, {found.joined:,} of them with messages of ours and answers to them"
    )
    if found.first_reply_s is not None:
        after = span(found.first_reply_s)
        sentence += f"; in {found.replied:,} a person replied, half of them within {after}"
    sections.append(sentence)
    if found.answered:
        header = ("answers to campaign", "replies", "of deliveries", "out of office")
        body = [
            (
                each.campaign,
                f"{each.replies:,}",
                _share(each.replies, each.deliveries),
                f"{each.out_of_office:,}",
            )
            for each in found.answered[:_MOST]
        ]
        more = len(found.answered) - _MOST
        sections.append(table([header, *body]) + (f"\nand {more:,} more campaigns" if more > 0 else ""))
    return sections


def _share(replies: int, deliveries: int) -> str:
    return f"{min(1.0, replies / deliveries):.2%}" if deliveries else "no data"
