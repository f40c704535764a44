"""`Fact`: what the join knows of one message, received or sent; made of a row, kept as a record of the changelog.

A fact's nodes are all in one thread: those it is known by itself (`own`), and those it cites (`cites`). So the threads
are the connected components of all facts' nodes, and the order in which facts come does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from sys import intern
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pipelines.counting.rate import StateError
from pipelines.threads import names
from pipelines.threads.rows import PROFILE, Profile, Sent
from schemas.mail import NO_RANK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from schemas.mail import Feedback, InboundMail, OutboundMessage

MAIL_COLUMNS: Final = (
    "mail_id",
    "received_time",
    "kind",
    "tenant",
    "message_id",
    "base_subject",
    "in_reply_to",
    "references",
    "conversations",
    "feedback",
    "automatic",
    "path",
    "arrival_id",
)
"""Of `InboundMail`: what the join reads."""
_ABOUT_OURS: Final = frozenset({"Bounce", "Complaint", "Delivery", "DeliveryDelay"})
"""Types of what a report says of a message that its mail belongs to."""
_EVENTFUL: Final = frozenset({"Bounce", "Complaint"})
"""What of feedback waits: the rest makes no event."""
_REPORTED_BY: Final = ("mail_id", "received_time", "tenant", "path", "arrival_id")
"""Of a mail whose feedback waits: what its events want."""
MAIL: Final = b"m"
SENT: Final = b"s"
CITED: Final = 500
"""Ids of a message that are looked at: those of In-Reply-To, References from right to left, what it reports on."""
_VERSION: Final = 1


class Fact(msgspec.Struct, gc=False):
    """A message in a thread. There may be very many: the garbage collector is not to walk through them."""

    member: bytes
    """`m` and the mail's id, or `s` and SES's id packed."""
    text: str
    """SES's id of a message sent; empty of a mail."""
    tenant: str
    time: int
    """Received, or sent; ms."""
    kind: str
    automatic: bool
    own: bytes
    """Nodes it is known by, one after the other."""
    cites: bytes
    """Nodes of what it cites, in order: the first is rank 0."""
    profile: Profile
    """Of a message sent."""
    hour: int
    """Event time when it was heard of: the hour since the epoch."""
    firsts: tuple[int, ...]
    """Marks of the blocks that brought it first, to this worker or another; none: not known, so any may have."""
    recipients: tuple[int, ...] = ()
    """Of a message sent: marks of their addresses."""
    pending: bytes = b""
    """Feedback about messages that are not known yet; see `Pending`."""
    names: tuple[bytes, ...] = ()
    """Of the records of the changelog that hold it."""
    rank: int = NO_RANK
    answer: Fact | None = None
    said: bytes = b""
    """The thread that was last told of it; empty: nothing was, or more is to be told."""
    gone: bool = False

    @property
    def sent(self) -> bool:
        """Whether it is a message of ours."""
        return self.member[:1] == SENT

    def nodes(self) -> Iterator[bytes]:
        """All its nodes."""
        yield from split(self.own)
        yield from split(self.cites)

    def best(self) -> tuple[int, str]:
        """What it answers: the lesser is right."""
        return (self.rank, "" if self.answer is None else self.answer.text)

    def brought_by(self, mark: int) -> bool:
        """Whether that block may have been the first to bring it."""
        return not self.firsts or mark in self.firsts


class Pending(msgspec.Struct, array_like=True):
    """Feedback of a mail that waits for the messages it is about."""

    nodes: list[list[bytes]]
    """Of each feedback: the nodes of the message it is about."""
    mail: dict[str, Any]
    feedback: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Ask:
    """A message of ours that a fact may be about, if the index knows it."""

    packed: bytes
    """SES's id; empty: it is asked for by the caller's Message-ID."""
    node: bytes
    subject: bytes | None = None
    """It is only if it has this base subject; None: whatever it has."""


@dataclass(slots=True)
class Heard:
    """A message as it was just heard of."""

    fact: Fact
    scope: str
    asks: list[Ask] = field(default_factory=list)
    about: list[tuple[Feedback, list[Ask]]] = field(default_factory=list)
    mail: InboundMail | None = None


def split(nodes: bytes) -> Iterator[bytes]:
    """The nodes of several in a row."""
    size = names.NODE_BYTES
    return (nodes[at : at + size] for at in range(0, len(nodes), size))


