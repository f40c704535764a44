"""Blocks of `CountDelta`: what is written is read, whichever release wrote it."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.counting import deltas
from schemas.avro import newest, released
from schemas.blocks import BlockBuilder, MalformedBlock, decode, encode, open_block
from schemas.counters import COUNTERS

HOUR = 1_760_011_200


def row(**facts: Any) -> dict[str, Any]:
    return {
        "source_partition": 1,
        "source_offset": 7,
        "dimension": "campaign",
        "value": "c",
        "hour": HOUR,
        **dict.fromkeys(COUNTERS, 0),
        "closed": False,
        "hit_time": 0,
    } | facts


rows = st.builds(
    row,
    source_partition=st.integers(0, 3),
    source_offset=st.integers(0, 2**40),
    value=st.text(max_size=4),
    hour=st.integers(-3, 600_000).map(lambda number: number * 3600),
    sends=st.integers(0, 2**40),
    blocks=st.integers(0, 70),
    closed=st.booleans(),
    hit_time=st.just(0) | st.integers(0, 2**45),
)


@given(st.lists(rows, min_size=1, max_size=8))
def test_what_is_written_is_read_and_as_fastavro_writes_it(some: list[dict[str, Any]]) -> None:
    frame = pl.DataFrame(some)
    ((_, data),) = deltas.encode(frame, 1)
    assert data == encode("count_delta", some)
    assert deltas.read([open_block(data)]).drop("record").select(frame.columns).rows() == frame.rows()


def test_a_frame_and_a_block_without_closed_hours_and_times_have_none() -> None:
    ((_, data),) = deltas.encode(pl.DataFrame([row()]).drop("closed", "hit_time"), 1)
    assert decode(data) == [row()]
    old = BlockBuilder(released("count_delta")[0])
    old.add(row(value="old"))
    new = BlockBuilder(newest("count_delta"))
    new.add(row(value="new", closed=True, hit_time=7))
    blocks = [open_block(data) for data in (new.take(), old.take(), data)]
    found = deltas.read(blocks)
    assert found.select("record", "value", "closed", "hit_time").rows() == [
        (0, "new", True, 7),
        (1, "old", False, 0),
        (2, "c", False, 0),
    ]


def test_closed_hours_are_told_apart_in_a_delta() -> None:
    some = [row(sends=1), row(hour=HOUR + 3600, sends=2, closed=True)]
    (delta,) = deltas.decode([open_block(encode("count_delta", some))])
    assert [(hour, counters[0]) for hour, counters in delta.rows] == [(HOUR, 1), (HOUR + 3600, 2)]
    assert delta.closed == {HOUR + 3600}


def test_another_record_is_refused() -> None:
    with pytest.raises(MalformedBlock, match="rate_row"):
        deltas.read(
            [open_block(encode("rate_row", [{"dimension": "a", "value": "b", "hour": 0, "version": 1}]))]
        )
