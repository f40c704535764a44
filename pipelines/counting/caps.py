"""`Caps`: which values of a dimension have counters of their own in a partition, and which count to `(other)`.

A cohort hour of a value is either all its own or all of `(other)`, so each is exact and a recount can tell them apart.
An hour that a value has counters of stays its own. Any other is its own if the value is admitted, from the hour on
that it was admitted from. Values are admitted as they come while there is room, and then for hours after the
*horizon*: the last hour that anything was refused of. Who is admitted is remembered by its states.

The horizon is safe before anything refused on its account is forwarded; so a value admitted later, for hours after it,
is never counted in both places, whatever is done again.

Hours that lie too far ahead to be a horizon (a wrong clock would keep every newcomer out until then) are remembered
one by one once anything was refused of them: nobody gets such an hour any more, who has no counters of it.

The busiest stay: when a period's volume of a refused value is clearly more than an admitted one's, the latter is
*displaced* (its next hours go to `(other)`), and the former *promoted* (admitted from the hour after the horizon on).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from zlib import crc32

import msgspec

from pipelines.counting.days import key_of, names_of
from pipelines.counting.rate import HOUR_S, StateError
from schemas.counters import OTHER_VALUE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipelines.counting.days import Days

PERIOD: Final = 20
"""Volumes are compared once there were so many counts for each value there is room for."""
LEAST_PERIOD: Final = 1000
CLEARLY: Final = 2
"""So many times an admitted value's volume a refused one's has to be: a swap costs both an hour in two places."""
_SWAPS: Final = 10
"""Of so many admitted values one is displaced in a period at the most."""
_DISPLACED: Final = 4096
"""Values that may be displaced at a time: they are written in one record."""
_WATCHED: Final = 1000
"""Refused values whose volumes are kept: the busiest."""
_FAR: Final = 4096
"""Hours too far ahead that are remembered at the most."""
_LONGEST_KEPT_S: Final = 400 * 24 * HOUR_S
"""No counters are kept for longer."""
_NEVER: Final = -(1 << 62)
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Capped:
    """How far a dimension is beyond its cap."""

    admitted: int
    """Values with counters of their own."""
    refused: int
    """Values that counted to `(other)` since the process began, about."""


class _Dimension(msgspec.Struct, array_like=True):
    """What is remembered of a dimension."""

    horizon: int = _NEVER
    displaced: set[str] = msgspec.field(default_factory=set)
    promoted: dict[str, int] = msgspec.field(default_factory=dict)
    """Value → the first hour (seconds) of its own; until it has states that say so."""
    far: set[int] = msgspec.field(default_factory=set)
    """Hours (seconds) beyond any horizon that something was refused of."""


class _Packed(msgspec.Struct, array_like=True):
    form: int
    dimensions: dict[str, _Dimension]


_ENCODER: Final = msgspec.msgpack.Encoder(order="deterministic")
_DECODER: Final = msgspec.msgpack.Decoder(_Packed)


def restored(horizons: Mapping[str, int], far: Mapping[str, set[int]]) -> bytes:
    """What is to be remembered when only the last hour (seconds) counted to `(other)` is known of each dimension.

    And the hours further ahead that were. All its values are then to be admitted from the hour after it on
    (`first_own`), but for hours they have counters of: what has no row of its own in an hour counts to `(other)` there,
    by whichever way it comes.
    """
    return _ENCODER.encode(
        _Packed(
            _FORMAT,
            {
                name: _Dimension(horizon=horizons.get(name, _NEVER), far=far.get(name, set()))
                for name in horizons.keys() | far.keys()
            },
        )
    )


def first_own(horizon: int) -> int:
    """`State.since` of a value that is admitted when the horizon is there."""
    return horizon + HOUR_S


class Distinct:
    """About how many different values there were (the k smallest hashes; Bar-Yossef et al., RANDOM 2002)."""

    __slots__ = ("_largest", "_smallest")
    _K: Final = 256

    def __init__(self) -> None:
        self._smallest: set[int] = set()
        self._largest = 1 << 32

    def add(self, value: str) -> None:
        """Take note of a value."""
        found = crc32(value.encode(errors="surrogatepass"))
        if found < self._largest:
            self._smallest.add(found)
            if len(self._smallest) > self._K:
                self._smallest.remove(max(self._smallest))
                self._largest = max(self._smallest)

    def __int__(self) -> int:
        """The estimate; exact for up to 256."""
        if len(self._smallest) < self._K:
            return len(self._smallest)
        return int((self._K - 1) * (1 << 32) / max(self._largest, 1))


@dataclass(slots=True)
class _Volumes:
    """What a period's batches counted, by value."""

    admitted: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    refused: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    total: int = 0
    sketch: Distinct = field(default_factory=Distinct)