def include(known: Fact, more: Fact) -> None:
    """Let a fact have the nodes of another of the same message as well."""
    has = set(known.nodes())
    known.own += b"".join(node for node in dict.fromkeys(split(more.own)) if node not in has)
    known.cites += b"".join(node for node in dict.fromkeys(split(more.cites)) if node not in has)


def ask(scope: str, message_id: str, subject: bytes | None = None) -> Ask:
    """Ask for a message by a Message-ID."""
    ours = names.ses_id(message_id)
    return Ask(names.pack(ours) if ours else b"", names.node(scope, names.name_of(message_id)), subject)


def _cited(
    scope: str, own: bytes, in_reply_to: Iterable[str], references: list[str], subject: bytes
) -> list[Ask]:
    """What is cited: In-Reply-To for itself, References only with the subject."""
    asks: dict[bytes, Ask] = {}
    for trusted, ids in ((True, in_reply_to), (False, reversed(references))):
        for each in ids:
            if len(asks) == CITED:
                break
            found = ask(scope, each, None if trusted else subject)
            if each and found.node != own:
                asks.setdefault(found.node, found)
    return list(asks.values())


def _reported(own: bytes, cited: list[Ask], named: Iterable[list[Ask]]) -> list[Ask]:
    """What a mail reports on, for itself, as far as it is not cited so already."""
    known = {each.node for each in cited if each.subject is None} | {own}
    found = {each.node: each for asks in named for each in asks if each.node not in known}
    return list(found.values())[: CITED - len(cited)]


def _nodes(asks: Iterable[Ask]) -> bytes:
    return b"".join(
        each.node if each.subject is None else names.facet(each.node, each.subject) for each in asks
    )


def of_mail(mail: InboundMail, scope: str, mark: int, hour: int) -> Heard:
    """A mail received."""
    message_id, subject = mail["message_id"], names.subject_of(mail["base_subject"])
    itself = (
        ask(scope, message_id) if message_id else Ask(b"", names.node(scope, f"mail:{mail['mail_id'].hex()}"))
    )
    named = [(each, _named(scope, each)) for each in mail["feedback"]]
    asks = _cited(scope, itself.node, mail["in_reply_to"], mail["references"], subject)
    asks += _reported(itself.node, asks, (found for _, found in named))
    fact = Fact(
        member=MAIL + mail["mail_id"],
        text="",
        tenant=intern(mail["tenant"]),
        time=mail["received_time"],
        kind=intern(mail["kind"]),
        automatic=mail["automatic"],
        own=b"".join((itself.node, names.facet(itself.node, subject), *_talks(scope, mail["conversations"]))),
        cites=_nodes(asks),
        profile=(),
        hour=hour,
        firsts=(mark,),
    )
    if message_id:
        asks.append(itself)
    about = [(each, found if each["event_type"] in _EVENTFUL else []) for each, found in named]
    return Heard(fact, scope, asks, about, mail)


def _named(scope: str, feedback: Feedback) -> list[Ask]:
    """The message that a report is about, by the names it has there."""
    asks: list[Ask] = []
    if feedback["event_type"] not in _ABOUT_OURS:
        return asks
    if ses := feedback["ses_id"]:
        asks.append(Ask(names.pack(ses), names.node(scope, f"ses:{ses}")))
    if feedback["message_id"]:
        asks.append(ask(scope, feedback["message_id"]))
    return asks


def _talks(scope: str, conversations: Iterable[str]) -> list[bytes]:
    return [names.node(scope, f"conv:{each}") for each in conversations]


def of_message(message: OutboundMessage, scope: str, mark: int, hour: int) -> Heard:
    """A message sent that cites others, or is in conversations."""
    ses, header = message["message_id"], message["header_message_id"]
    node, subject = names.node(scope, f"ses:{ses}"), names.subject_of(message["base_subject"])
    asks = _cited(scope, node, message["in_reply_to"], message["references"], subject)
    named = header_node(scope, ses, header)
    profile = tuple(intern(message[key]) for key in PROFILE)
    recipients = tuple(message["recipients"])
    sent = Sent(names.pack(ses), ses, message["sent_time"], subject, named, profile, recipients)
    fact = _of_ours(sent, mark, hour)
    fact.own = b"".join((_own(node, named, subject), *_talks(scope, message["conversations"])))
    fact.cites = _nodes(asks)
    return Heard(fact, scope, [*asks, *([Ask(b"", named)] if named else [])])


