"""`join`: mails received and messages sent in, members of threads and feedback about messages out.

Everything here may be done again, in any order: what is known already changes nothing, except that the block that
brought it first, coming again, has all said once more that followed from it. So a crash between remembering and telling
loses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pipelines.threads import facts as make
from pipelines.threads import names
from pipelines.threads import sent as columnar
from pipelines.threads.feedback import may_be_about
from pipelines.threads.graph import Graph
from pipelines.threads.index import DAY_HOURS, Index, Place
from pipelines.threads.rows import Sent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import polars as pl

    from pipelines.threads.facts import Ask, Fact, Heard
    from pipelines.threads.rows import Rows
    from schemas.mail import Feedback, InboundMail, OutboundMessage

HOUR_MS: Final = 3_600_000


@dataclass(slots=True)
class Threads:
    """What is remembered of one partition."""

    apart: bool
    """Whether tenants are kept apart."""
    index: Index = field(default_factory=Index)
    graph: Graph = field(default_factory=Graph)
    hour: int = 0
    """Event time: the hour (since the epoch) of the latest message, never ahead of the clock."""

    def scope(self, tenant: str) -> str:
        """The scope of a tenant's names."""
        return tenant if self.apart else ""

    @property
    def day(self) -> int:
        """The day of the event time."""
        return self.hour // DAY_HOURS

    def advance(self, latest_ms: int, clock: int) -> None:
        """There is a message of that time; `clock`: the hour it is."""
        self.hour = max(self.hour, min(latest_ms // HOUR_MS, clock))


@dataclass(frozen=True, slots=True)
class Told:
    """Feedback about a message that is known: to be an event."""

    mail: InboundMail
    feedback: Feedback
    message: OutboundMessage


@dataclass(slots=True)
class Joined:
    """What a join did to the state, and what follows from it. Members to be told are those of `Graph.tell`."""

    facts: list[Fact] = field(default_factory=list)
    """To be remembered."""
    rows: list[tuple[Place, int, int]] = field(default_factory=list)
    """Of the index: to be remembered."""
    told: list[Told] = field(default_factory=list)
    settled: list[Fact] = field(default_factory=list)
    """To be remembered anew once all that is told is safe: some of their feedback waits no more."""
    again: list[Fact] = field(default_factory=list)
    """Of which all is told once more."""


@dataclass(frozen=True, slots=True)
class Received:
    """A mail, and the mark of the block that brought it."""

    mark: int
    mail: InboundMail


def join_mails(state: Threads, mails: Sequence[Received], clock: int) -> Joined:
    """Join mails; `clock`: the hour it is."""
    joined = Joined()
    state.advance(max((each.mail["received_time"] for each in mails), default=0), clock)
    heard: dict[bytes, Heard] = {}
    again: dict[bytes, Fact] = {}
    for each in mails:
        found = make.of_mail(each.mail, state.scope(each.mail["tenant"]), each.mark, state.hour)
        known = state.graph.facts.get(found.fact.member)
        if known is None:
            heard.setdefault(found.fact.member, found)
        elif known.brought_by(each.mark):
            heard.setdefault(found.fact.member, found)
            again[known.member] = known
    sent = _look(state.index, [ask for each in heard.values() for ask in _all_asks(each)])
    _promote(state, list(heard.values()), sent, joined)
    for each_heard in heard.values():
        _tell_feedback(state, each_heard, sent, joined, new=each_heard.fact.member not in again)
    for member, each_heard in heard.items():
        if member not in again:
            state.graph.add(each_heard.fact)
            joined.facts.append(each_heard.fact)
    joined.again += again.values()
    state.graph.again(joined.again)
    return joined


def join_sent(state: Threads, blocks: Sequence[tuple[int, pl.DataFrame]], clock: int) -> Joined:
    """Join messages sent, of blocks: their marks and frames (see `sent.read`)."""
    joined = Joined()
    graph = state.graph
    heard: list[Heard] = []
    for mark, frame in blocks:
        if not frame.height:
            continue
        column = columnar.columns(frame, state.scope)
        times = frame.get_column("sent_time")
        state.advance(int(times.max() or 0), clock)  # type: ignore[arg-type]
        joined.rows += _indexed(state, column, min(int(times.min() or 0) // HOUR_MS, clock))  # type: ignore[arg-type]
        for at in column.citing.tolist():
            message = column.message(at)
            heard.append(make.of_message(message, state.scope(message["tenant"]), mark, state.hour))
        if graph.nodes:
            heard += _touched(state, column, mark)
        if graph.waiting:
            _awaited(state, column, joined)
    _join_ours(state, heard, joined)
    return joined


def _join_ours(state: Threads, heard: Iterable[Heard], joined: Joined) -> None:
    graph = state.graph
    new: dict[bytes, Heard] = {}
    for each in heard:
        known = graph.facts.get(each.fact.member)
        if known is None:
            new.setdefault(each.fact.member, each)
            continue
        widened = graph.widen(known, each.fact)
        if widened:
            joined.facts.append(known)
        if widened or known.brought_by(each.fact.firsts[0]):
            new.setdefault(each.fact.member, each)
            joined.again.append(known)
    asks = [ask for each in new.values() for ask in each.asks]
    _promote(state, list(new.values()), _look(state.index, asks), joined)
    for member, each in new.items():
        if member not in graph.facts:
            graph.add(each.fact)
            joined.facts.append(each.fact)
    graph.again(joined.again)


def _indexed(state: Threads, column: Any, since: int) -> Iterable[tuple[Place, int, int]]:
    """Remember messages: where those are that were not known."""
    rows: Rows = column.rows()
    fresh = ~state.index.known(rows, since // DAY_HOURS)
    seen: set[bytes] = set()
    for at, packed in enumerate(column.packed):
        if packed in seen:
            fresh[at] = False
        seen.add(packed)
    headed = np.array([bool(each) for each in column.headers], dtype=np.bool_)
    for chosen, kept in ((fresh & ~headed, False), (fresh & headed, True)):
        if chosen.any():
            yield state.index.add(state.day, rows.take(chosen).headed(kept=kept))


def _touched(state: Threads, column: Any, mark: int) -> Iterable[Heard]:
    """Messages that something known is about."""
    nodes = state.graph.nodes
    tenants = column.frame.get_column("tenant").to_list()
    for at, (node, header, subject) in enumerate(
        zip(column.nodes, column.headers, column.subjects, strict=True)
    ):
        if (
            node in nodes
            or names.facet(node, subject) in nodes
            or (header and (header in nodes or names.facet(header, subject) in nodes))
        ):
            yield make.of_message(column.message(at), state.scope(tenants[at]), mark, state.hour)


def _promote(state: Threads, heard: Sequence[Heard], sent: dict[Ask, list[Sent]], joined: Joined) -> None:
    """Let messages of ours that these are about be in threads, and those that are about them in turn."""
    graph = state.graph
    around, met = list(heard), {each.fact.member for each in heard}
    while around:
        found: dict[bytes, Heard] = {}
        for each in around:
            for message in _meant(state, each, sent):
                new = make.of_sent(message, each.scope, each.fact.firsts[0], state.hour)
                # Those that are heard of here are not only in the index.
                if new.fact.member not in met:
                    found.setdefault(new.fact.member, new)
        met |= found.keys()
        around = []
        for member, each in found.items():
            known = graph.facts.get(member)
            if known is None:
                graph.add(each.fact)
                joined.facts.append(each.fact)
                around.append(each)
            elif known.brought_by(each.fact.firsts[0]):
                # A life that ended before all was safe that followed from it, or was told.
                joined.again.append(known)
                around.append(each)
        sent = _look(state.index, [ask for each in around for ask in each.asks])


def _meant(state: Threads, heard: Heard, sent: dict[Ask, list[Sent]]) -> Iterable[Sent]:
    """Messages of ours that a message is about."""
    for ask in heard.asks:
        for message in sent.get(ask, ()):
            subject = ask.subject is None or ask.subject == message.subject
            if subject and state.scope(message.tenant) == heard.scope:
                yield message


def _all_asks(heard: Heard) -> Iterable[Ask]:
    yield from heard.asks
    for _, asks in heard.about:
        yield from asks


def _look(index: Index, asks: Sequence[Ask]) -> dict[Ask, list[Sent]]:
    """What the index has of what is asked for, whatever its subject."""
    by_id: dict[bytes, list[Ask]] = {}
    by_node: dict[bytes, list[Ask]] = {}
    for ask in dict.fromkeys(asks):
        if ask.packed:
            by_id.setdefault(ask.packed, []).append(ask)
        else:
            by_node.setdefault(ask.node, []).append(ask)
    found: dict[Ask, list[Sent]] = {}
    if by_id:
        for packed, sent in index.find(list(by_id)).items():
            for ask in by_id[packed]:
                found.setdefault(ask, []).append(sent)
    if by_node:
        for node, sent in index.find_headers(list(by_node)):
            for ask in by_node[node]:
                found.setdefault(ask, []).append(sent)
    return found


def _tell_feedback(
    state: Threads, heard: Heard, sent: dict[Ask, list[Sent]], joined: Joined, *, new: bool
) -> None:
    """Feedback of a mail: told if its message is known, else it waits."""
    waits: list[tuple[Feedback, list[Ask]]] = []
    for feedback, asks in heard.about:
        message = next(
            (each for ask in asks if (each := _known(state, heard.scope, ask, sent, feedback))), None
        )
        if message is not None and heard.mail is not None:
            joined.told.append(Told(heard.mail, feedback, message))
        elif asks:
            waits.append((feedback, asks))
    if waits and new:
        heard.fact.pending = make.pend(heard, waits)


def _known(
    state: Threads, scope: str, ask: Ask, sent: dict[Ask, list[Sent]], feedback: Feedback
) -> OutboundMessage | None:
    """The message that feedback is about: of several, which a caller's Message-ID may name, the earliest."""
    known = [each.message() for each in sent.get(ask, ()) if state.scope(each.tenant) == scope]
    known += [_message(fact) for fact in state.graph.ours.of(ask.node)]
    found = [each for each in known if may_be_about(feedback, each)]
    return min(found, key=lambda each: (each["sent_time"], each["message_id"]), default=None)


def _message(fact: Fact) -> OutboundMessage:
    return Sent(fact.member[1:], fact.text, fact.time, b"", b"", fact.profile, fact.recipients).message()


def _awaited(state: Threads, column: Any, joined: Joined) -> None:
    """Messages that feedback has waited for."""
    waiting = state.graph.waiting
    for at, (node, header) in enumerate(zip(column.nodes, column.headers, strict=True)):
        mails = waiting.get(node, {}) | (waiting.get(header, {}) if header else {})
        if mails:
            message = column.message(at)
            for fact in mails.values():
                _told(state, fact, {node, header}, message, joined)


def _told(state: Threads, fact: Fact, nodes: set[bytes], message: OutboundMessage, joined: Joined) -> None:
    """Of a mail's feedback that waits, tell what is about that message."""
    waits = make.pending(fact.pending)
    mail = make.waiting_mail(waits)
    left: list[int] = []
    for at, wanted in enumerate(waits.nodes):
        feedback: Any = waits.feedback[at]
        if nodes.isdisjoint(wanted) or not may_be_about(feedback, message):
            left.append(at)
        else:
            joined.told.append(Told(mail, feedback, message))
    if len(left) == len(waits.nodes):
        return
    state.graph.stop_waiting(fact)
    fact.pending = make.left(waits, left)
    if fact.pending:
        state.graph.wait(fact)
    joined.settled.append(fact)


def expire(
    state: Threads, outbound_days: int, thread_days: int, most: int, delete: Callable[[Place, bytes], Any]
) -> list[Fact]:
    """Forget what is too old: the facts that went; `delete` is given the records of the index that may go."""
    for place, name in state.index.expire(state.day - outbound_days):
        delete(place, name)
    return state.graph.expire(state.day - thread_days, most)