class Caps:
    """See above; of one partition."""

    __slots__ = ("_dimensions", "_limit", "_volumes", "changed")

    def __init__(self, limit: int, packed: bytes | None = None) -> None:
        self._limit = limit
        self._dimensions: dict[str, _Dimension] = {}
        self._volumes: dict[str, _Volumes] = {}
        self.changed = False
        """Whether there is something to be remembered."""
        if packed is not None:
            try:
                found = _DECODER.decode(packed)
            except msgspec.MsgspecError as error:
                raise StateError(f"not what is remembered of caps: {error}") from error
            if found.form != _FORMAT:
                raise StateError("what is remembered of caps wants a later release")
            self._dimensions = found.dimensions

    def pack(self, days: Days) -> bytes:
        """What is to be remembered."""
        for name, dimension in self._dimensions.items():
            dimension.displaced = {v for v in dimension.displaced if key_of(name, v) in days}
            dimension.far = {hour for hour in dimension.far if hour >= days.watermark - _LONGEST_KEPT_S}
        self.changed = False
        return _ENCODER.encode(_Packed(_FORMAT, self._dimensions))

    def is_tight(self, dimension: str, values: int, days: Days) -> bool:
        """Whether a batch with so many values of a dimension needs `decide`."""
        return dimension in self._dimensions or days.values(dimension) + values > self._limit

    def since(self, dimension: str, value: str, days: Days) -> int:
        """What `State.since` of a value's states is to be."""
        found = self._dimensions.get(dimension)
        promoted = found.promoted.get(value, 0) if found is not None else 0
        return max(promoted, days.since(key_of(dimension, value)))

    def decide(
        self,
        dimension: str,
        cells: Sequence[tuple[str, int, int]],
        days: Days,
        has: Callable[[str, int], bool],
        latest: int,
    ) -> tuple[set[tuple[str, int]], dict[str, int]]:
        """Which (value, hour)s of a dimension count to `(other)`, and the values newly admitted.

        Args:
            dimension: whose values they are.
            cells: value, hour (seconds), sum of the counters: in the order of the records.
            days: what is known.
            has: whether there are counters of a value and hour.
            latest: hours after this one move no horizon.

        Returns:
            The refused; and what `State.since` of the new values is.
        """
        known = self._dimensions.get(dimension)
        found = known if known is not None else _Dimension()
        volumes = self._volumes.setdefault(dimension, _Volumes())
        room = self._limit - self._occupied(dimension, found, days)
        refused: set[tuple[str, int]] = set()
        new: dict[str, int] = {}
        for value, hour, volume in cells:
            since = new.get(value)
            if since is None:
                since = self._since(dimension, value, found, days)
                if since is None and room > 0 and hour > found.horizon and hour not in found.far:
                    since = new[value] = first_own(found.horizon) if found.horizon > _NEVER else 0
                    room -= 1
            taken = hour in found.far and value != OTHER_VALUE
            if (since is not None and hour >= since and not taken) or has(value, hour):
                volumes.admitted[value] += volume
                continue
            refused.add((value, hour))
            volumes.refused[value] += volume
            volumes.sketch.add(value)
            if found.horizon < hour <= latest:
                found.horizon = hour
                self.changed = True
            elif hour > latest and hour not in found.far and len(found.far) < _FAR:
                found.far.add(hour)
                self.changed = True
        volumes.total += sum(cell[2] for cell in cells)
        if refused:
            self._dimensions[dimension] = found
        return refused, new

    def _since(self, dimension: str, value: str, found: _Dimension, days: Days) -> int | None:
        """The first hour of an admitted value's own; `None` when it is not admitted."""
        if value == OTHER_VALUE:
            return 0
        if value in found.promoted:
            return found.promoted[value]
        key = key_of(dimension, value)
        return days.since(key) if key in days and value not in found.displaced else None

    def _occupied(self, dimension: str, found: _Dimension, days: Days) -> int:
        own = days.values(dimension) - (key_of(dimension, OTHER_VALUE) in days)
        gone = sum(key_of(dimension, value) in days for value in found.displaced)
        to_come = sum(key_of(dimension, value) not in days for value in found.promoted)
        return own - gone + to_come

    def swap(self, days: Days) -> None:
        """At the end of a period, let refused values that are clearly busier take the places of admitted ones."""
        least = max(PERIOD * self._limit, LEAST_PERIOD)
        for name, volumes in self._volumes.items():
            found = self._dimensions.get(name)
            if found is not None and volumes.total >= least:
                self._settle_promoted(name, found, days)
                self._swap(name, found, volumes, days)
                volumes.total = 0
                for kept in (volumes.admitted, volumes.refused):
                    halves = {value: volume // 2 for value, volume in kept.items() if volume > 1}
                    kept.clear()
                    kept.update(halves)
            elif len(volumes.refused) > 2 * _WATCHED:
                busiest = sorted(volumes.refused.items(), key=lambda item: -item[1])[:_WATCHED]
                volumes.refused = defaultdict(int, busiest)

    def _settle_promoted(self, name: str, found: _Dimension, days: Days) -> None:
        """Forget of the promoted what their states say by now, and those that never came."""
        for value, since in list(found.promoted.items()):
            come = days.since(key_of(name, value)) >= since
            if come or since + 24 * HOUR_S <= found.horizon:
                del found.promoted[value]
                self.changed = True

    def _swap(self, name: str, found: _Dimension, volumes: _Volumes, days: Days) -> None:
        busy = sorted(volumes.refused.items(), key=lambda item: (-item[1], item[0]))
        values = (names_of(key)[1] for key in days.keys(name))
        idle = sorted(
            (volumes.admitted.get(value, 0), value)
            for value in values
            if value != OTHER_VALUE and value not in found.displaced and value not in found.promoted
        )
        most = min(max(1, self._limit // _SWAPS), min(self._limit, _DISPLACED) - len(found.displaced))
        for (value, volume), (smallest, victim) in zip(busy[: max(most, 0)], idle, strict=False):
            if volume <= CLEARLY * smallest or value in found.promoted:
                break
            found.displaced.add(victim)
            found.displaced.discard(value)
            found.promoted[value] = first_own(found.horizon)
            self.changed = True

    def capped(self, days: Days) -> dict[str, Capped]:
        """How far each dimension is beyond its cap; of those that are."""
        return {
            name: Capped(
                days.values(name) - (key_of(name, OTHER_VALUE) in days) - len(found.displaced),
                int(self._volumes[name].sketch) if name in self._volumes else 0,
            )
            for name, found in self._dimensions.items()
        }
