"""The join: whatever the order, the repetition and the batches, threads are those of a union-find."""

from __future__ import annotations

import random
from typing import Any

import pytest
from conversations import CALLERS, NOON_MS, PEOPLE, SES, Oracle, about, cited, conversations, mail, message
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.intake.identity import marks
from pipelines.threads import members, sent
from pipelines.threads.join import Received, Threads, expire, join_mails, join_sent
from schemas.blocks import encode, open_block

Row = dict[str, Any]
CLOCK = NOON_MS // 3_600_000 + 24 * 400


class Landed:
    """What ClickHouse makes of all that was told."""

    def __init__(self) -> None:
        self.members: dict[str, tuple[str, int, str]] = {}
        self.events: set[tuple[str, str]] = set()
        self.rows = 0

    def take(self, state: Threads, joined: Any) -> None:
        for fact, thread in state.graph.tell():
            row = members.row(fact, thread)
            self.rows += 1
            known = self.members.get(row["member"], (row["thread_id"], row["rank"], row["message_id"]))
            answer = min(known[1:], (row["rank"], row["message_id"]))
            self.members[row["member"]] = (min(known[0], row["thread_id"]), *answer)
        self.events |= {(each.feedback["address"], each.message["message_id"]) for each in joined.told}


def blocks(rows: list[Row], mark: int) -> Any:
    return mark, sent.read(open_block(encode("outbound_message", rows)))


def joined(
    state: Threads, landed: Landed, rows: list[tuple[str, Row]], rng: random.Random, most: int = 3
) -> None:
    """Join rows in batches."""
    at = 0
    while at < len(rows):
        kind, size = rows[at][0], rng.randint(1, most)
        batch = []
        while at < len(rows) and rows[at][0] == kind and len(batch) < size:
            batch.append(rows[at][1])
            at += 1
        mark = rng.randrange(1000)
        if kind == "in":
            found: Any = [Received(mark, row) for row in batch]
            landed.take(state, join_mails(state, found, CLOCK))
        else:
            landed.take(state, join_sent(state, [blocks(batch, mark)], CLOCK))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(conversations(), st.integers(0, 2**32), st.booleans())
def test_threads_do_not_depend_on_order_repetition_or_batches(
    told: tuple[list[Row], list[Row]],
    seed: int,
    apart: bool,  # noqa: FBT001 - drawn
) -> None:
    rng = random.Random(seed)
    rows = [("in", each) for each in told[0]] + [("out", each) for each in told[1]]
    rows += rng.choices(rows, k=rng.randint(0, len(rows))) if rows else []
    rng.shuffle(rows)
    state, landed = Threads(apart), Landed()
    joined(state, landed, rows, rng)
    truth = Oracle(*told, apart=apart)
    assert landed.members == truth.members()
    wanted, shared = truth.feedback(), len({each["header_message_id"] for each in told[1]}) < len(told[1])
    assert landed.events <= wanted
    if not shared:
        assert landed.events == wanted


def test_a_message_nobody_answers_is_in_no_thread() -> None:
    state, landed = Threads(apart=False), Landed()
    joined(state, landed, [("out", message(n)) for n in range(5)], random.Random(1))
    assert landed.members == {}
    assert len(state.index) == 5


def test_members_are_told_again_only_when_their_thread_has_changed() -> None:
    rng, state, landed = random.Random(1), Threads(apart=False), Landed()
    ids = [f"{n}@them.example" for n in range(40)]
    rows = [("in", mail(n, message_id=ids[n], in_reply_to=["root@them.example"])) for n in range(40)]
    joined(state, landed, rows, rng)
    least = min(thread for thread, _, _ in landed.members.values())
    told = landed.rows
    joined(state, landed, rows, rng)
    joined(state, landed, [("in", mail(99, message_id="99@them.example", in_reply_to=[ids[3]]))], rng)
    assert {thread for thread, _, _ in landed.members.values()} == {least}
    assert landed.rows == told + 1


