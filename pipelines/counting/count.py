"""From blocks of `SesEvent` to deltas of counters: one columnar pass over many blocks.

An event adds to the hour in which its message was sent, in every dimension that has a value for it. In an open hour
it adds once, however often it comes; in a closed hour (see `hours`) every copy makes deltas, which only say that the
hour is to be recounted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from pipelines.counting import reported
from pipelines.counting.dedup import TAGGED, Keys, Mask, keys
from pipelines.counting.dimensions import Indexes, Values
from pipelines.counting.hours import HOUR_MS, NEVER, Hours, Opening, advance, bucket_of
from pipelines.counting.increments import Increments, Recipients, increments
from pipelines.counting.reading import ID, Source, read
from schemas.counters import COUNTERS, DIMENSIONS, HITS
from schemas.events import UNTAGGED_DIMENSIONS

if TYPE_CHECKING:
    from numpy.typing import NDArray

HOUR_S: Final = 3600
WIDTH: Final = len(COUNTERS)
_IS_HIT: Final = np.isin(COUNTERS, HITS)
_DENSE_HOURS: Final = 1 << 12
"""Span of hours in a batch up to which an hour's number is its distance from the first."""

Look = Callable[[int, int, Keys], tuple[Mask, Mask]]
"""Of a source partition, a bucket of cohort hours and (even) ids.

Which were seen untagged, and which tagged (see `dedup.Seen.look`).
"""


@dataclass(frozen=True, slots=True)
class Fresh:
    """Keys of events that were counted, to be remembered once their deltas are safe."""

    partition: int
    bucket: int
    """Of the events' cohort hours (see `hours.bucket_of`)."""
    keys: Keys


@dataclass(frozen=True, slots=True)
class Counted:
    """What a batch of blocks adds."""

    deltas: pl.DataFrame
    """Columns of `CountDelta`, and `source`: the index of the block in the batch.

    Rows of one source, dimension and value are together, sources in order; none adds nothing.
    """
    fresh: list[Fresh]
    """One for each partition and bucket that has new keys, marks of what is reported among them."""
    watermarks: dict[int, int]
    """By source partition, after the batch."""
    events: int
    """Rows read."""
    duplicates: int
    """Rows that added nothing because they had been counted, or because they are reports of what SES said itself."""
    closed: int
    """Rows of closed hours."""


