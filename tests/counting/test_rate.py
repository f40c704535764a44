from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from pipelines.counting import rate
from pipelines.counting.rate import KeyHour, State, StateError
from schemas.blocks import decode, encode
from schemas.counters import COUNTERS

HOUR = 1_760_011_200


def vector(**named: int) -> tuple[int, ...]:
    return tuple(named.get(name, 0) for name in COUNTERS)


deltas = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.lists(st.tuples(st.integers(-2, 3), st.integers(0, 2**40)), min_size=1, max_size=3),
    ),
    max_size=12,
)


@given(deltas, st.data())
def test_replaying_from_any_block_changes_nothing(
    found: list[tuple[int, list[tuple[int, int]]]], data: st.DataObject
) -> None:
    log: dict[int, list[list[tuple[int, tuple[int, ...]]]]] = {}
    once = State()
    for partition, rows in found:
        block = [(hour * 3600, vector(sends=amount)) for hour, amount in rows]
        log.setdefault(partition, []).append(block)
        rate.apply(once, partition, len(log[partition]) - 1, block)
    again = rate.unpack(rate.pack(once))
    assert again == once
    for partition, blocks in log.items():
        for offset in range(data.draw(st.integers(0, len(blocks))), len(blocks)):
            changed = rate.apply(again, partition, offset, blocks[offset])
            assert changed == [hour for hour, _ in blocks[offset]]
    assert again == once
    total = sum(amount for _, rows in found for _, amount in rows)
    assert sum(counters[0] for counters in once.hours.values()) == total


def test_versions_only_rise() -> None:
    state = State(version=100)
    assert rate.next_version(state, 50) == 101
    assert rate.next_version(state, 500) == 500
    assert rate.next_version(state, 10, floor=9000) == 9001


@pytest.mark.parametrize(
    "damaged", [b"", b"\x01", msgspec.msgpack.encode([9, 1, 0]), msgspec.msgpack.encode([1])]
)
def test_other_bytes_are_refused(damaged: bytes) -> None:
    with pytest.raises(StateError):
        rate.unpack(damaged)


def test_fourteen_days_stay_small() -> None:
    state = State(version=10**15, marks={0: 10**9})
    for hour in range(14 * 24):
        state.hours[HOUR + hour * 3600] = list(vector(sends=120, deliveries=118, eligible=60, opens=20))
    assert len(rate.pack(state)) / len(state.hours) < 12


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
