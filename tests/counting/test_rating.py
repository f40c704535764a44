"""The rate agent's step on batches of deltas and answers, its effects applied as the worker does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.counting import answers, deltas, rate
from pipelines.counting.caps import Caps
from pipelines.counting.days import Days, key_of
from pipelines.counting.rating import Batch, Outcome, Policy, Rating, expired
from schemas.blocks import encode, open_block
from schemas.counters import COUNTERS, OTHER_VALUE

HOUR = 1_760_011_200
NOW_US = (HOUR + 1800) * 1_000_000

Row = dict[str, Any]
KeyHour = tuple[str, str, int]


def delta(offset: int, *cells: tuple[str, int, int], partition: int = 0, closed: bool = False) -> list[Row]:
    """Rows of a source block: (value, hours from ours, sends)."""
    return [
        {"source_partition": partition, "source_offset": offset, "dimension": "campaign", "value": value}
        | {"hour": HOUR + hours * 3600, "sends": sends, "closed": closed}
        for value, hours, sends in cells
    ]


def answer(value: str, hours: int, sends: int, as_of: int = 1, stored: int = 0) -> list[Row]:
    """An answer; as_of in microseconds from ours."""
    return [
        {"dimension": "campaign", "value": value, "hour": HOUR + hours * 3600, "as_of": NOW_US + as_of}
        | {"stored": stored, "sends": sends}
    ]


@dataclass
class Agent:
    """One partition's agent and what it has sent."""

    cap: int = 100
    retention_days: int = 2
    floor: int = 0
    days: Days = field(default_factory=Days)
    caps: Caps = field(init=False)
    rows: dict[KeyHour, tuple[int, tuple[int, ...]]] = field(default_factory=dict)
    forwarded: list[Row] = field(default_factory=list)
    requests: list[KeyHour] = field(default_factory=list)
    """Of the last batch."""

    def __post_init__(self) -> None:
        self.caps = Caps(self.cap)

    def told(self, *records: list[Row], now_us: int = NOW_US) -> Outcome:
        """Fold records in one batch."""
        policy = Policy(self.retention_days, self.cap)
        memory, caps = {0: self.days}, {0: self.caps}
        out = Rating(memory, caps, policy, batch(records, now_us, self.floor)).outcome()
        for record in (*out.watermarks, *out.states, *out.caps, *out.moved):
            self.days.apply(*record[1:])
        self.requests = sorted(out.requests)
        if out.forwards is not None:
            self.forwarded += out.forwards.to_dicts()
        for row in out.rows:
            key = (row.dimension, row.value, row.hour)
            if row.version > self.rows.get(key, (0,))[0]:
                self.rows[key] = (row.version, tuple(row.counters))
        for records_ in expired(0, self.days, policy):
            for record in records_:
                self.days.apply(*record[1:])
        self.caps.swap(self.days)
        return out

    def sends(self, value: str, hours: int = 0) -> int | None:
        """Of the row of a value and hour."""
        row = self.rows.get(("campaign", value, HOUR + hours * 3600))
        return None if row is None else row[1][COUNTERS.index("sends")]

    def asked(self) -> list[tuple[str, int]]:
        """What the last batch asked for."""
        return [(value, (hour - HOUR) // 3600) for _, value, hour in self.requests]


def batch(records: Any, now_us: int = NOW_US, floor: int = 0) -> Batch:
    frames: list[pl.DataFrame] = []
    for read, kind, name in (
        (deltas.read, "count_delta", "source_offset"),
        (answers.read, "recount_row", "as_of"),
    ):
        places = [at for at, rows in enumerate(records) if name in rows[0]]
        frame = read([open_block(encode(kind, records[at])) for at in places])
        at = pl.Series("record", [places[at] for at in frame["record"]], dtype=pl.Int64)
        frames.append(frame.with_columns(at, partition=pl.lit(0, dtype=pl.Int64)))
    return Batch(frames[0], frames[1], now_us, floor)


def test_deltas_add_up_once() -> None:
    agent = Agent()
    first, second = delta(7, ("a", 0, 2), ("a", -1, 1), ("b", 0, 5)), delta(8, ("a", 0, 3))
    agent.told(first, second)
    agent.told(first)
    agent.told(second, delta(1, ("a", 0, 4), partition=3), second)
    assert (agent.sends("a"), agent.sends("a", -1), agent.sends("b")) == (9, 1, 5)
    assert agent.asked() == []


def test_a_repeated_delta_sends_its_rows_again() -> None:
    agent = Agent()
    agent.told(delta(7, ("a", 0, 2)))
    agent.rows.clear()
    agent.told(delta(7, ("a", 0, 2)))
    assert agent.sends("a") == 2


def test_a_closed_delta_adds_nothing_and_asks_and_so_does_all_that_follows() -> None:
    agent = Agent()
    agent.told(delta(7, ("a", 0, 2), ("a", -1, 2)))
    agent.told(delta(8, ("a", 0, 3), closed=True))
    assert agent.asked() == [("a", 0)]
    agent.told(delta(9, ("a", 0, 1), ("a", -1, 1)))
    assert agent.asked() == [("a", 0)]
    assert (agent.sends("a"), agent.sends("a", -1)) == (2, 3)
    agent.told(delta(9, ("a", 0, 1), ("a", -1, 1)))
    assert agent.asked() == [("a", 0)]
    agent.told(answer("a", 0, 6))
    assert (agent.sends("a"), agent.sends("a", -1), agent.asked()) == (6, 3, [])


def test_a_block_may_bring_an_hour_open_and_another_closed() -> None:
    agent = Agent()
    agent.told([*delta(7, ("a", 0, 2)), *delta(7, ("a", -3, 2), closed=True)])
    assert (agent.sends("a"), agent.sends("a", -3), agent.asked()) == (2, None, [("a", -3)])


def test_an_answer_replaces_what_came_before_it_and_what_comes_after_asks_again() -> None:
    agent = Agent()
    closed, late = delta(8, ("a", 0, 1), closed=True), delta(9, ("a", 0, 5))
    agent.told(closed, answer("a", 0, 10), late)
    assert (agent.sends("a"), agent.asked()) == (10, [("a", 0)])
    agent = Agent()
    agent.told(delta(7, ("a", 0, 2)), closed, late, answer("a", 0, 10))
    assert (agent.sends("a"), agent.asked()) == (10, [("a", 0)])


def test_of_two_answers_the_later_counts_whichever_comes_first() -> None:
    agent = Agent()
    agent.told(answer("a", 0, 5, as_of=20), answer("a", 0, 4, as_of=10))
    assert agent.sends("a") == 5
    agent.rows.clear()
    agent.told(answer("a", 0, 4, as_of=10))
    assert agent.sends("a") == 5, "its row is sent again: the process that took it over may have died"
    agent.told(answer("a", 0, 0, as_of=30))
    assert agent.sends("a") == 0


def test_the_row_of_an_answer_is_newer_than_the_stored_one() -> None:
    agent = Agent(floor=50)
    agent.told(answer("a", 0, 5, stored=NOW_US + 7))
    assert agent.rows["campaign", "a", HOUR][0] == NOW_US + 8


def test_hours_that_are_not_retained_have_no_state() -> None:
    agent = Agent(retention_days=2)
    agent.told(delta(1, ("a", 0, 1)))
    agent.told(delta(2, ("a", -48, 1), ("a", -49, 1), ("b", -500, 1)))
    assert agent.asked() == [("a", -49), ("b", -500)]
    agent.told(answer("b", -500, 3, as_of=70), answer("b", -500, 4, as_of=80, stored=NOW_US + 90))
    assert agent.rows["campaign", "b", HOUR - 500 * 3600][0] == NOW_US + 91
    assert agent.sends("b", -500) == 4
    assert key_of("campaign", "b") not in agent.days


def test_days_that_are_over_go_and_what_comes_of_them_later_is_recounted() -> None:
    agent = Agent(retention_days=1)
    agent.told(delta(1, ("a", -60, 1), ("b", -60, 1)))
    agent.told(delta(2, ("a", -36, 1)))
    assert len(agent.days) == 3
    agent.told(delta(3, ("a", 0, 1)))
    assert [agent.days.get(key_of("campaign", "a"), rate.day_of(HOUR) + n) is None for n in (-2, -1, 0)] == [
        True,
        False,
        False,
    ]
    assert key_of("campaign", "b") not in agent.days
    agent.told(delta(1, ("a", -60, 1), ("b", -60, 1)))
    assert agent.asked() == [("a", -60), ("b", -60)]


def test_the_future_does_not_age_the_past() -> None:
    agent = Agent(retention_days=1)
    agent.told([*delta(1, ("a", -20, 1)), *delta(1, ("a", 24 * 365, 1), closed=True)])
    assert agent.asked() == [("a", 24 * 365)]
    agent.told(delta(3, ("a", -20, 1)))
    assert (agent.sends("a", -20), agent.days.watermark) == (2, HOUR - 20 * 3600)


hours = st.sampled_from((0, 0, -1, -5, -23, -24, -25, -47, -50, 1, 30))
cells = st.lists(
    st.tuples(st.sampled_from("ab"), hours, st.integers(1, 3)),
    min_size=1,
    max_size=3,
    unique_by=lambda c: c[:2],
)
records = st.lists(
    st.tuples(st.integers(0, 1), cells, st.booleans(), st.just(None))
    | st.tuples(st.just(0), cells, st.just(value=True), st.integers(1, 5)),
    min_size=1,
    max_size=12,
)


@settings(deadline=None, max_examples=40)
@given(records, st.data())
def test_however_a_stream_is_cut_and_repeated_it_ends_alike(told: list[Any], data: st.DataObject) -> None:
    log: list[list[Row]] = []
    offsets = [0, 0]
    for partition, some, closed, as_of in told:
        if as_of is not None:
            log.append(answer(some[0][0], some[0][1], as_of * 10, as_of=as_of))
            continue
        log.append(delta(offsets[partition], *some, partition=partition, closed=closed))
        offsets[partition] += 1
    whole, cut = Agent(), Agent()
    asked: set[KeyHour] = set()
    again: set[KeyHour] = set()
    for record in log:
        whole.told(record)
        asked.update(whole.requests)
    at = 0
    while at < len(log):
        size = data.draw(st.integers(1, 5))
        cut.told(*log[at : at + size])
        again.update(cut.requests)
        # A crash: the next begins with some that were done.
        at = max(at + size - data.draw(st.integers(0, size - 1)), at + 1)
    assert asked <= again
    answers_to = [answer(value, (hour - HOUR) // 3600, 7, as_of=99) for _, value, hour in sorted(again)]
    for agent in (whole, cut):
        agent.told(*answers_to)
    assert {key: row[1] for key, row in cut.rows.items()} == {key: row[1] for key, row in whole.rows.items()}


def test_what_is_refused_is_forwarded_once_for_each_block_and_in_order() -> None:
    agent = Agent(cap=1)
    agent.told(delta(1, ("a", 0, 1), ("b", 0, 2), ("c", 0, 4)), delta(2, ("b", -1, 8)), delta(1, ("b", 0, 2)))
    assert (agent.sends("a"), agent.sends("b")) == (1, None)
    assert [
        (row["source_partition"], row["source_offset"], row["hour"] - HOUR, row["sends"])
        for row in agent.forwarded
    ] == [(1 << 16, 1, 0, 6), (1 << 16, 2, -3600, 8)]
    assert {row["value"] for row in agent.forwarded} == {OTHER_VALUE}
    assert agent.caps.capped(agent.days)["campaign"].refused == 2


def test_closed_hours_of_the_refused_are_recounted_with_the_others() -> None:
    agent = Agent(cap=1)
    agent.told(delta(1, ("a", 0, 1)))
    agent.told(delta(2, ("b", 0, 1), closed=True), delta(2, ("b", 0, 1), closed=True))
    assert [(row["closed"], row["value"]) for row in agent.forwarded] == [(True, OTHER_VALUE)]
    assert agent.asked() == []


def test_a_recount_of_the_others_is_asked_for_until_it_stays() -> None:
    agent = Agent(cap=1)
    agent.told(delta(1, (OTHER_VALUE, 0, 1), closed=True))
    for sends, asked in ((5, True), (6, True), (6, False)):
        agent.told(answer(OTHER_VALUE, 0, sends, as_of=sends))
        assert agent.asked() == ([(OTHER_VALUE, 0)] if asked else [])


def test_there_is_room_again_when_days_are_over_for_hours_nobody_was_refused() -> None:
    agent = Agent(cap=1, retention_days=1)
    agent.told(delta(1, ("a", -60, 1)))
    agent.told(delta(2, ("b", -60, 1)))
    agent.told(delta(3, ("a", -60, 1)))
    # The day of `a` is over with this, and its place is free from the next batch on.
    agent.told(delta(4, ("b", 0, 1)))
    agent.told(delta(5, ("b", 0, 1)))
    assert [(row["source_offset"], row["hour"] - HOUR) for row in agent.forwarded] == [
        (2, -60 * 3600),
        (4, 0),
        (5, 0),
    ]
    agent.told(delta(6, ("b", 1, 1)))
    assert agent.sends("b", 1) == 1
    assert agent.days.since(key_of("campaign", "b")) == HOUR + 3600
    agent.told(delta(7, ("b", 0, 1), ("b", 1, 1)))
    assert (agent.sends("b", 1), agent.sends("b")) == (2, None)
    assert agent.forwarded[-1]["source_offset"] == 7
