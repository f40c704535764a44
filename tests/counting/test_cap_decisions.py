"""Who has counters of its own in a dimension beyond its cap, and what is remembered of it."""

from __future__ import annotations

import msgspec
import pytest

from pipelines.counting import rate
from pipelines.counting.caps import LEAST_PERIOD, Capped, Caps, Distinct
from pipelines.counting.days import Days, key_of, record_key
from pipelines.counting.rate import State, StateError
from schemas.counters import OTHER_VALUE

HOUR = 1_760_011_200
LATEST = HOUR + 24 * 3600


class Partition:
    """A dimension in a partition: what is own gets a state, as the step would write it."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.days = Days()
        self.caps = Caps(limit)

    def count(self, *cells: tuple[str, int, int]) -> set[tuple[str, int]]:
        """Decide on (value, hours from ours, volume); what was refused."""
        told = [(value, HOUR + hours * 3600, volume) for value, hours, volume in cells]
        refused, new = self.caps.decide("tag:x", told, self.days, self._has, LATEST)
        for value, hour, _ in told:
            if (value, hour) not in refused:
                self._write(value, hour, new.get(value, self.caps.since("tag:x", value, self.days)))
        self.caps.swap(self.days)
        return {(value, (hour - HOUR) // 3600) for value, hour in refused}

    def _has(self, value: str, hour: int) -> bool:
        packed = self.days.get(key_of("tag:x", value), rate.day_of(hour))
        return packed is not None and hour in rate.unpack(packed, rate.day_of(hour))

    def _write(self, value: str, hour: int, since: int) -> None:
        key, day = key_of("tag:x", value), rate.day_of(hour)
        packed = self.days.get(key, day)
        state = State() if packed is None else rate.unpack(packed, day)
        state.since = max(state.since, since)
        rate.recount(state, hour)
        self.days.apply(record_key(key, day), rate.pack(state))

    def crash(self) -> None:
        """Go on with what is remembered."""
        self.caps = Caps(self.limit, self.caps.pack(self.days))

    def capped(self) -> Capped:
        return self.caps.capped(self.days)["tag:x"]


def test_values_are_admitted_as_they_come_until_there_is_no_room() -> None:
    part = Partition(2)
    assert part.count(("a", 0, 1), ("b", 0, 1), ("a", 1, 1), ("c", 0, 1), ("b", 2, 1)) == {("c", 0)}
    assert part.count(("c", 5, 1), ("a", 5, 1)) == {("c", 5)}
    part.crash()
    assert part.count(("c", 6, 1), ("a", 6, 1)) == {("c", 6)}
    assert part.capped().admitted == 2


def test_without_refusals_there_is_nothing_to_remember() -> None:
    part = Partition(2)
    assert part.count(("a", 0, 1), ("b", 0, 1)) == set()
    assert not part.caps.changed
    assert part.caps.capped(part.days) == {}
    assert not part.caps.is_tight("tag:x", 0, part.days)
    assert part.caps.is_tight("tag:x", 1, part.days)


def test_the_others_themselves_are_never_refused_and_take_no_room() -> None:
    part = Partition(1)
    assert part.count((OTHER_VALUE, 0, 1), ("a", 0, 1), ("b", 0, 1), (OTHER_VALUE, 0, 1)) == {("b", 0)}
    assert part.capped().admitted == 1


def test_an_hour_far_ahead_that_was_refused_of_one_is_nobodys_own_any_more() -> None:
    part = Partition(2)
    assert part.count(("a", 30, 1), ("b", 0, 1)) == set()
    assert part.count(("c", 30, 1)) == {("c", 30)}
    part.crash()
    # What has counters there keeps them; who has none gets none, though it is admitted for all other hours.
    assert part.count(("a", 30, 1), ("b", 30, 1), ("b", 31, 1), (OTHER_VALUE, 30, 1)) == {("b", 30)}
    assert part.count(("b", 1, 1), ("b", 30, 1)) == {("b", 30)}


def test_an_hour_far_ahead_keeps_no_newcomer_out_of_others() -> None:
    part = Partition(2)
    part.count(("a", 0, 1), ("b", 0, 1), ("c", 0, 1), ("c", 40, 1))
    part.days.apply(record_key(key_of("tag:x", "b"), rate.day_of(HOUR)), None)
    assert part.count(("d", 1, 1), ("d", 40, 1)) == {("d", 40)}


def test_a_busier_value_takes_the_place_of_the_idlest_from_the_next_hour_on() -> None:
    part = Partition(2)
    part.count(("a", 0, 1), ("b", 0, 400))
    part.count(("c", 0, LEAST_PERIOD))
    assert part.caps.changed
    part.crash()
    assert part.count(("a", 0, 1), ("a", 1, 1), ("c", 0, 1), ("c", 1, 1), ("b", 1, 1)) == {("a", 1), ("c", 0)}
    part.crash()
    assert part.count(("c", -1, 1), ("c", 2, 1), ("b", -1, 1), ("a", 0, 1)) == {("c", -1)}
    assert part.capped().admitted == 2


def test_a_value_that_is_not_clearly_busier_takes_no_place() -> None:
    part = Partition(2)
    part.count(("a", 0, 600), ("b", 0, 600))
    part.count(("c", 0, 1100))
    assert part.count(("c", 1, 1), ("a", 1, 1)) == {("c", 1)}


def test_a_displaced_value_comes_back_when_it_is_busy_again() -> None:
    part = Partition(2)
    part.count(("a", 0, 1), ("z", 0, 500))
    part.count(("b", 0, LEAST_PERIOD))
    assert part.count(("a", 1, 9 * LEAST_PERIOD), ("b", 1, 1)) == {("a", 1)}
    # `a` is admitted again, but not for the hours in which it was refused.
    assert part.count(("a", 2, 1), ("a", 1, 1), ("a", 0, 1), ("b", 2, 1)) == {("a", 1), ("b", 2)}
    part.crash()
    assert part.count(("a", 2, 1), ("a", 1, 1), ("a", 0, 1), ("a", 3, 1), ("b", 3, 1)) == {("a", 1), ("b", 3)}


def test_hours_of_a_far_future_keep_nobody_out() -> None:
    part = Partition(1)
    part.count(("a", 0, 1), ("b", 24 * 400, 1))
    part.count(("b", 0, LEAST_PERIOD))
    assert part.count(("b", 1, 1)) == set()


def test_refused_values_are_estimated() -> None:
    part = Partition(1)
    part.count(("a", 0, 1), *((f"v{n}", 0, 1) for n in range(200)))
    part.count(*((f"v{n}", 0, 1) for n in range(200)))
    assert part.capped() == Capped(1, 200)
    many = Distinct()
    for n in range(50_000):
        many.add(f"value {n}")
        many.add(f"value {n // 2}")
    assert 40_000 < int(many) < 60_000


def test_what_a_later_release_remembered_is_refused() -> None:
    for packed in (b"", msgspec.msgpack.encode([9, {}]), msgspec.msgpack.encode([1, 2])):
        with pytest.raises(StateError):
            Caps(1, packed)