def test_a_reference_joins_only_where_the_subject_stayed() -> None:
    rng, state, landed = random.Random(1), Threads(apart=False), Landed()
    ours = cited(SES[0])
    rows = [
        ("out", message(0, base_subject="news")),
        ("in", mail(1, references=[ours], base_subject="news")),
        ("in", mail(2, references=[ours], base_subject="other")),
        ("in", mail(3, in_reply_to=[ours], base_subject="other")),
    ]
    joined(state, landed, rows, rng)
    threads = {member: thread for member, (thread, _, _) in landed.members.items()}
    one, two, three = (threads[f"in:{n.to_bytes(2, 'big').hex() * 8}"] for n in (1, 2, 3))
    assert one == three == threads[f"out:{SES[0]}"] != two


def test_feedback_about_a_message_that_is_not_ours_is_never_told() -> None:
    rng, state, landed = random.Random(1), Threads(apart=False), Landed()
    joined(state, landed, [("in", mail(1, feedback=[about(1, ses_id=SES[1])])), ("out", message(0))], rng)
    assert landed.events == set()
    joined(state, landed, [("out", message(1))], rng)
    assert landed.events == {("p1@example.com", SES[1])}


@pytest.mark.parametrize("order", [1, -1])
def test_a_bounce_of_somebody_the_message_was_not_sent_to_is_never_told(order: int) -> None:
    state, landed = Threads(apart=False), Landed()
    several = [f"p{n}@example.com" for n in range(50)]
    strangers = [about(n, ses_id=SES[0], address=f"s{n}@elsewhere.example") for n in range(400)]
    theirs = [about(n, ses_id=SES[0]) for n in range(50)]
    rows = [
        ("out", message(0, recipients=marks(several))),
        ("in", mail(1, feedback=strangers)),
        ("in", mail(2, feedback=theirs)),
    ]
    for row in rows[::order]:
        joined(state, landed, [row], random.Random(1))
    assert landed.events == {(each, SES[0]) for each in several}


def test_a_bounce_is_of_the_message_to_its_recipient_where_several_have_one_message_id() -> None:
    state, landed, header = Threads(apart=False), Landed(), CALLERS[0]
    first, second = (message(n, header_message_id=header, recipients=marks([PEOPLE[n]])) for n in (0, 1))
    bounce = mail(1, feedback=[about(1, message_id=header)])
    for row in (("out", first), ("in", bounce), ("out", second)):
        joined(state, landed, [row], random.Random(1))
    assert landed.events == {(PEOPLE[1], SES[1])}
    assert not state.graph.waiting


def test_a_thread_without_news_is_forgotten_and_a_later_reply_begins_anew() -> None:
    rng, state, landed = random.Random(1), Threads(apart=False), Landed()
    day = 24 * 3_600_000
    first = mail(1, message_id="a@them.example", feedback=[about(1, ses_id=SES[4])])
    joined(state, landed, [("out", message(0)), ("in", first)], rng)
    joined(
        state, landed, [("in", mail(2, message_id="b@them.example", received_time=NOON_MS + 50 * day))], rng
    )
    deleted: list[Any] = []
    assert expire(state, 30, 90, 100, lambda *each: deleted.append(each)) == []
    assert len(state.index) == 0
    joined(
        state, landed, [("in", mail(3, message_id="c@them.example", received_time=NOON_MS + 95 * day))], rng
    )
    gone = expire(state, 30, 90, 100, lambda *each: deleted.append(each))
    assert [members.name(fact) for fact in gone] == ["in:" + first["mail_id"].hex()]
    assert not state.graph.waiting
    assert len(state.graph.facts) == 2
    reply = mail(
        4, message_id="d@them.example", in_reply_to=["a@them.example"], received_time=NOON_MS + 96 * day
    )
    joined(state, landed, [("in", reply)], rng)
    assert len(state.graph.facts) == 3
