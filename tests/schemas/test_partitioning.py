"""Partitions are pinned: data of yesterday must be found where today looks."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from schemas.partitioning import of_key, of_message

SES_ID = "0100018c2f6e4a5b-1d2e3f40-5a6b-7c8d-9e0f-{:012x}-000000"


def test_the_values_are_pinned() -> None:
    assert of_message("", 12) == 0
    assert of_message("0102018f-abc-000000", 12) == 7
    assert of_message("ü\ud800", 12) == 10
    assert of_key("campaign", "welcome", 12) == 9
    assert of_key("feedback_ab", "a:b", 12) == 9


def test_dimension_and_value_do_not_run_together() -> None:
    pairs = [("ab", "c"), ("a", "bc"), ("abc", "")]
    assert len({of_key(dimension, value, 2**31) for dimension, value in pairs}) == 3


@given(st.text(), st.integers(1, 512))
def test_every_id_has_a_partition(message_id: str, partitions: int) -> None:
    assert 0 <= of_message(message_id, partitions) < partitions


def test_ses_ids_spread_evenly() -> None:
    counts = Counter(of_message(SES_ID.format(number), 12) for number in range(12_000))
    assert len(counts) == 12
    assert max(counts.values()) < 1.2 * min(counts.values())
