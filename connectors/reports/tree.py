"""A conversation as a tree: which message answers which, as far as their headers say. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipelines.threads.names import name_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True, slots=True)
class Message:
    """A mail received, or a message sent."""

    id: str
    """`mail_id` of a mail, SES's id of a message sent."""
    direction: str
    """`in` or `out`."""
    time: int
    """Received, or sent; ms."""
    kind: str = ""
    """Of a mail."""
    domain: str = ""
    """Of the sender."""
    subject: str = ""
    campaign: str = ""
    """Of a message sent; of a mail that of the message it answers."""
    message_id: str = ""
    """Message-ID of a mail; of a message sent its caller's own, if there is one."""
    in_reply_to: tuple[str, ...] = ()
    references: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """What others cite it by: see `pipelines.threads.names`."""
        ours = (f"ses:{self.id}",) if self.direction == "out" else ()
        return (*ours, name_of(self.message_id)) if self.message_id else ours

    @property
    def cited(self) -> tuple[str, ...]:
        """Ids it cites, the nearest first: In-Reply-To in order, References from right to left."""
        return (*self.in_reply_to, *reversed(self.references))


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A message that is cited, and is in another thread, or in none."""

    message: Message
    thread_id: str
    """Empty: it is in none."""
    tenant: str


@dataclass(slots=True, eq=False)
class Node:
    """A place in the tree."""

    message: Message | None
    """None: a ghost, cited and never seen here."""
    cited: str = ""
    """Of a ghost: the id it is cited by."""
    duplicate: bool = False
    """A mail before it has the same Message-ID."""
    loop: bool = False
    """It cites what, in the end, answers it; that is left out."""
    parent: Node | None = None
    children: list[Node] = field(default_factory=list)

    @property
    def time(self) -> int:
        """Of a ghost that of its first answer."""
        return self.message.time if self.message else min(each.time for each in self.children)


def tree(messages: Sequence[Message]) -> list[Node]:
    """Roots, the earliest first. A message is below the first of those it cites that is known, else below a ghost."""
    nodes = [
        Node(each) for each in sorted(messages, key=lambda each: (each.time, each.direction == "in", each.id))
    ]
    by_name: dict[str, Node] = {}
    for node in nodes:
        names = node.message.names if node.message else ()
        node.duplicate = any(name in by_name for name in names)
        for name in names:
            by_name.setdefault(name, node)
    ghosts: dict[str, Node] = {}
    # The latest first: of a loop then the earliest begins it.
    for node in reversed(nodes):
        _place(node, by_name, ghosts)
    everything = [*nodes, *ghosts.values()]
    for node in everything:
        if node.parent:
            node.parent.children.append(node)
    for node in everything:
        node.children.sort(key=lambda each: each.time)
    return sorted((node for node in everything if node.parent is None), key=lambda each: each.time)


def walk(roots: Sequence[Node]) -> Iterator[tuple[Node, tuple[bool, ...]]]:
    """Every node, answers after what they answer; with it, of each level down to it, whether more follow there."""
    left: list[tuple[Node, tuple[bool, ...]]] = [(node, (at > 0,)) for at, node in enumerate(reversed(roots))]
    while left:
        node, more = left.pop()
        yield node, more
        left += [(child, (*more, at > 0)) for at, child in enumerate(reversed(node.children))]


def _place(node: Node, by_name: dict[str, Node], ghosts: dict[str, Node]) -> None:
    """Find what a message answers."""
    message = node.message
    if message is None:
        return
    unknown = ""
    for cited in message.cited:
        name = name_of(cited)
        if name in message.names:
            continue
        found = by_name.get(name)
        if found is None:
            unknown = unknown or cited
        elif _is_above(node, found):
            node.loop = True
        else:
            node.parent = found
            return
    if unknown:
        node.parent = ghosts.setdefault(name_of(unknown), Node(None, unknown))


def _is_above(node: Node, other: Node) -> bool:
    """Whether `node` is `other` or one of those it answers."""
    at: Node | None = other
    while at is not None:
        if at is node:
            return True
        at = at.parent
    return False
