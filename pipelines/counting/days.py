"""`Days`: the packed states of one partition, by day, with what else the rate agent must not forget.

What is remembered is exactly what records say that were applied one after the other, be it as they are written or when
a changelog is read: of a key the last record counts, one without a value removes it. Keys of records:

    01 "watermark"                     the greatest cohort hour seen (seconds), as text
    01 "caps"                          see `pipelines.counting.caps`
    02 day dimension 00 value          state of a day; day: 4 bytes, big-endian, signed
    dimension 00 value                 state of all hours, of the release that kept no days

A day's states are found in one dictionary, whose keys are shared by all days: 14 days of 100,000 values take some
300 bytes each and day.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pipelines.counting.rate import DAY_S, StateError, by_day, is_of_all_hours, since_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

WATERMARK: Final = b"\x01watermark"
CAPS: Final = b"\x01caps"
NEVER: Final = -(1 << 62)
"""The watermark of a partition that has seen nothing."""
_STATE: Final = 2
_HEAD: Final = 5
_FIRST_PRINTABLE: Final = 32
"""Names of dimensions begin with nothing less: so do the keys of the release that kept no days."""

Record = tuple[int, bytes, bytes | None]
"""Partition, key and value; without a value it removes what there is of the key."""


def key_of(dimension: str, value: str) -> bytes:
    """The key of a (dimension, value)."""
    return f"{dimension}\0{value}".encode(errors="surrogatepass")


def names_of(key: bytes) -> tuple[str, str]:
    """The (dimension, value) of a key."""
    dimension, _, value = key.decode(errors="surrogatepass").partition("\0")
    return dimension, value


def record_key(key: bytes, day: int) -> bytes:
    """The key of the record of a day's state."""
    return b"\x02" + day.to_bytes(4, "big", signed=True) + key


@dataclass(slots=True)
class _Known:
    """A value with states."""

    key: bytes
    days: int = 0
    since: int = 0


class Days:
    """See above; for one thread."""

    __slots__ = ("_days", "_known", "_old", "_values", "broken", "caps", "watermark")

    def __init__(self) -> None:
        self.watermark = NEVER
        """The greatest cohort hour seen, in seconds."""
        self.caps: bytes | None = None
        self.broken: StateError | None = None
        """Why some of it could not be read."""
        self._days: dict[int, dict[bytes, bytes]] = {}
        self._known: dict[bytes, _Known] = {}
        self._values: dict[str, int] = {}
        self._old: dict[bytes, bytes | None] = {}
        """States of all hours; `None` once they are split, for as long as their record is there."""

    def get(self, key: bytes, day: int) -> bytes | None:
        """The packed state of a day; `None` when there is none."""
        states = self._days.get(day)
        return states.get(key) if states is not None else None

    def of(self, key: bytes) -> list[int]:
        """The days of which a value has a state, earliest first."""
        return sorted(day for day, states in self._days.items() if key in states)

    def __contains__(self, key: bytes) -> bool:
        """Whether a value has a state on any day."""
        return key in self._known

    def __len__(self) -> int:
        """Number of states."""
        return sum(map(len, self._days.values()))

    def since(self, key: bytes) -> int:
        """`State.since` of a value's states; 0 when it has none."""
        known = self._known.get(key)
        return known.since if known is not None else 0

    def values(self, dimension: str) -> int:
        """How many values of a dimension have states."""
        return self._values.get(dimension, 0)

    def expired(self, since_hour: int) -> Iterator[tuple[int, bytes]]:
        """Day and key of the states of days that are over before an hour (seconds)."""
        for day in sorted(self._days):
            if (day + 1) * DAY_S > since_hour:
                return
            for key in self._days[day]:
                yield day, key

    def apply(self, key: bytes, value: bytes | None) -> None:
        """Take over a record.

        Raises:
            StateError: when it is of a later release.
        """
        if key[0] == _STATE:
            day = int.from_bytes(key[1:_HEAD], "big", signed=True)
            if value is None:
                self._remove(key[_HEAD:], day)
            else:
                self._set(key[_HEAD:], day, value, since_of(value))
        elif key == WATERMARK:
            self.watermark = max(self.watermark, int(value or NEVER))
        elif key == CAPS:
            self.caps = value
        elif key[0] < _FIRST_PRINTABLE:
            raise StateError("a record of a kind that a later release wrote")
        elif value is None:
            self._old.pop(key, None)
        elif is_of_all_hours(value):
            self._old[key] = value

    def settle(self) -> None:
        """Split the states of all hours into days, once every record has been read."""
        for key, value in self._old.items():
            if value is None:
                continue
            for day, packed in by_day(value).items():
                if self.get(key, day) is None:
                    self._set(key, day, packed, 0)
            self._old[key] = None

    def old(self, keys: Iterable[bytes]) -> list[bytes]:
        """Which of the keys have a record of a state of all hours; `parts` are to be written before it goes."""
        return sorted({key for key in keys if key in self._old}) if self._old else []

    def parts(self, key: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Key and value of the records of all days of a value."""
        for day, states in self._days.items():
            if key in states:
                yield record_key(key, day), states[key]

    def records(self) -> Iterator[tuple[bytes, bytes]]:
        """Key and value of the records that make all this, states of days excepted."""
        yield WATERMARK, str(self.watermark).encode()
        if self.caps is not None:
            yield CAPS, self.caps

    def states(self) -> Iterator[tuple[int, bytes, bytes]]:
        """Day, key of the (dimension, value) and packed state; may be replaced meanwhile."""
        for day, states in self._days.items():
            for key in list(states):
                yield day, key, states[key]

    def keys(self, dimension: str) -> Iterator[bytes]:
        """The keys of a dimension's values that have states."""
        start = dimension.encode() + b"\0"
        return (key for key in self._known if key.startswith(start))

    def _set(self, key: bytes, day: int, packed: bytes, since: int) -> None:
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _Known(key)
            dimension = names_of(key)[0]
            self._values[dimension] = self._values.get(dimension, 0) + 1
        states = self._days.setdefault(day, {})
        if key not in states:
            known.days += 1
        states[known.key] = packed
        known.since = max(known.since, since)

    def _remove(self, key: bytes, day: int) -> None:
        states = self._days.get(day, {})
        if states.pop(key, None) is None:
            return
        if not states:
            del self._days[day]
        known = self._known[key]
        known.days -= 1
        if not known.days:
            del self._known[key]
            dimension = names_of(key)[0]
            self._values[dimension] -= 1
