from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.counting.dedup import Seen, keys

U64 = np.uint64


def test_a_key_is_63_bits_and_the_tag() -> None:
    prefixes = np.array([0xFFFF_FFFF_FFFF_FFFF, 4], dtype=U64)
    assert keys(prefixes, np.array([False, True])).tolist() == [0xFFFF_FFFF_FFFF_FFFE, 5]


@settings(deadline=None, max_examples=60)
@given(
    batches=st.lists(st.lists(st.integers(0, 40), max_size=12), max_size=12),
    spread=st.booleans(),
    restored=st.booleans(),
)
def test_it_knows_what_was_added_and_nothing_else(
    *, batches: list[list[int]], spread: bool, restored: bool
) -> None:
    scale = 2**58 if spread else 1
    found = [np.array([n // 2 * 2 * scale + n % 2 for n in batch], dtype=U64) for batch in batches]
    seen = Seen()
    if restored:
        seen.restore(iter(found))
    else:
        for batch in found:
            seen.add(batch)
    everything = {int(key) for batch in found for key in batch}
    ids = np.array([n * 2 * scale for n in range(21) if n * 2 * scale < 2**64], dtype=U64)
    untagged, tagged = seen.look(ids)
    assert untagged.tolist() == [int(i) in everything for i in ids]
    assert tagged.tolist() == [int(i) + 1 in everything for i in ids]


def test_a_large_table_answers_like_a_small_one() -> None:
    rng = np.random.default_rng(7)
    stored = rng.integers(0, 2**64, size=1 << 18, dtype=U64)
    seen = Seen()
    for part in np.array_split(stored, 40):
        seen.add(part)
    seen.add(stored[:1000])
    asked = np.concatenate((stored[:5000], rng.integers(0, 2**64, size=5000, dtype=U64))) & ~U64(1)
    untagged, tagged = seen.look(asked)
    known = set(stored.tolist())
    assert untagged.tolist() == [i in known for i in asked.tolist()]
    assert tagged.tolist() == [i + 1 in known for i in asked.tolist()]
    assert seen.nbytes / stored.size < 16
