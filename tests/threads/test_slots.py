"""Hashes of ids: those that are alike in part must not crowd in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from pipelines.threads.slots import Slots, mixed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipelines.threads.slots import Numbers

NUMBER = 4000


@pytest.mark.parametrize("word", range(7))
@pytest.mark.parametrize("step", [1, 1 << 8, 1 << 24])
def test_ids_that_differ_in_one_word_spread(word: int, step: int) -> None:
    ids = np.full((NUMBER, 7), 0x5E5E_0102, dtype=np.uint32)
    ids[:, word] = (np.arange(NUMBER, dtype=np.uint64) * step).astype(np.uint32)
    different = len(np.unique(ids, axis=0))
    hashes = mixed(ids)
    assert len(np.unique(hashes)) == different
    homes = Slots(0.5)
    rows = np.unique(ids, axis=0, return_index=True)[1].astype(np.int64)
    homes.add(hashes[rows], rows, lambda at: hashes[at])
    looked: list[int] = []

    def same(asked: Numbers, numbers: Numbers) -> NDArray[np.bool_]:
        looked.append(asked.size)
        matches: NDArray[np.bool_] = rows[asked] == numbers
        return matches

    asked, found = homes.find(hashes[rows], same, every=False)
    assert sorted(rows[asked].tolist()) == sorted(found.tolist()) == sorted(rows.tolist())
    assert sum(looked) < 4 * different, "more than a few probes for each"
