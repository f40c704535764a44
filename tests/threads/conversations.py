"""Conversations at random, and which messages belong together as a union-find over names says it.

Written without looking at the join: names are text, nothing is hashed but a thread's id, nothing is streamed.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from hypothesis import strategies as st

from pipelines.intake.identity import marks
from schemas.mail import NO_RANK

Row = dict[str, Any]
NOON_MS = 1_760_011_200_000
SUBJECTS = ("", "news", "order 7")
TENANTS = ("", "acme", "zeta")
SES = (
    *tuple(f"0102019{n}2c5a4b3d-1a2b3c4d-5e6f-4a8b-9c0d-1e2f3a4b5c6{n}-000000" for n in range(5)),
    "odd-id",
)
CALLERS = ("c1@us.example", "c2@us.example", "c3@us.example")
THEIRS = ("t1@them.example", "t2@them.example", "t3@them.example", "t4@them.example")
TALKS = ("case:1", "case:2")
PEOPLE = tuple(f"p{n}@example.com" for n in range(4))
"""Whom bounces are of."""


def cited(ses: str) -> str:
    return f"{ses}@{'email' if ses[-1] in '0246' else 'eu-west-1'}.amazonses.com"


IDS = (*(cited(each) for each in SES), *CALLERS, *THEIRS, "ghost@nowhere.example")


def mail(number: int, **facts: Any) -> Row:
    """A mail received; the number is its identity."""
    return {
        "mail_id": number.to_bytes(2, "big") * 8,
        "received_time": NOON_MS + number * 60_000,
        "kind": "reply",
        "kind_reason": "",
        "message_id": "",
        "tenant": "",
        "base_subject": "",
        "in_reply_to": [],
        "references": [],
        "conversations": [],
        "feedback": [],
        "verdicts": {},
        "automatic": False,
        "path": "s3",
        "arrival_id": number,
    } | facts


def message(number: int, **facts: Any) -> Row:
    """A message sent; the number is its identity."""
    return {
        "message_id": SES[number],
        "header_message_id": "",
        "sent_time": NOON_MS - 3_600_000 + number,
        "tenant": "",
        "account": "1",
        "region": "eu-west-1",
        "configuration_set": "",
        "from_domain": "us.example",
        "feedback_a": "",
        "feedback_b": "",
        "feedback_c": "",
        "campaign": f"c{number % 3}",
        "subject": "",
        "base_subject": "",
        "in_reply_to": [],
        "references": [],
        "conversations": [],
        "recipients": marks(PEOPLE),
    } | facts


def about(number: int, **names: str) -> Row:
    """What a DSN says of a message."""
    keys = ("domain", "provider", "bounce_subtype", "complaint_type", "status", "smtp_reply", "reporting_mta")
    return (
        dict.fromkeys((*keys, "remote_mta_ip", "user_agent", "source_ip", "ses_id", "message_id"), "")
        | {"event_type": "Bounce", "action": "failed", "bounce_type": "Permanent", "time": 0}
        | {"address": f"p{number}@example.com", "reports_complaints": False, "blocked": False}
        | names
    )


_ids = st.lists(st.sampled_from(IDS), max_size=2)
_common = {
    "tenant": st.sampled_from(TENANTS),
    "base_subject": st.sampled_from(SUBJECTS),
    "conversations": st.lists(st.sampled_from(TALKS), max_size=1),
}
_feedback = st.one_of(
    st.builds(lambda n, each: about(n, ses_id=each), st.integers(0, 3), st.sampled_from(SES)),
    st.builds(lambda n, each: about(n, message_id=each), st.integers(0, 3), st.sampled_from(IDS)),
)
_recipients = st.sampled_from((PEOPLE, PEOPLE[:2], PEOPLE[2:], ())).map(marks)
_mail = st.fixed_dictionaries(
    _common
    | {
        "message_id": st.sampled_from((*THEIRS, *IDS, "")),
        "in_reply_to": _ids,
        "references": st.lists(st.sampled_from(IDS), max_size=3),
        "feedback": st.lists(_feedback, max_size=1),
    }
)
_message = st.fixed_dictionaries(
    _common
    | {
        "header_message_id": st.sampled_from(("", *CALLERS)),
        "recipients": _recipients,
        "in_reply_to": st.one_of(st.just([]), _ids),
        "references": st.one_of(st.just([]), _ids),
    }
)
_bare = st.fixed_dictionaries(
    {
        "header_message_id": st.sampled_from(("", *CALLERS)),
        "recipients": _recipients,
        "tenant": _common["tenant"],
    }
)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[Row], list[Row]]:
    """Mails received, and messages sent."""
    mails = [mail(n, **facts) for n, facts in enumerate(draw(st.lists(_mail, max_size=7)))]
    facts = draw(st.lists(st.one_of(_bare, _message), max_size=len(SES)))
    return mails, [message(n, **each) for n, each in enumerate(facts)]


def node(scope: str, name: str) -> bytes:
    """The number of a name, as docs/threads.md has it."""
    hashed = blake2b(scope.encode(), digest_size=16).digest()
    return blake2b(hashed + name.encode(), digest_size=16).digest()


def facet(scope: str, name: str, subject: str) -> bytes:
    hashed = blake2b(subject.encode(), digest_size=8).digest()
    return blake2b(node(scope, name) + hashed, digest_size=16).digest()


def name_of(message_id: str) -> str:
    local, _, domain = message_id.rpartition("@")
    return f"ses:{local}" if domain.endswith(".amazonses.com") else f"id:{message_id}"


class Oracle:
    """The truth about whole conversations."""

    def __init__(self, mails: list[Row], messages: list[Row], *, apart: bool) -> None:
        self.apart = apart
        self.parent: dict[bytes, bytes] = {}
        self.mails, self.messages = mails, messages
        self.own: dict[str, list[bytes]] = {}
        self.cites: dict[str, list[bytes]] = {}
        for each in mails:
            name = name_of(each["message_id"]) if each["message_id"] else f"mail:{each['mail_id'].hex()}"
            self._add(f"in:{each['mail_id'].hex()}", each, [name])
        for each in messages:
            own = [f"ses:{each['message_id']}"]
            if each["header_message_id"]:
                own.append(name_of(each["header_message_id"]))
            self._add(f"out:{each['message_id']}", each, own)

    def _scope(self, row: Row) -> str:
        return row["tenant"] if self.apart else ""

    def _add(self, member: str, row: Row, names: list[str]) -> None:
        scope, subject = self._scope(row), row["base_subject"]
        self.own[member] = [node(scope, each) for each in names]
        self.own[member] += [facet(scope, each, subject) for each in names]
        cites: dict[str, bytes] = {}
        for each in row["in_reply_to"]:
            cites.setdefault(name_of(each), node(scope, name_of(each)))
        for each in reversed(row["references"]):
            cites.setdefault(name_of(each), facet(scope, name_of(each), subject))
        cites.pop(names[0], None)
        self.cites[member] = list(cites.values())
        for told in row.get("feedback", ()):
            about = [f"ses:{told['ses_id']}"] if told["ses_id"] else []
            about += [name_of(told["message_id"])] if told["message_id"] else []
            for each in about:
                if each != names[0] and node(scope, each) not in self.cites[member]:
                    self.cites[member].append(node(scope, each))
        talks = [node(scope, f"conv:{each}") for each in row["conversations"]]
        for each in (*self.own[member][1:], *self.cites[member], *talks):
            self._union(self.own[member][0], each)

    def _find(self, each: bytes) -> bytes:
        while (up := self.parent.setdefault(each, each)) != each:
            each = up
        return each

    def _union(self, one: bytes, other: bytes) -> None:
        roots = sorted((self._find(one), self._find(other)))
        self.parent[roots[1]] = roots[0]

    def members(self) -> dict[str, tuple[str, int, str]]:
        """Thread, rank and answer of each member of a thread."""
        threads: dict[bytes, list[str]] = {}
        for member, own in self.own.items():
            threads.setdefault(self._find(own[0]), []).append(member)
        bare = {
            f"out:{each['message_id']}"
            for each in self.messages
            if not (each["in_reply_to"] or each["references"] or each["conversations"])
        }
        found = {}
        for root, members in threads.items():
            if set(members) <= bare or (len(members) == 1 and members[0].startswith("out:")):
                continue
            for member in members:
                found[member] = (root.hex(), *self._answer(member))
        return found

    def _answer(self, member: str) -> tuple[int, str]:
        if member.startswith("out:"):
            return 0, member[4:]
        for rank, each in enumerate(self.cites[member]):
            if ours := sorted(m[4:] for m, own in self.own.items() if m.startswith("out:") and each in own):
                return rank, ours[0]
        return NO_RANK, ""

    def feedback(self) -> set[tuple[str, str]]:
        """(address, SES's id) of what is told of messages that are known by one name only."""
        found = set()
        for each in self.mails:
            for told in each["feedback"]:
                names = [f"ses:{told['ses_id']}"] if told["ses_id"] else []
                names += [name_of(told["message_id"])] if told["message_id"] else []
                wanted = {node(self._scope(each), name) for name in names}
                for ours in self.messages:
                    theirs = marks([told["address"]])[0] in ours["recipients"]
                    if theirs and wanted & set(self.own[f"out:{ours['message_id']}"]):
                        found.add((told["address"], ours["message_id"]))
        return found
