"""A conversation, found by whatever one has of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from connectors.clickhouse.literals import text
from connectors.errors import ClickHouseError
from connectors.reports.figures import ask
from connectors.reports.printable import printable
from connectors.reports.tree import Elsewhere, Message
from pipelines.threads.names import name_of, ses_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from connectors.clickhouse.sql import Target

_CITED: Final = 200
"""Ids that are cited and not of the thread, which are looked for elsewhere."""
MOST: Final = 1_000
"""Messages of a thread that are shown: a loop of two machines has no end."""
_HEX: Final = re.compile(r"[0-9a-f]{4,32}")
_WHOLE: Final = 32
_MS: Final = "toUnixTimestamp64Milli({})"
_MAILS: Final = (
    f"SELECT mail_id, {_MS.format('received_time')}, kind, from_domain, subject, campaign, message_id, in_reply_to,"  # noqa: S608 - our own words
    " references{more} FROM mails WHERE {where} ORDER BY received_time, mail_id LIMIT {most}"
)
_THREADS_OF_MAILS: Final = "SELECT DISTINCT thread_id FROM mails WHERE {where} LIMIT 10"
_THREADS_OF_SENT: Final = (
    "SELECT substring(member, 5), thread_id FROM thread_rows FINAL WHERE member IN ({members})"
)
_BY_HEADER: Final = "SELECT message_id FROM outbound_messages WHERE header_message_id = {name} LIMIT 10"
_SENT: Final = (
    f"SELECT message_id, {_MS.format('sent_time')}, from_domain, subject, campaign, header_message_id, in_reply_to,"  # noqa: S608 - our own words
    " references{more} FROM outbound_messages WHERE {where} ORDER BY sent_time LIMIT {most}"
)


@dataclass(frozen=True, slots=True)
class Conversation:
    """A thread, or a message that is in none."""

    thread_id: str
    """Empty: it is in none."""
    campaign: str
    tenant: str
    outbound: int
    inbound: int
    time_to_first_reply: float | None
    """Seconds."""
    messages: tuple[Message, ...]
    """`MOST` at the most, the earliest."""
    elsewhere: dict[str, Elsewhere] = field(default_factory=dict)
    """By name (see `pipelines.threads.names`): what is cited and does not belong to the thread."""


def conversations(target: Target, asked: str) -> list[Conversation]:
    """All that a thread's id (or its beginning), SES's id, a Message-ID or a mail_id names; mostly one.

    Raises:
        ClickHouseError: it does not answer; or nothing is found.
    """
    given = asked.strip().removeprefix("<").removesuffix(">").strip()
    found = (_by_hex(target, given.lower()) or _by_message(target, given)) if given else []
    if threads := sorted({*found} - {""}):
        return [_thread(target, each) for each in threads]
    if given and (alone := _alone(target, given)):
        return [Conversation("", each.campaign, "", *_counts(each), None, (each,)) for each in alone]
    raise ClickHouseError(
        f"nothing is known of {printable(asked)!r}: give a thread's id or its beginning (see the view threads),"
        " SES's id of a message, a Message-ID, or a mail's id (see the view mails)"
    )


def _by_hex(target: Target, given: str) -> list[str]:
    """Threads by the beginning of their id, or by a mail's id."""
    if not _HEX.fullmatch(given):
        return []
    if len(given) == _WHOLE:
        thread = _column(target, f"SELECT thread_id FROM threads WHERE thread_id = '{given}'")  # noqa: S608 - hex
        return thread or _column(target, _THREADS_OF_MAILS.format(where=f"mail_id = '{given}'"))
    found = _column(
        target,
        f"SELECT DISTINCT thread_id FROM thread_members WHERE startsWith(thread_id, '{given}') LIMIT 2",  # noqa: S608 - hex
    )
    if len(found) > 1:
        raise ClickHouseError(f"more than one thread begins with {given}: give more of its id")
    return found


def _by_message(target: Target, given: str) -> list[str]:
    """Threads by one of their messages; where it was never seen itself, by those that cite it."""
    name, ours = text(given), ses_id(given) or given
    found = [*_threads_of(target, [ours]).values()]
    found += _column(target, _THREADS_OF_MAILS.format(where=f"message_id = {name}"))
    found += _column(target, _THREADS_OF_MAILS.format(where=f"ses_id = {name}"))
    if any(found):
        return found
    if found := [*_threads_of(target, _column(target, _BY_HEADER.format(name=name))).values()]:
        return found
    same = f"each -> each = {name} OR startsWith(each, {text(ours + '@')})"
    cites = f"arrayExists({same}, in_reply_to) OR arrayExists({same}, references)"
    return _column(target, _THREADS_OF_MAILS.format(where=cites))


