"""The rate agent's step: from what is remembered and a batch of deltas and answers to all that is to be done about it.

An hour is retained while it is less than `retention_days` behind the watermark: the greatest cohort hour seen in the
partition, never ahead of the clock. Only retained hours have state; what belongs to an older one is recounted, and the
answer is passed on.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from pipelines.counting import rate
from pipelines.counting.days import CAPS, NEVER, WATERMARK, Days, Record, key_of, record_key
from pipelines.counting.fold import Answer, Folded, Key, Told, fold
from schemas.counters import COUNTERS, OTHER_VALUE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.counting.answers import KeyHour
    from pipelines.counting.caps import Caps

EXPIRED_AT_ONCE: Final = 2000
"""States of days that are over go by so many in a step, so that no step is held up."""
AHEAD_S: Final = 24 * rate.HOUR_S
"""Hours of a future further away move no horizon: they would keep values out for as long."""
_FORWARDED: Final = 16
"""What a partition forwards has a source partition of its own: its number plus 1, shifted by so many bits, plus the
number of the source partition. So growing the topics lets no two collide."""
_HOUR: Final = ["partition", "dimension", "value", "hour"]


@dataclass(frozen=True, slots=True)
class Policy:
    """What the settings say."""

    retention_days: int
    cap: int
    """Values of a dimension in a partition that have counters of their own."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What came."""

    deltas: pl.DataFrame
    """Rows of `deltas.read`, and their `partition` of `ses.counts`."""
    answers: pl.DataFrame
    """Rows of `answers.read`, and their `partition`."""
    now_us: int
    floor: int
    """Versions are to be greater."""


@dataclass(slots=True)
class Outcome:
    """What is to be done, in this order."""

    watermarks: list[Record] = field(default_factory=list)
    """To be safe before anything is decided by them for good."""
    states: list[Record] = field(default_factory=list)
    caps: list[Record] = field(default_factory=list)
    """After the states of newly admitted values, before what is forwarded."""
    moved: list[Record] = field(default_factory=list)
    requests: set[KeyHour] = field(default_factory=set)
    forwards: pl.DataFrame | None = None
    """Deltas that count to `(other)`."""
    rows: list[rate.KeyHour] = field(default_factory=list)


class Rating:
    """One batch; see above."""

    def __init__(
        self, memory: Mapping[int, Days], caps: Mapping[int, Caps], policy: Policy, batch: Batch
    ) -> None:
        self._memory = memory
        self._caps = caps
        self._policy = policy
        self._batch = batch
        self._loaded: dict[Key, rate.State] = {}
        self._packed: dict[Key, bytes | None] = {}
        self._new: dict[tuple[int, str, str], int] = {}
        self._outcome = Outcome()

    def outcome(self) -> Outcome:
        """What the batch comes to; nothing remembered is changed but the decisions of the caps."""
        first = self._firsts()
        deltas = _split(self._batch.deltas, first)
        answers = _split(self._batch.answers, first)
        out = self._outcome
        out.requests.update(deltas[False].select(_HOUR[1:]).unique().iter_rows())
        own = self._own(deltas[True])
        folded = fold(own, _told(answers[True]), self._load)
        out.requests |= folded.requests
        self._finish(folded)
        self._pass_on(answers[False])
        for partition, caps in self._caps.items():
            if caps.changed:
                out.caps.append((partition, CAPS, caps.pack(self._memory[partition])))
        return out

    def _firsts(self) -> dict[int, int]:
        """Advance the watermarks; the first retained hour of each partition."""
        clock = self._batch.now_us // 1_000_000
        past = self._batch.deltas.filter(pl.col("hour") <= clock)
        latest = dict(past.group_by("partition").agg(pl.col("hour").max()).iter_rows())
        first = {}
        for partition, days in self._memory.items():
            mark = max(days.watermark, latest.get(partition, NEVER))
            if mark > days.watermark:
                self._outcome.watermarks.append((partition, WATERMARK, str(mark).encode()))
            first[partition] = first_retained(mark, self._policy)
        return first

    def _load(self, partition: int, dimension: str, value: str, day: int) -> rate.State:
        key = (partition, dimension, value, day)
        state = self._loaded.get(key)
        if state is None:
            packed = self._packed[key] = self._memory[partition].get(key_of(dimension, value), day)
            state = self._loaded[key] = rate.unpack(packed, day) if packed is not None else rate.State()
        return state

    def _own(self, deltas: pl.DataFrame) -> pl.DataFrame:
        """What does not count to `(other)`; the rest becomes forwards."""
        refused: list[tuple[int, str, str, int]] = []
        sizes = deltas.group_by("partition", "dimension").agg(pl.col("value").n_unique())
        for partition, dimension, values in sizes.iter_rows():
            if self._caps[partition].is_tight(dimension, values, self._memory[partition]):
                refused += self._decide(deltas, partition, dimension)
        if not refused:
            return deltas
        chosen = pl.DataFrame(refused, schema={n: deltas.schema[n] for n in _HOUR}, orient="row")
        self._outcome.forwards = _forwards(deltas.join(chosen, on=_HOUR, how="semi", maintain_order="left"))
        return deltas.join(chosen, on=_HOUR, how="anti", maintain_order="left")

    def _decide(
        self, deltas: pl.DataFrame, partition: int, dimension: str
    ) -> list[tuple[int, str, str, int]]:
        cells = (
            deltas.filter((pl.col("partition") == partition) & (pl.col("dimension") == dimension))
            .group_by("value", "hour", maintain_order=True)
            .agg(volume=pl.sum_horizontal(COUNTERS).sum())
        )
        refused, new = self._caps[partition].decide(
            dimension,
            list(cells.iter_rows()),
            self._memory[partition],
            lambda value, hour: hour in self._load(partition, dimension, value, rate.day_of(hour)),
            self._batch.now_us // 1_000_000 + AHEAD_S,
        )
        self._new |= {(partition, dimension, value): since for value, since in new.items()}
        return [(partition, dimension, value, hour) for value, hour in refused]

    def _finish(self, folded: Folded) -> None:
        """Rows of what changed, and the states."""
        out = self._outcome
        written: dict[int, list[bytes]] = defaultdict(list)
        for (partition, dimension, value, day), found in folded.touched.items():
            state, days = found.state, self._memory[partition]
            if found.dirty:
                version = rate.next_version(state, self._batch.now_us, max(self._batch.floor, found.floor))
                for hour in sorted(found.dirty):
                    if (counters := state.counters(hour)) is not None:
                        out.rows.append(rate.KeyHour(dimension, value, hour, version, counters))
            since = self._new.get((partition, dimension, value))
            since = since if since is not None else self._caps[partition].since(dimension, value, days)
            state.since = max(state.since, since)
            packed = rate.pack(state)
            if packed != self._packed[partition, dimension, value, day]:
                key = key_of(dimension, value)
                out.states.append((partition, record_key(key, day), packed))
                written[partition].append(key)
        for partition, keys in written.items():
            parts, gone = move(partition, self._memory[partition], keys)
            out.states[:0] = parts
            out.moved += gone

    def _pass_on(self, answers: pl.DataFrame) -> None:
        """Rows of hours that are not retained: the answers are all there is to say of them."""
        best: dict[KeyHour, rate.KeyHour] = {}
        for answer in _answers(answers):
            key = (answer.dimension, answer.value, answer.hour)
            version = max(answer.as_of, answer.stored + 1)
            if key not in best or version >= best[key].version:
                best[key] = rate.KeyHour(*key, version, answer.counters)
        self._outcome.rows += best.values()