@dataclass(frozen=True, slots=True)
class _Read:
    """The rows of a batch as arrays."""

    frame: pl.DataFrame
    recipients: Recipients
    owner: Indexes
    """Index of each row's block."""
    hours: Hours
    """Cohort hour of each row."""
    marks: Hours
    """The watermark each block is judged by."""
    open: Mask
    """Whether each row's hour is."""


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Which rows count."""

    common: Mask
    """For the dimensions that need no tags."""
    rest: Mask
    """For the others."""
    fresh: list[Fresh]
    recounted: Indexes
    """Rows of open hours that only have their key-hours recounted."""


def count(
    sources: Sequence[Source],
    look: Look,
    opening: Opening,
    watermarks: Mapping[int, int],
    dimensions: tuple[str, ...] = DIMENSIONS,
) -> Counted:
    """Count the events of blocks, given in offset order per partition, that were not seen before.

    Raises:
        MalformedBlock: when a block's rows do not decode; the caller finds out which with `reading.check`.
    """
    frame = read(sources, dimensions)
    heights = np.array([source.block.count for source in sources], dtype=np.int64)
    marks, after = _watermarks(frame, heights, sources, opening, watermarks)
    owner = np.repeat(np.arange(len(sources)), heights)
    hours = np.floor_divide(frame["sent_time"].to_numpy(), HOUR_MS)
    batch = _Read(
        frame, Recipients(frame["recipients"]), owner, hours, marks, opening.is_open(hours, marks[owner])
    )
    partitions = np.array([source.partition for source in sources], dtype=np.int64)[owner]
    chosen = _settle(batch, partitions, _choose(batch, partitions, look), look, dimensions)
    counted = chosen.common | chosen.rest
    return Counted(
        _deltas(batch, chosen, sources, opening, dimensions),
        chosen.fresh,
        after,
        frame.height,
        int(frame.height - counted.sum()),
        int(frame.height - batch.open.sum()),
    )


def _watermarks(
    frame: pl.DataFrame,
    heights: Indexes,
    sources: Sequence[Source],
    opening: Opening,
    known: Mapping[int, int],
) -> tuple[Hours, dict[int, int]]:
    """The watermark each block is judged by, and the last one of each partition."""
    latest = np.full(len(sources), NEVER, dtype=np.int64)
    filled = np.flatnonzero(heights)
    if filled.size:
        starts = (np.cumsum(heights) - heights)[filled]
        latest[filled] = np.maximum.reduceat(frame["event_time"].to_numpy(), starts) // HOUR_MS
    return advance([source.partition for source in sources], latest.tolist(), known, opening)


def _choose(batch: _Read, partitions: Indexes, look: Look) -> _Chosen:
    """Which rows count: in closed hours all, in open hours those of events not seen before.

    The first row of an event counts for the dimensions that need no tags, its first tagged row for the others; once
    tagged, an event has said everything. `partitions` are those of the rows.
    """
    found = keys(batch.frame[ID].to_numpy().view(np.uint64), batch.frame["tagged"].to_numpy())
    tagged = (found & TAGGED).astype(np.bool_)
    common, rest = ~batch.open, ~batch.open & tagged
    rows = np.flatnonzero(batch.open)
    if not rows.size:
        return _Chosen(common, rest, [], rows)
    first, first_tagged = _firsts(found[rows] & ~TAGGED, tagged[rows])
    asked = first | first_tagged
    rows, first, first_tagged = rows[asked], first[asked], first_tagged[asked]
    order, groups = _groups(partitions[rows], bucket_of(batch.hours[rows]))
    rows, first, first_tagged = rows[order], first[order], first_tagged[order]
    keyed = found[rows]
    fresh = []
    for partition, bucket, part in groups:
        before, before_tagged = look(partition, bucket, keyed[part] & ~TAGGED)
        first[part] &= ~(before | before_tagged)
        first_tagged[part] &= ~before_tagged
        new = keyed[part][first[part] | first_tagged[part]]
        if new.size:
            fresh.append(Fresh(partition, bucket, new))
    common[rows], rest[rows] = first, first_tagged
    return _Chosen(common, rest, fresh, rows[:0])


def _settle(
    batch: _Read, partitions: Indexes, chosen: _Chosen, look: Look, dimensions: tuple[str, ...]
) -> _Chosen:
    """Go through bounces and complaints that count: a report of what SES said adds nothing."""
    rows = reported.concerned(batch.frame, (chosen.common | chosen.rest) & batch.open)
    if not rows.size:
        return chosen
    found = reported.things(batch.frame, batch.recipients, rows, batch.hours, dimensions)
    if not found.rows.size:
        return chosen
    order, groups = _groups(partitions[found.rows], bucket_of(batch.hours[found.rows]))
    fresh = {(each.partition, each.bucket): each for each in chosen.fresh}
    recounted: list[int] = []
    for partition, bucket, part in groups:
        done = reported.settle(
            batch.frame, found.of(order[part]), chosen.common, partial(look, partition, bucket)
        )
        chosen.common[done.repeats_common] = False
        chosen.rest[done.repeats_rest] = False
        recounted += done.recounted
        # In one record with the ids of the events: never is one remembered without the other.
        ids = fresh[partition, bucket].keys
        marks = np.array(done.marks, dtype=np.uint64)
        fresh[partition, bucket] = Fresh(partition, bucket, np.concatenate((ids, marks)))
    return _Chosen(chosen.common, chosen.rest, list(fresh.values()), np.array(recounted, dtype=np.int64))


def _firsts(ids: Keys, tagged: Mask) -> tuple[Mask, Mask]:
    """Which rows are the first of their id, and which the first tagged one."""
    inorder = np.sort(ids)
    if not (inorder[1:] == inorder[:-1]).any():
        return np.ones(ids.size, dtype=np.bool_), tagged
    first = np.zeros(ids.size, dtype=np.bool_)
    first[np.unique(ids, return_index=True)[1]] = True
    rows = np.flatnonzero(tagged)
    first_tagged = np.zeros(ids.size, dtype=np.bool_)
    first_tagged[rows[np.unique(ids[rows], return_index=True)[1]]] = True
    return first, first_tagged


def _groups(partitions: Indexes, buckets: Hours) -> tuple[Indexes, list[tuple[int, int, slice]]]:
    """An order in which rows of one partition and bucket are together, and where each such group is."""
    # Open hours are few, so the pair fits a small integer, which numpy sorts by radix.
    lowest = int(buckets.min())
    width = int(buckets.max()) - lowest + 1
    pair = partitions * width + (buckets - lowest)
    small = pair.astype(np.uint16) if int(pair.max()) < 1 << 16 else pair
    order = np.argsort(small, kind="stable")
    inorder = pair[order]
    starts = np.flatnonzero(np.append(True, inorder[1:] != inorder[:-1]))
    ends = np.append(starts[1:], inorder.size)
    return order, [
        (int(inorder[start]) // width, int(inorder[start]) % width + lowest, slice(int(start), int(end)))
        for start, end in zip(starts, ends, strict=True)
    ]


def _deltas(
    batch: _Read,
    chosen: _Chosen,
    sources: Sequence[Source],
    opening: Opening,
    dimensions: tuple[str, ...],
) -> pl.DataFrame:
    """Sum what the chosen rows add, by block, dimension, value and hour."""
    recipients = batch.recipients
    added = increments(batch.frame, recipients, chosen.common | chosen.rest)
    hour_codes, hours = _code_hours(batch.hours)
    values = Values(batch.frame, recipients.providers)
    wanted, meanings = _wanted(added, chosen, values, dimensions)
    known = pl.concat(meanings) if meanings else pl.Series([], dtype=pl.String)
    offsets = np.cumsum([0, *map(len, meanings)])
    # One sort of one integer for each increment: block, value (of all dimensions), hour, counter.
    hour_bits, value_bits = int(hours.size).bit_length(), len(known).bit_length()
    base = (
        (batch.owner[added.rows] << (value_bits + hour_bits + 4))
        + (hour_codes[added.rows] << 4)
        + added.counters
    )
    parts = [
        base[rows] + ((codes + offset) << (hour_bits + 4))
        for (rows, codes), offset in zip(wanted, offsets, strict=False)
    ]
    everything = np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
    hits = np.flatnonzero(_IS_HIT[everything & 15]) if _IS_HIT[added.counters].any() else everything[:0]
    recounted, cells_of_hits, times = chosen.recounted, hits, hits
    if chosen.recounted.size or hits.size:
        owners = np.concatenate([added.rows[rows] for rows, _ in wanted])
        recounted = everything[np.isin(owners, chosen.recounted)] >> 4
        cells_of_hits = everything[hits] >> 4
        times = batch.frame["event_time"].to_numpy()[owners[hits]]
    packed, amounts = _runs(everything)
    cells, at = _heads(packed >> 4)
    hit_time = np.zeros(cells.size, dtype=np.int64)
    np.maximum.at(hit_time, cells.searchsorted(cells_of_hits), times)
    matrix = np.zeros((cells.size, WIDTH), dtype=np.int64)
    matrix[at, packed & 15] = amounts
    hour = hours[cells & ((1 << hour_bits) - 1)]
    value = (cells >> hour_bits) & ((1 << value_bits) - 1)
    source = cells >> (value_bits + hour_bits)
    names = pl.Series(dimensions, dtype=pl.String)
    places = np.array([(one.partition, one.offset) for one in sources], dtype=np.int64).reshape(-1, 2)
    return pl.DataFrame(
        {
            "source": source,
            "source_partition": places[source, 0].astype(np.int32),
            "source_offset": places[source, 1],
            "dimension": names[np.searchsorted(offsets, value, side="right") - 1],
            "value": known[value],
            "hour": hour * HOUR_S,
            **{name: matrix[:, index] for index, name in enumerate(COUNTERS)},
            "closed": ~opening.is_open(hour, batch.marks[source]) | np.isin(cells, recounted),
            "hit_time": hit_time,
        }
    )


def _wanted(
    added: Increments, chosen: _Chosen, values: Values, dimensions: tuple[str, ...]
) -> tuple[list[tuple[Indexes, Indexes]], list[pl.Series]]:
    """By dimension: which increments count in it with which code, and what its codes mean."""
    for_common = np.flatnonzero(chosen.common[added.rows])
    for_rest = np.flatnonzero(chosen.rest[added.rows])
    wanted, meanings = [], []
    for dimension in dimensions:
        which = for_common if dimension in UNTAGGED_DIMENSIONS else for_rest
        codes, meaning = values.of(dimension, added.rows[which], added.recipients[which])
        present = codes >= 0
        if not present.all():
            which, codes = which[present], codes[present]
        wanted.append((which, codes))
        meanings.append(meaning)
    return wanted, meanings


def _code_hours(hours: Hours) -> tuple[Indexes, Hours]:
    """Hours as small integers, and what they mean."""
    if not hours.size:
        return hours, hours
    low, high = int(hours.min()), int(hours.max())
    if high - low < _DENSE_HOURS:
        return hours - low, np.arange(low, high + 1)
    meaning, codes = np.unique(hours, return_inverse=True)
    return codes, meaning


def _runs(packed: Indexes) -> tuple[Indexes, Indexes]:
    """Different integers in order, and how often each occurs."""
    packed.sort()
    starts = np.flatnonzero(np.append(True, packed[1:] != packed[:-1])) if packed.size else packed
    return packed[starts], np.diff(starts, append=packed.size)


def _heads(inorder: Indexes) -> tuple[Indexes, NDArray[np.int64]]:
    """Different integers of an ordered array, and which of them each of its entries is."""
    if not inorder.size:
        return inorder, inorder
    heads = np.append(True, inorder[1:] != inorder[:-1])
    return inorder[heads], np.cumsum(heads) - 1
