"""Indexes that are filled at once: they find what those find that were filled block by block."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.threads import names, sent
from pipelines.threads.join import Threads, join_sent
from pipelines.threads.slots import Slots
from pipelines.threads.stored import Filling
from schemas.blocks import encode, open_block

# The model of the worker serves here too: a test folder is no package.
sys.path.insert(0, str(Path(__file__).parents[1] / "worker"))
from thread_model import stored_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipelines.threads.slots import Numbers

Row = dict[str, Any]
DAY_MS = 86_400_000
TODAY = 20_400
CLOCK = TODAY * 24 + 13
REGULAR = "0102019a0c7b3f2e-5e1f4a3c-9d2b-4e8f-a1c6-{:012x}-000000"


def row(number: int, *, regular: bool = True, **more: Any) -> Row:
    ses = REGULAR.format(number) if regular else f"m{number}"
    return {"message_id": ses, "sent_time": (TODAY - 3) * DAY_MS + number, "tenant": "a"} | more


def filled(*pieces: tuple[int, list[Row]], apart: bool = False) -> dict[int, Threads]:
    """Partitions, of pieces: rows and the day in which they were stored."""
    states = {0: Threads(apart), 1: Threads(apart)}
    filling = Filling(lambda number: states[number], lambda tenant: int(tenant == "b"), CLOCK)
    for stored, rows in pieces:
        filling.add(stored_of(rows, stored))
    filling.done()
    return states


@given(
    values=st.lists(st.integers(0, 40), max_size=200),
    crowded=st.booleans(),
    probes=st.sampled_from([None, 4, 128]),
)
def test_rows_are_found_where_slots_were_filled_at_once(
    *, values: list[int], crowded: bool, probes: int | None
) -> None:
    hashes = np.array(values, dtype=np.uint64)
    if not crowded:
        hashes *= np.uint64(0x9E37_79B9_7F4A_7C15)
    one, several = Slots(0.5, probes), Slots(0.5, probes)
    one.fill(hashes)
    several.add(hashes, np.arange(hashes.size), lambda at: hashes[at])
    more = np.array([7, 1 << 60], dtype=np.uint64)
    every = np.concatenate((hashes, more))
    one.add(more, np.arange(hashes.size, every.size), lambda at: every[at])
    for slots, known in ((one, every), (several, hashes)):
        asked, found = slots.find(np.unique(known), same(np.unique(known), known), every=True)
        assert (np.unique(known)[asked] == known[found]).all()
        for value in np.unique(known).tolist():
            rows = set(found[np.unique(known)[asked] == value].tolist())
            wanted = set(np.flatnonzero(known == value).tolist())
            assert rows == wanted or (probes is not None and rows < wanted and len(rows) <= probes)
            # With room for all that are alike none is left out.
            assert rows == wanted or len(wanted) + len(known) > (probes or 0)


def same(wanted: NDArray[np.uint64], known: NDArray[np.uint64]) -> Any:
    def matches(asked: Numbers, rows: Numbers) -> NDArray[np.bool_]:
        equal: NDArray[np.bool_] = wanted[asked] == known[rows]
        return equal

    return matches


def test_a_table_that_was_filled_at_once_goes_round_its_end() -> None:
    # All have one of the last homes: most go on at the start.
    last = np.uint64(0xFFFF_FFFF << 32)
    inverse = np.uint64(pow(0x9E37_79B9_7F4A_7C15, -1, 1 << 64))
    hashes = (last + np.arange(100, dtype=np.uint64)) * inverse
    slots = Slots(0.8)
    slots.fill(hashes)
    asked, found = slots.find(hashes, same(hashes, hashes), every=False)
    assert sorted(zip(asked.tolist(), found.tolist(), strict=True)) == [(n, n) for n in range(100)]


@pytest.mark.parametrize("apart", [False, True])
def test_what_is_filled_at_once_is_what_blocks_would_have_made(*, apart: bool) -> None:
    rows = [
        row(
            number,
            regular=number % 3 > 0,
            tenant="ab"[number % 2],
            campaign=f"c{number % 5}",
            base_subject=f"s{number % 4}",
            header_message_id=("", "x@us.example", f"{number}@us.example", "y@eu.amazonses.com")[
                number // 2 % 4
            ],
            recipients=list(range(number % 4 * 100)),
        )
        for number in range(60)
    ]
    states = filled((TODAY - 2, rows[:25]), (TODAY - 2, rows[20:]), apart=apart)
    expected = {0: Threads(apart), 1: Threads(apart)}
    for number, state in expected.items():
        mine = [each for each in rows if (each["tenant"] == "b") == bool(number)]
        join_sent(state, [(0, sent.read(open_block(encode(sent.RECORD, mine))))], CLOCK)
    for number, state in expected.items():
        index, other = state.index, states[number].index
        packed = [names.pack(each["message_id"]) for each in rows]
        assert other.find(packed) == index.find(packed)
        assert len(other) == len(index) == 30
        nodes = [names.node("ab"[number] if apart else "", name) for name in ("id:x@us.example", "ses:y")]
        found = [sorted(each.find_headers(nodes), key=repr) for each in (index, other)]
        assert found[0] == found[1]
        assert found[0]
        assert state.hour == states[number].hour


def test_of_copies_that_which_says_most_stays_and_the_latest_of_those() -> None:
    full = {"base_subject": "spring", "header_message_id": "1@us.example"}
    plain = [row(1), row(2, base_subject="spring"), row(3), row(4, **full), row(5)]
    states = filled(
        (TODAY - 1, plain),
        (TODAY - 2, [row(1, **full), row(2), row(3, base_subject="spring")]),
        (TODAY, [row(4), row(5)]),
        (TODAY - 9, [row(6)]),
        (TODAY - 9, [row(7, sent_time=(TODAY + 9) * DAY_MS)]),
    )
    index = states[0].index
    assert {
        names.unpack(bucket.sent(at).packed)[-8]: (day, bucket.sent(at).subject == names.subject_of("spring"))
        for (day, _), bucket in index.buckets.items()
        for at in range(len(bucket))
    } == {
        "1": (TODAY - 2, True),
        "2": (TODAY - 1, True),
        "3": (TODAY - 2, True),
        "4": (TODAY - 1, True),
        "5": (TODAY, False),
        "6": (TODAY - 3, False),
        "7": (TODAY, False),
    }
    assert len(index) == 7
