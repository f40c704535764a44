"""Received reports beside what SES says itself: counted once, in every order and however it is cut into batches."""

from __future__ import annotations

import os
import random
from collections import defaultdict
from itertools import permutations
from typing import Any

import naive
import pytest
from counting_model import HOUR_S, NOON_S
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from storms import event, quarrels, recipient, untagged

from pipelines.counting.count import count
from pipelines.counting.hours import Opening
from pipelines.counting.reading import Source
from pipelines.counting.remembered import Remembered
from schemas.blocks import decode, encode, open_block
from schemas.counters import COUNTERS

Row = dict[str, Any]
Deltas = dict[tuple[int, str, str, int], tuple[tuple[int, ...], bool]]
"""(block, dimension, value, hour) → counters, whether they are only to have the hour recounted."""
DIMENSIONS = (
    "account",
    "campaign",
    "from_domain",
    "provider",
    "provider_campaign",
    "outgoing_ip",
    "tag:team",
)
NOW = Opening(48, NOON_S // HOUR_S)
few = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
often = int(os.environ.get("CHAOS_SEEDS", "2"))
many = settings(max_examples=150 * often, deadline=None, suppress_health_check=list(HealthCheck))


class Counting:
    """A count agent on one partition, and what its deltas come to."""

    def __init__(self) -> None:
        self.memory = Remembered()
        self.sums: dict[tuple[str, str, int], list[int]] = defaultdict(lambda: [0] * len(COUNTERS))
        self.recounted: set[tuple[str, str, int]] = set()
        self.deltas: Deltas = {}

    def count(self, blocks: list[tuple[int, list[Row]]]) -> None:
        """A batch of (offset, rows)."""
        sources = [Source(0, offset, open_block(encode("ses_event", rows))) for offset, rows in blocks]
        counted = count(sources, lambda _, *rest: self.memory.look(*rest), NOW, {}, DIMENSIONS)
        for row in counted.deltas.iter_rows(named=True):
            key = (row["dimension"], row["value"], row["hour"])
            counters = tuple(row[name] for name in COUNTERS)
            self.deltas[(row["source_offset"], *key)] = counters, row["closed"]
            if row["closed"]:
                self.recounted.add(key)
            self.sums[key] = [one + more for one, more in zip(self.sums[key], counters, strict=True)]
        for fresh in counted.fresh:
            self.memory.add(fresh.bucket, str(blocks[0][0]).encode(), fresh.keys)

    def agrees_with(self, rows: list[Row]) -> bool:
        """Whether all is right that is not recounted."""
        truth = naive.table(whole(rows), DIMENSIONS)
        found = {key: tuple(sums) for key, sums in self.sums.items() if key not in self.recounted}
        return found == {key: sums for key, sums in truth.items() if key not in self.recounted}


def whole(rows: list[Row]) -> list[Row]:
    """Rows with all their fields."""
    return decode(encode("ses_event", rows))


def bounce(number: int, *addresses: str, kind: str = "Permanent", **more: Any) -> Row:
    people = [recipient("yahoo", address=address) for address in addresses or ("x",)]
    facts = {"event_type": "Bounce", "bounce_type": kind, "recipients": people, "message_id": "m"}
    return event(number, **facts, campaign="spring", from_domain="shop.example", **more)


def dsn(number: int, address: str = "x", **more: Any) -> Row:
    return bounce(number, address, origin="dsn", **more)


def complaint(number: int, *providers: str, kind: str = "abuse", **more: Any) -> Row:
    people = [recipient(provider) for provider in providers]
    facts = {"event_type": "Complaint", "complaint_type": kind, "recipients": people, "message_id": "m"}
    return event(number, **facts, campaign="spring", from_domain="shop.example", **more)


def arf(number: int, *providers: str, **more: Any) -> Row:
    return complaint(number, *providers, origin="arf", **more)


def counted(*rows: Row) -> Counting:
    """Each row a block and a batch."""
    agent = Counting()
    for at, row in enumerate(rows):
        agent.count([(at, [row])])
    return agent


ACCOUNT = ("account", "1", NOON_S)


def of(agent: Counting, name: str, key: tuple[str, str, int] = ACCOUNT) -> int:
    return agent.sums[key][COUNTERS.index(name)]


def test_a_report_of_what_ses_said_adds_nothing_and_recounts_nothing() -> None:
    agent = counted(
        bounce(1, "x", "y"), dsn(2), dsn(3, "Y"), bounce(4), complaint(5, "yahoo"), arf(6, "yahoo")
    )
    assert (of(agent, "hard_bounces"), of(agent, "complaints")) == (3, 1)
    assert not agent.recounted


def test_what_only_a_report_says_counts_once_however_often_it_comes() -> None:
    agent = counted(dsn(1), dsn(1), arf(2, "yahoo"), arf(2, "yahoo"), dsn(3, "y"))
    assert (of(agent, "hard_bounces"), of(agent, "complaints")) == (2, 1)
    assert not agent.recounted


def test_ses_after_a_report_has_its_hours_recounted() -> None:
    agent = counted(dsn(1, kind="Transient"), bounce(2), arf(3, "yahoo"), complaint(4, "yahoo"))
    assert ACCOUNT in agent.recounted
    rows = [dsn(1, kind="Transient"), bounce(2), arf(3, "yahoo"), complaint(4, "yahoo")]
    truth = naive.table(whole(rows), DIMENSIONS)
    counters = dict(zip(COUNTERS, truth[ACCOUNT], strict=True))
    assert {name: n for name, n in counters.items() if n} == {"hard_bounces": 1, "complaints": 1}


def test_notifications_without_tags_leave_to_a_report_what_they_do_not_say() -> None:
    said = untagged(bounce(1))
    agent = counted(said, dsn(2))
    assert of(agent, "hard_bounces") == 1
    assert of(agent, "hard_bounces", ("campaign", "spring", NOON_S)) == 1
    assert not agent.recounted
    agent.count([(9, [bounce(1)])])
    assert ("campaign", "spring", NOON_S) in agent.recounted
    assert agent.agrees_with([said, dsn(2), bounce(1)])


@pytest.mark.parametrize(
    "silent",
    [
        complaint(1, "yahoo", kind="not-spam"),
        complaint(1, "yahoo", complaint_subtype="OnAccountSuppressionList"),
        bounce(1, kind="Transient", out_of_office=True),
        bounce(1, "somebody else"),
        event(1, message_id="m", event_type="Delivery"),
    ],
)
def test_what_does_not_count_or_is_of_others_silences_no_report(silent: Row) -> None:
    before, after = counted(silent, dsn(2), arf(3, "yahoo")), counted(dsn(2), arf(3, "yahoo"), silent)
    assert before.sums == after.sums
    assert of(before, "complaints") == 1
    assert not before.recounted | after.recounted


@few
@given(quarrels(), st.integers(0, 2**32))
def test_all_that_is_not_recounted_is_right_however_it_is_cut(rows: list[Row], seed: int) -> None:
    all_is_right(rows, seed)


@pytest.mark.chaos
@pytest.mark.timeout(900)
@many
@given(quarrels(), st.integers(0, 2**32))
def test_many_more_quarrels(rows: list[Row], seed: int) -> None:
    all_is_right(rows, seed)


def all_is_right(rows: list[Row], seed: int) -> None:
    rng = random.Random(seed)
    blocks: list[tuple[int, list[Row]]] = []
    left = list(rows)
    while left:
        size = rng.randint(1, 3)
        blocks.append((len(blocks), left[:size]))
        left = left[size:]
    agents = [Counting() for _ in range(3)]
    for agent, most in zip(agents, (1, 2, len(blocks)), strict=True):
        waiting = list(blocks)
        while waiting:
            size = rng.randint(1, most)
            agent.count(waiting[:size])
            waiting = waiting[size:]
        assert agent.agrees_with(rows)
    assert agents[0].deltas == agents[1].deltas == agents[2].deltas


def test_every_order_of_a_quarrel_ends_the_same() -> None:
    rows = [
        bounce(1),
        dsn(2),
        dsn(3, kind="Transient"),
        untagged(bounce(1)),
        bounce(4, "x", "y", kind="Transient"),
    ]
    for order in permutations(rows):
        agent = Counting()
        agent.count([(at, [row]) for at, row in enumerate(order)])
        assert agent.agrees_with(rows)
