"""State of a day, its packed bytes, and rows."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from pipelines.counting import rate, rate_rows
from pipelines.counting.rate import KeyHour, State, StateError
from schemas.blocks import decode, encode
from schemas.counters import COUNTERS

HOUR = 1_760_011_200
DAY = rate.day_of(HOUR)
MIDNIGHT = DAY * rate.DAY_S


def vector(**named: int) -> tuple[int, ...]:
    return tuple(named.get(name, 0) for name in COUNTERS)


counters = st.lists(st.sampled_from((0, 0, 1, 200, 2**40)), min_size=len(COUNTERS), max_size=len(COUNTERS))
days = st.sampled_from((DAY, -3))


@given(
    days,
    st.dictionaries(st.integers(0, 23), st.tuples(counters, st.none() | st.integers(0, 2**52))),
    st.dictionaries(st.integers(0, 40), st.integers(0, 2**40)),
    st.integers(0, 2**52),
    st.sampled_from((0, HOUR)),
)
def test_what_is_packed_is_unpacked(
    day: int,
    hours: dict[int, tuple[list[int], int | None]],
    marks: dict[int, int],
    version: int,
    since: int,
) -> None:
    state = State(version, since, marks)
    for number, (sums, as_of) in hours.items():
        hour = day * rate.DAY_S + number * 3600
        state.hours[hour] = list(sums)
        if as_of is not None:
            state.recounted[hour] = as_of
    packed = rate.pack(state)
    again = rate.unpack(packed, day)
    assert rate.pack(again) == packed
    assert rate.since_of(packed) == since
    assert (again.version, again.since, again.marks, again.recounted) == (
        version,
        since,
        marks,
        state.recounted,
    )
    assert {hour: again.counters(hour) for hour in state.hours} == state.hours
    assert rate.pack(again) == packed


def test_counters_add_up_in_packed_hours_and_new_ones() -> None:
    state = State()
    rate.add(state, HOUR, vector(sends=3, opens=1))
    state = rate.unpack(rate.pack(state), DAY)
    rate.add(state, HOUR, vector(sends=4, blocks=2))
    rate.add(state, HOUR + 3600, vector(clicks=1))
    state = rate.unpack(rate.pack(state), DAY)
    assert state.counters(HOUR) == list(vector(sends=7, opens=1, blocks=2))
    assert state.counters(HOUR + 3600) == list(vector(clicks=1))
    assert state.counters(HOUR + 7200) is None


def test_an_answer_replaces_unless_it_is_older_than_the_last() -> None:
    state = State()
    rate.add(state, HOUR, vector(sends=3))
    rate.recount(state, HOUR)
    assert state.counters(HOUR) == list(vector(sends=3))
    assert rate.replace(state, HOUR, 20, vector(sends=5))
    assert not rate.replace(state, HOUR, 19, vector(sends=4))
    rate.recount(state, HOUR)
    assert state.recounted == {HOUR: 20}
    assert rate.replace(state, HOUR, 20, vector(sends=6))
    assert state.counters(HOUR) == list(vector(sends=6))


def test_an_hour_to_be_recounted_is_known_before_it_has_counters() -> None:
    state = State()
    rate.recount(state, HOUR)
    state = rate.unpack(rate.pack(state), DAY)
    assert HOUR in state
    assert HOUR - 3600 not in state
    assert state.recounted == {HOUR: 0}


def test_versions_only_rise() -> None:
    state = State(version=100)
    assert rate.next_version(state, 50) == 101
    assert rate.next_version(state, 500) == 500
    assert rate.next_version(state, 10, floor=9000) == 9001


HEAD = [rate.FORMAT, 1, 0, 0]


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\x01",
        msgspec.msgpack.encode([]),
        msgspec.msgpack.encode([9, 1, 0, 0]),
        msgspec.msgpack.encode([2]),
        msgspec.msgpack.encode([*HEAD, 5, 3, 10]),
        msgspec.msgpack.encode([*HEAD[:3], 2, 0]),
        msgspec.msgpack.encode([*HEAD, 5]),
    ],
)
def test_other_bytes_are_refused(damaged: bytes) -> None:
    with pytest.raises(StateError):
        rate.unpack(damaged, DAY)


def test_a_day_stays_small() -> None:
    state = State(version=10**15, marks=dict.fromkeys(range(4), 10**9))
    bare = len(rate.pack(state))
    for hour in range(24):
        state.hours[MIDNIGHT + hour * 3600] = list(
            vector(sends=320, deliveries=318, eligible=160, complaints=1, hard_bounces=2, opens=40, clicks=9)
        )
    assert (len(rate.pack(state)) - bare) / 24 < 18
    assert len(rate.pack(state)) < 500


def test_state_of_all_hours_is_split_by_day() -> None:
    # format, version, one mark (partition 3: offset 70), then hours: two of a day, one of the next.
    first = MIDNIGHT // 3600 + 22
    old = msgspec.msgpack.encode([1, 123, 1, 3, 70, first, 0b101, 8, 9, 1, 0b1, 5, 1, 0b10, 2])
    assert rate.is_of_all_hours(old)
    days = {day: rate.unpack(packed, day) for day, packed in rate.by_day(old).items()}
    assert set(days) == {DAY, DAY + 1}
    assert [state.marks for state in days.values()] == [{3: 70}, {3: 70}]
    assert [state.version for state in days.values()] == [123, 123]
    assert days[DAY].counters(MIDNIGHT + 22 * 3600) == list(vector(sends=8, eligible=9))
    assert days[DAY].counters(MIDNIGHT + 23 * 3600) == list(vector(sends=5))
    assert days[DAY + 1].counters(MIDNIGHT + 24 * 3600) == list(vector(deliveries=2))
    assert not rate.is_of_all_hours(rate.by_day(old)[DAY])
    with pytest.raises(StateError, match="format 9"):
        rate.is_of_all_hours(msgspec.msgpack.encode([9, 1, 0]))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 400), st.integers(1, 400))
def test_limits_are_clopper_and_pearsons(hits: int, trials: int) -> None:
    hits = min(hits, trials)
    (row,) = rate.rows([KeyHour("campaign", "c", HOUR, 1, vector(complaints=hits, eligible=trials))])
    exact = binomtest(hits, trials).proportion_ci(0.95, method="exact")
    assert row["complaint_rate_low"] == pytest.approx(exact.low, abs=1e-9)
    assert row["complaint_rate_high"] == pytest.approx(exact.high, abs=1e-9)


def test_no_data_is_null_and_more_hits_than_trials_are_all_of_them() -> None:
    cells = [
        KeyHour("campaign", "none", HOUR, 1, vector(complaints=3, sends=4, suppressed=5, hard_bounces=1)),
        KeyHour(
            "campaign",
            "early",
            HOUR,
            1,
            vector(complaints=9, eligible=3, sends=10, suppressed=2, hard_bounces=2),
        ),
    ]
    none, early = rate.rows(cells)
    assert none["complaint_rate_low"] is None
    assert none["complaint_rate_high"] is None
    assert none["hard_bounce_rate_low"] is None
    assert early["complaint_rate_high"] == 1.0
    assert early["complaint_rate_low"] == pytest.approx(binomtest(3, 3).proportion_ci(0.95).low)
    assert early["hard_bounce_rate_high"] == pytest.approx(binomtest(2, 8).proportion_ci(0.95).high)
    assert decode(encode("rate_row", [none, early])) == [none, early]


cells = st.builds(
    KeyHour,
    st.sampled_from(("campaign", "provider")),
    st.text(max_size=5),
    st.integers(-5, 500_000).map(lambda number: number * 3600),
    st.integers(0, 2**53),
    counters.map(lambda some: [min(each, 2**31) for each in some]),
)


@given(st.lists(cells, min_size=1, max_size=6))
def test_blocks_of_rows_are_byte_for_byte_avro(some: list[KeyHour]) -> None:
    assert rate_rows.encode(some, 1) == [(0, encode("rate_row", rate.rows(some)))]


def test_blocks_of_rows_are_bounded_and_go_where_their_keys_belong() -> None:
    some = [KeyHour("campaign", str(n), HOUR, n, vector(sends=n)) for n in range(1200)]
    blocks = rate_rows.encode(some, 2)
    assert {target for target, _ in blocks} == {0, 1}
    rows = [row for _, data in blocks for row in decode(data)]
    assert sorted(row["version"] for row in rows) == list(range(1200))
    assert max(len(decode(data)) for _, data in blocks) == 500
    assert rate_rows.encode([], 2) == []
