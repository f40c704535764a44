"""A conversation as text for people, and as JSON. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from connectors.reports.printable import printable
from connectors.reports.tree import tree, walk
from pipelines.mail.subject import base_subject
from pipelines.threads.names import name_of

if TYPE_CHECKING:
    from connectors.reports.conversation import Conversation
    from connectors.reports.tree import Elsewhere, Message, Node

_DEEPEST: Final = 12
"""Levels that are indented."""
_SUBJECT: Final = 70


def render(found: Conversation) -> str:
    """As text: what the thread is, and its messages as a tree."""
    head = (
        f"thread {found.thread_id}"
        if found.thread_id
        else "in no thread, or not yet: nothing answers it, nor does it answer"
    )
    words = [head, *(f"{name} {printable(value)}".strip() for name, value in _facts(found) if value)]
    if found.time_to_first_reply is not None:
        words.append(f"first reply after {span(found.time_to_first_reply)}")
    lines = ["  ".join(words)]
    lines += [_indented(more) + _line(node, found) for node, more in walk(tree(found.messages))]
    hidden = found.outbound + found.inbound - len(found.messages)
    if hidden > 0:
        lines.append(f"and {hidden:,} later ones: see the view thread_members")
    return "\n".join(lines) + "\n"


def plain(found: Conversation) -> dict[str, Any]:
    """As JSON has it; `parent` is the `id` of what a message answers."""
    nodes = [node for node, _ in walk(tree(found.messages))]
    return {
        "thread_id": found.thread_id,
        "campaign": found.campaign,
        "tenant": found.tenant,
        "outbound": found.outbound,
        "inbound": found.inbound,
        "time_to_first_reply": found.time_to_first_reply,
        "messages": [_object(node, found) for node in nodes],
    }


def _facts(found: Conversation) -> tuple[tuple[str, str], ...]:
    numbers = f"{found.outbound:,} sent, {found.inbound:,} received" if found.thread_id else ""
    return ("campaign", found.campaign), ("tenant", found.tenant), ("", numbers)


def _indented(more: tuple[bool, ...]) -> str:
    """The branches before a line; of very deep ones only the last levels' are drawn."""
    levels = more[1:]
    if not levels:
        return ""
    deeper = f"… {len(levels) - _DEEPEST} levels " if len(levels) > _DEEPEST else ""
    drawn = levels[-_DEEPEST:]
    return deeper + "".join("│  " if each else "   " for each in drawn[:-1]) + ("├─ " if drawn[-1] else "└─ ")


def _line(node: Node, found: Conversation) -> str:
    message = node.message
    if message is not None:
        said = _about(message)
        said += ["(duplicate: its Message-ID is in use)" if node.duplicate else ""]
        said += ["(loop: it also cites what answers it)" if node.loop else ""]
    elif seen := found.elsewhere.get(name_of(node.cited)):
        where = f"see thread {seen.thread_id}" if seen.thread_id else "it is in no thread"
        said = [*_about(seen.message), f"(not of this thread: {_why(node, seen, found)}; {where})"]
        if seen.thread_id == found.thread_id:
            said[-1] = f"(beyond the first {len(found.messages):,} messages of this thread)"
    else:
        return f"never seen: <{printable(node.cited)}>"
    return "  ".join(printable(each) for each in said if each)


def _about(message: Message) -> list[str]:
    when = datetime.fromtimestamp(message.time / 1000, UTC)
    return [
        "sent" if message.direction == "out" else "received",
        f"{when:%Y-%m-%d %H:%M:%S}",
        message.kind,
        message.domain,
        f'"{_short(message.subject)}"' if message.subject else "",
        f"campaign {message.campaign}" if message.campaign and message.direction == "out" else "",
        message.id,
    ]


def _why(node: Node, seen: Elsewhere, found: Conversation) -> str:
    """Why those that cite a message are not in its thread (docs/threads.md)."""
    if found.tenant != seen.tenant:
        return "another tenant's"
    citing = [each.message for each in node.children if each.message]
    name = name_of(node.cited)
    trusted = any(name in map(name_of, each.in_reply_to) for each in citing)
    subjects = {base_subject(each.subject) for each in citing}
    if not trusted and base_subject(seen.message.subject) not in subjects:
        return "cited in References alone, under another subject"
    return "not joined, or not yet"


def _object(node: Node, found: Conversation) -> dict[str, Any]:
    parent = node.parent and (node.parent.message.id if node.parent.message else f"<{node.parent.cited}>")
    if node.message is not None:
        return {
            "id": node.message.id,
            **_plain(node.message),
            "seen": True,
            "parent": parent,
            "duplicate": node.duplicate,
            "loop": node.loop,
        }
    cited = {"id": f"<{node.cited}>", "direction": "", "seen": False, "parent": None}
    if (seen := found.elsewhere.get(name_of(node.cited))) is None:
        return cited
    return (
        cited
        | _plain(seen.message)
        | {"seen": True, "not_here": _why(node, seen, found), "thread_id": seen.thread_id}
    )


def _plain(message: Message) -> dict[str, Any]:
    return {
        "direction": message.direction,
        "time": datetime.fromtimestamp(message.time / 1000, UTC).isoformat(timespec="milliseconds"),
        "kind": message.kind,
        "from_domain": message.domain,
        "subject": message.subject,
        "campaign": message.campaign,
        "message_id": message.message_id,
    }


def span(seconds: float) -> str:
    """For people: the two largest units."""
    whole = round(seconds)
    parts = [(whole // 86_400, "d"), (whole // 3_600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    said = [f"{number} {unit}" for number, unit in parts if number][:2]
    return " ".join(said) or "0 s"


def _short(subject: str) -> str:
    return subject if len(subject) <= _SUBJECT else subject[: _SUBJECT - 1] + "…"
