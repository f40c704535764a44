"""The value each event, or each recipient of it, has in a dimension: as small integers and the strings they mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from schemas.counters import DIMENSIONS, PAIR_SEPARATOR, TAG_PREFIX

if TYPE_CHECKING:
    from collections.abc import Sequence

Indexes = NDArray[np.int64]

ABSENT: Final = -1
"""No value: not counted in the dimension."""
PROVIDER: Final = "provider"
_PAIRS: Final = {"feedback_ab": ("feedback_a", "feedback_b"), "provider_campaign": (PROVIDER, "campaign")}
_OF_RECIPIENTS: Final = frozenset({PROVIDER, "provider_campaign"})


@dataclass(frozen=True, slots=True)
class Coded:
    """A column of strings as codes."""

    codes: Indexes
    """Of each row; `ABSENT` where the string is empty."""
    values: pl.Series
    """What the codes mean."""


class Values:
    """The values of a frame's events in any dimension; each column is coded once."""

    def __init__(self, frame: pl.DataFrame, providers: pl.Series) -> None:
        self._frame = frame
        self._providers = providers
        """Of all recipients of all events, in order."""
        self._known: dict[str, Coded] = {}

    def of(self, dimension: str, rows: Indexes, recipients: Indexes) -> tuple[Indexes, pl.Series]:
        """The codes of some pairs of an event (row) and a recipient (`ABSENT`: it has none), and what they mean."""
        if dimension in _PAIRS:
            left, right = (self._of_one(name, rows, recipients) for name in _PAIRS[dimension])
            return _pair(left, right)
        found = self._of_one(dimension, rows, recipients)
        return found.codes, found.values

    def _of_one(self, name: str, rows: Indexes, recipients: Indexes) -> Coded:
        coded = self._known.get(name)
        if coded is None:
            coded = self._known[name] = self._coded(name)
        if name != PROVIDER:
            return Coded(coded.codes[rows], coded.values)
        codes = np.append(coded.codes, ABSENT)
        return Coded(codes[recipients], coded.values)

    def _coded(self, name: str) -> Coded:
        if name == PROVIDER:
            return code(self._providers)
        if name.startswith(TAG_PREFIX):
            return _first_tag(self._frame["tags"], name.removeprefix(TAG_PREFIX))
        return code(self._frame[name])


def columns_of(dimensions: Sequence[str]) -> list[str]:
    """The columns of `SesEvent` that dimensions are made of, the recipients aside."""
    wanted: dict[str, None] = {}
    for dimension in dimensions:
        if dimension.startswith(TAG_PREFIX):
            wanted["tags"] = None
        for name in _PAIRS.get(dimension, (dimension,)):
            if name in DIMENSIONS and name != PROVIDER:
                wanted[name] = None
    return list(wanted)


def code(strings: pl.Series) -> Coded:
    """Number the different strings."""
    if strings.is_empty():
        return Coded(np.empty(0, dtype=np.int64), strings)
    # Categories of its own: those that polars shares would grow with every value there ever was.
    kind = pl.Categorical(pl.Categories.random())
    codes = strings.cast(kind).to_physical().to_numpy().astype(np.int64)
    example = np.zeros(int(codes.max()) + 1, dtype=np.int64)
    example[codes] = np.arange(codes.size)
    values = strings[example]
    for empty in np.flatnonzero((values == "").to_numpy()):
        codes[codes == empty] = ABSENT
    return Coded(codes, values)


def _first_tag(tags: pl.Series, name: str) -> Coded:
    """The first value of the first tag of that name."""
    lengths = tags.list.len().to_numpy().astype(np.int64)
    rows = np.repeat(np.arange(lengths.size), lengths)
    codes = np.full(lengths.size, ABSENT, dtype=np.int64)
    flat = tags.filter(pl.Series(lengths > 0)).explode()
    if flat.is_empty():
        return Coded(codes, pl.Series([], dtype=pl.String))
    named = (flat.struct.field("name") == name).to_numpy()
    found = code(flat.filter(pl.Series(named)).struct.field("values").list.first().fill_null(""))
    # The last assignment would win, so backwards.
    codes[rows[named][::-1]] = found.codes[::-1]
    return Coded(codes, found.values)


def _pair(left: Coded, right: Coded) -> tuple[Indexes, pl.Series]:
    """Two columns as one; absent where either is."""
    width = max(len(right.values), 1)
    whole = (left.codes >= 0) & (right.codes >= 0)
    both = np.where(whole, left.codes * width + right.codes, ABSENT)
    kinds = len(left.values) * width
    if kinds <= max(1 << 12, 2 * both.size):
        present = np.zeros(kinds + 1, dtype=np.bool_)
        present[both] = True
        present[ABSENT] = False
        pairs = np.flatnonzero(present)
        numbers = np.cumsum(present) - 1
        numbers[ABSENT] = ABSENT
        codes = numbers[both]
    else:
        pairs, codes = np.unique(both, return_inverse=True)
        if pairs.size and pairs[0] == ABSENT:
            pairs, codes = pairs[1:], codes - 1
    joined = pl.select(
        pl.concat_str(left.values[pairs // width], pl.lit(PAIR_SEPARATOR), right.values[pairs % width])
    ).to_series()
    return codes, joined