def _threads_of(target: Target, sent: Sequence[str]) -> dict[str, str]:
    """Threads of messages sent, of those that are in one."""
    members = ", ".join(text(f"out:{each}") for each in sent)
    return dict(ask(target, _THREADS_OF_SENT.format(members=members))) if sent else {}


def _alone(target: Target, given: str) -> list[Message]:
    """A message that is known and in no thread, or not yet."""
    name, ours = text(given), text(ses_id(given) or given)
    sent = f"message_id = {ours} OR header_message_id = {name}"
    received = f"message_id = {name} OR ses_id = {name} OR mail_id = {text(given.lower())}"
    found = [_sent(row) for row in ask(target, _SENT.format(where=sent, more="", most=10))]
    return found or [_mail(row) for row in ask(target, _MAILS.format(where=received, more="", most=10))]


def _thread(target: Target, thread_id: str) -> Conversation:
    where = f"thread_id = {text(thread_id)}"
    summary = ask(
        target,
        f"SELECT campaign, tenant, outbound, inbound, time_to_first_reply FROM threads WHERE {where}",  # noqa: S608 - quoted
    )
    ((campaign, tenant, outbound, inbound, first),) = summary or [["", "", 0, 0, None]]
    received = [_mail(row) for row in ask(target, _MAILS.format(where=where, more="", most=MOST))]
    messages = sorted([*_members(target, where), *received], key=lambda each: each.time)[:MOST]
    elsewhere = _elsewhere(target, messages)
    return Conversation(
        thread_id, campaign, tenant, int(outbound), int(inbound), first, tuple(messages), elsewhere
    )


def _elsewhere(target: Target, messages: Sequence[Message]) -> dict[str, Elsewhere]:
    """What some messages cite and is not among them, as far as it was seen."""
    here = {name for each in messages for name in each.names}
    cited = {name_of(each): each for message in messages for each in message.cited}
    wanted = [each for name, each in cited.items() if name not in here][:_CITED]
    if not wanted:
        return {}
    names = ", ".join(map(text, wanted))
    ours = ", ".join(text(ses_id(each) or each) for each in wanted)
    found: dict[str, Elsewhere] = {}
    chosen = f"message_id IN ({ours}) OR header_message_id IN ({names})"
    sent = [
        (_sent(row), tenant)
        for *row, tenant in ask(target, _SENT.format(where=chosen, more=", tenant", most=MOST))
    ]
    threads = _threads_of(target, [message.id for message, _ in sent])
    for message, tenant in sent:
        for name in message.names:
            found.setdefault(name, Elsewhere(message, threads.get(message.id, ""), tenant))
    chosen = f"message_id IN ({names})"
    for *row, tenant, thread in ask(
        target, _MAILS.format(where=chosen, more=", to_tenant, thread_id", most=MOST)
    ):
        message = _mail(row)
        for name in message.names:
            found.setdefault(name, Elsewhere(message, thread, tenant))
    return {name: each for name, each in found.items() if name in cited}


def _members(target: Target, where: str) -> list[Message]:
    """Messages sent; of those that have been dropped since, what the thread knows."""
    rows = ask(
        target,
        f"SELECT message_id, {_MS.format('sent_time')}, campaign FROM thread_members"  # noqa: S608 - quoted
        f" WHERE {where} AND direction = 'out' ORDER BY sent_time LIMIT {MOST}",
    )
    if not rows:
        return []
    times = ", ".join(f"fromUnixTimestamp64Milli(toInt64({int(time)}))" for _, time, _ in rows)
    ids = ", ".join(text(message) for message, _, _ in rows)
    chosen = f"sent_time IN ({times}) AND message_id IN ({ids})"
    found = {
        each.id: each for each in map(_sent, ask(target, _SENT.format(where=chosen, more="", most=MOST)))
    }
    return [
        found.get(message) or Message(message, "out", int(time), campaign=campaign)
        for message, time, campaign in rows
    ]


def _column(target: Target, sql: str) -> list[str]:
    return [str(row[0]) for row in ask(target, sql)]


def _mail(row: list[Any]) -> Message:
    mail_id, time, kind, domain, subject, campaign, message_id, in_reply_to, references = row
    return Message(
        *(str(mail_id), "in", int(time), kind, domain, subject, campaign, message_id),
        in_reply_to=tuple(in_reply_to),
        references=tuple(references),
    )


def _sent(row: list[Any]) -> Message:
    message_id, time, domain, subject, campaign, header, in_reply_to, references = row
    return Message(
        *(str(message_id), "out", int(time), "", domain, subject, campaign, header),
        in_reply_to=tuple(in_reply_to),
        references=tuple(references),
    )


def _counts(message: Message) -> tuple[int, int]:
    return (1, 0) if message.direction == "out" else (0, 1)