def header_node(scope: str, ses: str, header: str) -> bytes:
    """The node of a caller's Message-ID; empty where it is none, or the one that SES gives."""
    return b"" if not header or names.ses_id(header) == ses else names.node(scope, names.name_of(header))


def of_sent(sent: Sent, scope: str, mark: int, hour: int) -> Heard:
    """A message sent that something is about, so that it is to be in a thread."""
    fact = _of_ours(sent, mark, hour)
    fact.own = _own(names.node(scope, f"ses:{sent.ses}"), sent.header, sent.subject)
    return Heard(fact, scope, [Ask(b"", sent.header)] if sent.header else [])


def _own(node: bytes, named: bytes, subject: bytes) -> bytes:
    return b"".join((each, names.facet(each, subject))[at] for each in (node, named) if each for at in (0, 1))


def _of_ours(sent: Sent, mark: int, hour: int) -> Fact:
    return Fact(
        member=SENT + sent.packed,
        text=sent.ses,
        tenant=sent.tenant,
        time=sent.time,
        kind="",
        automatic=False,
        own=b"",
        cites=b"",
        profile=sent.profile,
        hour=hour,
        firsts=(mark,),
        recipients=sent.recipients,
        rank=0,
    )


def pend(heard: Heard, feedback: list[tuple[Feedback, list[Ask]]]) -> bytes:
    """Feedback that is to wait with its mail's fact."""
    mail: Mapping[str, Any] = dict(heard.mail or {})
    return msgspec.msgpack.encode(
        Pending(
            [[each.node for each in asks] for _, asks in feedback],
            {key: mail[key] for key in _REPORTED_BY},
            [dict(each) for each, _ in feedback],
        )
    )


def left(waits: Pending, chosen: list[int]) -> bytes:
    """Some of what waited; empty: nothing."""
    if not chosen:
        return b""
    return msgspec.msgpack.encode(
        Pending([waits.nodes[at] for at in chosen], waits.mail, [waits.feedback[at] for at in chosen])
    )


def pending(packed: bytes) -> Pending:
    """What waits."""
    return msgspec.msgpack.decode(packed, type=Pending)


def waiting_mail(found: Pending) -> InboundMail:
    """The mail whose feedback waits: what its events want of it, and nothing else."""
    mail: Any = found.mail
    return mail  # type: ignore[no-any-return]


def pack(fact: Fact) -> bytes:
    """The value of a fact's record in the changelog."""
    return msgspec.msgpack.encode(
        (
            _VERSION,
            fact.member,
            fact.text,
            fact.tenant,
            fact.time,
            fact.kind,
            fact.automatic,
            fact.own,
            fact.cites,
            fact.profile,
            fact.hour,
            fact.firsts,
            fact.pending,
            fact.recipients,
        )
    )


_Numbers = tuple[int, ...]
_Packed = tuple[
    int, bytes, str, str, int, str, bool, bytes, bytes, tuple[str, ...], int, _Numbers, bytes, _Numbers
]


def unpack(value: bytes) -> Fact:
    """A fact of a record.

    Raises:
        StateError: when it is of a later release, or damaged.
    """
    try:
        version, *rest = msgspec.msgpack.decode(value)
        if version != _VERSION:
            raise StateError(f"a thread's message has format {version}, this release reads {_VERSION}")
        _, member, text, tenant, time, kind, automatic, own, cites, profile, hour, firsts, waits, whom = (
            msgspec.convert((version, *rest), type=_Packed)
        )
    except (ValueError, TypeError, msgspec.MsgspecError) as error:
        if isinstance(error, StateError):
            raise
        raise StateError(f"what is remembered of a thread's message is damaged: {error}") from error
    return Fact(
        member=member,
        text=text,
        tenant=intern(tenant),
        time=time,
        kind=intern(kind),
        automatic=automatic,
        own=own,
        cites=cites,
        profile=tuple(intern(each) for each in profile),
        hour=hour,
        firsts=firsts,
        recipients=whom,
        pending=waits,
        rank=0 if member[:1] == SENT else NO_RANK,
    )