def first_retained(watermark: int, policy: Policy) -> int:
    """The first hour (seconds) that there is state of."""
    return watermark - policy.retention_days * rate.DAY_S


def expired(partition: int, days: Days, policy: Policy) -> tuple[list[Record], list[Record]]:
    """Records that let states of days that are over go, once the watermark is safe: the first, and then the others."""
    over = list(islice(days.expired(first_retained(days.watermark, policy)), EXPIRED_AT_ONCE))
    parts, gone = move(partition, days, {key for _, key in over}) if over else ([], [])
    return parts, [*gone, *((partition, record_key(key, day), None) for day, key in over)]


def move(partition: int, days: Days, keys: set[bytes] | list[bytes]) -> tuple[list[Record], list[Record]]:
    """Records that let states of all hours of values go, for states of days: the first, and then the others."""
    old = days.old(keys)
    parts: list[Record] = [(partition, name, value) for key in old for name, value in days.parts(key)]
    return parts, [(partition, key, None) for key in old]


def _split(frame: pl.DataFrame, first: Mapping[int, int]) -> dict[bool, pl.DataFrame]:
    """Rows of retained hours (True) and the others."""
    firsts = np.array([first[partition] for partition in frame["partition"].to_list()], dtype=np.int64)
    retained = frame["hour"] >= pl.Series(firsts, dtype=pl.Int64)
    return {True: frame.filter(retained), False: frame.filter(~retained)}


def _answers(frame: pl.DataFrame) -> list[Answer]:
    names = ("dimension", "value", "hour", "as_of", "stored")
    rows = frame.select(*names, *COUNTERS).iter_rows()
    return [Answer(d, v, h, as_of, stored, tuple(counters)) for d, v, h, as_of, stored, *counters in rows]


def _told(frame: pl.DataFrame) -> dict[Key, Told]:
    told: dict[Key, Told] = defaultdict(list)
    places = frame.select("partition", "record").iter_rows()
    for (partition, record), answer in zip(places, _answers(frame), strict=True):
        key = (partition, answer.dimension, answer.value, rate.day_of(answer.hour))
        told[key].append((record, answer))
    return dict(told)


def _forwards(refused: pl.DataFrame) -> pl.DataFrame:
    """Deltas of `(other)`: for each source block and dimension what it adds, once though it came again."""
    block = ["source_partition", "source_offset", "dimension"]
    source = (pl.col("partition").cast(pl.Int32) + 1) * (1 << _FORWARDED) + pl.col("source_partition")
    return (
        refused.with_columns(source_partition=source, value=pl.lit(OTHER_VALUE))
        .with_columns(first=pl.col("record").min().over(block))
        # Counters of closed hours are not added, however often they come.
        .filter(pl.col("closed") | (pl.col("record") == pl.col("first")))
        .group_by(*block, "value", "hour", "closed", "first")
        .agg(pl.col(name).sum() for name in COUNTERS)
        .sort("first", *block, "hour", "closed")
    )
