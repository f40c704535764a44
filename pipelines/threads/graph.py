"""`Graph`: facts joined by their nodes, and what of each thread is to be told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pipelines.threads.facts import Fact, include, pending, split

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Several(dict[bytes, "Fact | list[Fact]"]):
    """Facts by node: mostly one, so a list only where there are more."""

    __slots__ = ()

    def put(self, node: bytes, fact: Fact) -> None:
        """Add one."""
        known = self.get(node)
        if known is None:
            self[node] = fact
        elif isinstance(known, list):
            known.append(fact)
        else:
            self[node] = [known, fact]

    def of(self, node: bytes) -> list[Fact]:
        """All of a node."""
        known = self.get(node)
        return [] if known is None else known if isinstance(known, list) else [known]


class Thread(msgspec.Struct, gc=False):
    """A connected component, or where it went."""

    least: bytes
    """Its least node: the thread's id."""
    members: list[Fact]
    touched: int
    """Hour of its latest news."""
    into: Thread | None = None


class Graph:
    """All facts of a partition."""

    __slots__ = ("_days", "_stack", "citing", "dirty", "facts", "nodes", "ours", "waiting")

    def __init__(self) -> None:
        self.facts: dict[bytes, Fact] = {}
        self.nodes: dict[bytes, Thread] = {}
        self.ours = Several()
        """Messages of ours by their nodes."""
        self.citing = Several()
        """Mails by what they cite and is not, or may be bettered by, a message of ours that is known."""
        self.waiting: dict[bytes, dict[bytes, Fact]] = {}
        """Mails (by member) by the nodes of messages that their feedback waits for: very many may wait for one."""
        self.dirty: list[Fact] = []
        """Members of which something may have to be told."""
        self._days: dict[int, list[Fact]] = {}

    def thread(self, node: bytes) -> Thread | None:
        """The thread of a node."""
        found = self.nodes.get(node)
        if found is None or found.into is None:
            return found
        root = found
        while root.into is not None:
            root = root.into
        while found.into is not None and found.into is not root:
            found.into, found = root, found.into
        self.nodes[node] = root
        return root

    def of(self, fact: Fact) -> Thread:
        """The thread of a fact that is here."""
        found = self.thread(fact.own[:16])
        if found is None:
            raise KeyError(fact.member)
        return found

    def add(self, fact: Fact) -> None:
        """Join a fact that is not here; what is to be told because of it is `dirty`."""
        self.facts[fact.member] = fact
        root = self._unite(fact)
        root.members.append(fact)
        self._days.setdefault(fact.hour // 24, []).append(fact)
        self.dirty.append(fact)
        if fact.sent:
            self._answered(fact)
        else:
            self._answers(fact)
        if fact.pending:
            self.wait(fact)

    def widen(self, known: Fact, more: Fact) -> bool:
        """A copy of a message of ours, which may say more than the one that is here; whether it does."""
        if not set(more.nodes()) - set(known.nodes()):
            return False
        include(known, more)
        known.firsts = known.firsts and (*known.firsts, *more.firsts)
        self._unite(known)
        self.dirty.append(known)
        self._answered(known)
        return True

    def _unite(self, fact: Fact) -> Thread:
        """The one thread of all its nodes, which is touched."""
        nodes = list(fact.nodes())
        roots = {id(root): root for node in nodes if (root := self.thread(node)) is not None}
        root = self._merged(list(roots.values()), min(*nodes, *(each.least for each in roots.values())))
        for node in nodes:
            self.nodes[node] = root
        root.touched = max(root.touched, fact.hour)
        return root

    def _merged(self, roots: list[Thread], least: bytes) -> Thread:
        """One of several threads; the largest takes the members of the others."""
        if not roots:
            return Thread(least, [], 0)
        root = max(roots, key=lambda each: len(each.members))
        for each in roots:
            # One of ours alone is no member, and nothing was told of it.
            if each.least != least or (len(each.members) == 1 and each.members[0].sent):
                self.dirty += each.members
            if each is not root:
                root.members += each.members
                root.touched = max(root.touched, each.touched)
                each.members, each.into = [], root
        root.least = least
        return root

    def _answered(self, fact: Fact) -> None:
        """A message of ours: mails that cite it may answer it."""
        for node in split(fact.own):
            if not any(each is fact for each in self.ours.of(node)):
                self.ours.put(node, fact)
            for mail in self.citing.of(node):
                self._answer(mail, list(split(mail.cites)).index(node), fact)

    def _answers(self, fact: Fact) -> None:
        """A mail: of what it cites it answers the first that is ours."""
        for rank, node in enumerate(split(fact.cites)):
            # Another message of ours may have that node as well, with a lesser id.
            self.citing.put(node, fact)
            for ours in self.ours.of(node):
                self._answer(fact, rank, ours)
            if fact.answer is not None:
                break

    def _answer(self, mail: Fact, rank: int, ours: Fact) -> None:
        if mail.answer is None or (rank, ours.text) < mail.best():
            mail.rank, mail.answer, mail.said = rank, ours, b""
            self.dirty.append(mail)

    def wait(self, fact: Fact) -> None:
        """Its feedback waits for messages."""
        for nodes in pending(fact.pending).nodes:
            for node in nodes:
                self.waiting.setdefault(node, {})[fact.member] = fact

    def stop_waiting(self, fact: Fact) -> None:
        """Its feedback has been told, or part of it."""
        for nodes in pending(fact.pending).nodes:
            for node in nodes:
                there = self.waiting.get(node)
                if there is not None:
                    there.pop(fact.member, None)
                    if not there:
                        del self.waiting[node]

    def again(self, facts: Iterable[Fact]) -> None:
        """All of their threads are to be told once more."""
        for thread in {id(thread): thread for thread in map(self.of, facts)}.values():
            for each in thread.members:
                each.said = b""
            self.dirty += thread.members

    def tell(self) -> Iterator[tuple[Fact, bytes]]:
        """Members of which something is to be told, with their threads; then nothing is any more.

        Nothing may be added meanwhile.
        """
        dirty, self.dirty = self.dirty, []
        for fact in dirty:
            if fact.gone:
                continue
            thread = self.of(fact)
            if fact.said != thread.least and (len(thread.members) > 1 or not fact.sent):
                fact.said = thread.least
                yield fact, thread.least

    def expire(self, before: int, most: int) -> list[Fact]:
        """Drop threads without news since the days before one: the facts that went.

        It looks at so many facts at the most, or a little more; the others' turn comes.
        """
        gone: list[Fact] = []
        looked = 0
        for day in sorted(day for day in self._days if day < before):
            facts = self._days[day]
            while facts and looked < most:
                looked += 1
                fact = facts.pop()
                if fact.gone:
                    continue
                thread = self.of(fact)
                latest = thread.touched // 24
                if latest < before:
                    looked += len(thread.members)
                    gone += self._drop(thread)
                else:
                    self._days.setdefault(latest, []).append(fact)
            if facts:
                break
            del self._days[day]
        return gone

    def _drop(self, thread: Thread) -> list[Fact]:
        for fact in thread.members:
            fact.gone = True
            del self.facts[fact.member]
            if fact.pending:
                self.stop_waiting(fact)
            for node in fact.nodes():
                self.nodes.pop(node, None)
                # Whoever has or cites a node is in its thread.
                self.ours.pop(node, None)
                self.citing.pop(node, None)
        return thread.members
