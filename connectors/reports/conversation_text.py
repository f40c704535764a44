"""A conversation as text for people, and as JSON. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from connectors.reports.printable import printable
from connectors.reports.tree import tree, walk

if TYPE_CHECKING:
    from connectors.reports.conversation import Conversation
    from connectors.reports.tree import Node

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
    lines += [_indented(more) + _line(node) for node, more in walk(tree(found.messages))]
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
        "messages": [_object(node) for node in nodes],
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


def _line(node: Node) -> str:
    message = node.message
    if message is None:
        return f"never seen: <{printable(node.cited)}>"
    when = datetime.fromtimestamp(message.time / 1000, UTC)
    said = ["sent" if message.direction == "out" else "received", f"{when:%Y-%m-%d %H:%M:%S}"]
    said += [message.kind, message.domain, f'"{_short(message.subject)}"' if message.subject else ""]
    said += [
        f"campaign {message.campaign}" if message.campaign and message.direction == "out" else "",
        message.id,
    ]
    said += ["(duplicate: its Message-ID is in use)" if node.duplicate else ""]
    said += ["(loop: it also cites what answers it)" if node.loop else ""]
    return "  ".join(printable(each) for each in said if each)


def _object(node: Node) -> dict[str, Any]:
    parent = node.parent and (node.parent.message.id if node.parent.message else f"<{node.parent.cited}>")
    if node.message is None:
        return {"id": f"<{node.cited}>", "direction": "", "seen": False, "parent": None}
    message = node.message
    return {
        "id": message.id,
        "direction": message.direction,
        "seen": True,
        "parent": parent,
        "time": datetime.fromtimestamp(message.time / 1000, UTC).isoformat(timespec="milliseconds"),
        "kind": message.kind,
        "from_domain": message.domain,
        "subject": message.subject,
        "campaign": message.campaign,
        "message_id": message.message_id,
        "duplicate": node.duplicate,
        "loop": node.loop,
    }


def span(seconds: float) -> str:
    """For people: the two largest units."""
    whole = round(seconds)
    parts = [(whole // 86_400, "d"), (whole // 3_600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    said = [f"{number} {unit}" for number, unit in parts if number][:2]
    return " ".join(said) or "0 s"


def _short(subject: str) -> str:
    return subject if len(subject) <= _SUBJECT else subject[: _SUBJECT - 1] + "…"
