"""What the rate agent remembers is what its records say, and it forgets whole days."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.counting import rate
from pipelines.counting.days import CAPS, NEVER, WATERMARK, Days, key_of, names_of, record_key
from pipelines.counting.rate import State, StateError

A, B, C = key_of("campaign", "a"), key_of("campaign", "b"), key_of("tag:x", "a\0b")
DAY = 20_000


def state(version: int, since: int = 0) -> bytes:
    return rate.pack(State(version, since, {}, {}, {DAY * rate.DAY_S: [1] * rate.WIDTH}))


changes = st.lists(
    st.tuples(st.sampled_from((A, B, C)), st.sampled_from((-1, DAY, DAY + 1)), st.none() | st.integers(0, 9))
)


@given(changes)
def test_it_is_what_the_last_records_say(told: list[tuple[bytes, int, int | None]]) -> None:
    days = Days()
    expected: dict[tuple[bytes, int], bytes] = {}
    for key, day, version in told:
        packed = None if version is None else state(version)
        days.apply(record_key(key, day), packed)
        expected.pop((key, day), None)
        if packed is not None:
            expected[key, day] = packed
    for key in (A, B, C):
        for day in (-1, DAY, DAY + 1):
            assert days.get(key, day) == expected.get((key, day))
        assert (key in days) == any(known == key for known, _ in expected)
    assert len(days) == len(expected)
    assert days.values("campaign") == len({key for key, _ in expected} - {C})
    assert days.values("tag:x") == len({key for key, _ in expected} & {C})
    assert set(days.keys("campaign")) == {key for key, _ in expected} - {C}
    hour = (DAY + 1) * rate.DAY_S
    assert set(days.expired(hour)) == {(day, key) for key, day in expected if day <= DAY}
    assert list(days.expired(NEVER)) == []


def test_names_go_into_a_key_and_come_out() -> None:
    assert names_of(C) == ("tag:x", "a\0b")


def test_the_watermark_only_rises_and_decisions_are_the_last() -> None:
    days = Days()
    for mark, caps in ((b"7200", b"one"), (b"3600", b"two")):
        days.apply(WATERMARK, mark)
        days.apply(CAPS, caps)
    assert (days.watermark, days.caps) == (7200, b"two")


def test_since_when_a_value_counts_is_told_by_any_of_its_states() -> None:
    days = Days()
    assert days.since(A) == 0
    days.apply(record_key(A, DAY), state(1, since=7200))
    days.apply(record_key(A, DAY + 1), state(1, since=3600))
    assert days.since(A) == 7200


def test_what_a_later_release_wrote_is_refused() -> None:
    days = Days()
    for key, value in (
        (record_key(A, DAY), msgspec.msgpack.encode([3, 1, 1, 1])),
        (A, msgspec.msgpack.encode([3, 1, 1, 1])),
        (b"\x03new", b""),
        (b"\x01new", b""),
    ):
        with pytest.raises(StateError):
            days.apply(key, value)


def all_hours(version: int) -> bytes:
    """State as the first release packed it: hour 0 of the day, and hour 0 of the next, one send each."""
    return msgspec.msgpack.encode([1, version, 1, 0, 9, DAY * 24, 1, 1, 24, 1, 1])


def test_state_of_all_hours_becomes_days_and_is_let_go_with_the_next_write() -> None:
    days = Days()
    days.apply(A, all_hours(5))
    days.apply(A, all_hours(6))
    days.apply(B, all_hours(5))
    days.apply(B, None)
    newer = state(7)
    days.apply(record_key(A, DAY), newer)
    days.settle()
    assert days.get(A, DAY) == newer
    split = days.get(A, DAY + 1)
    assert split is not None
    assert rate.unpack(split, DAY + 1).version == 6
    assert B not in days
    assert days.old([A, B]) == [A]
    assert dict(days.parts(A)) == {record_key(A, DAY): newer, record_key(A, DAY + 1): split}
    days.apply(A, None)
    assert days.old([A]) == []
    days.settle()
    assert days.get(A, DAY) == newer
