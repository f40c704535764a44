"""`ClickHouseMemory`: what a worker whose broker forgets starts from (`pipelines.counting.memory.Memory`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from connectors.clickhouse.sql import Target, run_sql
from schemas.counters import COUNTERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_HOUR_MS: Final = 3_600_000
_SEEN_ROW: Final = np.dtype([("key", "<u8"), ("hour", "<i4")])
_WATERMARK: Final = f"SELECT intDiv(toUnixTimestamp64Milli(max(event_time)), {_HOUR_MS}) FROM event_rows"  # noqa: S608
# Copies that have not been merged yet only repeat a key, so no FINAL: that is most of the time.
_SEEN: Final = (
    "SELECT bitOr(bitAnd(reinterpretAsUInt64(substring(event_id, 1, 8)), bitNot(toUInt64(1))),"
    " toUInt64(tagged)), toInt32(intDiv(toUnixTimestamp64Milli(sent_time), 3600000)) FROM event_rows"
    " WHERE sent_time >= fromUnixTimestamp64Milli(toInt64({since}))"
)
_COUNTERS: Final = (
    f"SELECT dimension, value, toUnixTimestamp64Second(toDateTime64(hour, 0, 'UTC')), {', '.join(COUNTERS)}"  # noqa: S608
    f" FROM rate_rows FINAL WHERE {' + '.join(COUNTERS)} > 0"
    " AND hour >= (SELECT max(hour) FROM rate_rows WHERE hour <= now()) - INTERVAL {days} DAY"
)
_ROW: Final = msgspec.json.Decoder(dict[str, str | int])


class ClickHouseMemory:
    """Reads through whatever holds ClickHouse: a door, or a DSN."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def watermark(self) -> int:
        """The hour of the latest event: see `Memory.watermark`."""
        return int(b"".join(run_sql(_WATERMARK, "TSV", self._target)) or b"0")

    def seen(self, since: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint64]]]:
        """Hours and keys of events: see `Memory.seen`."""
        rest = b""
        size = _SEEN_ROW.itemsize
        for piece in run_sql(
            _SEEN.replace("{since}", str(max(since, 0) * _HOUR_MS)), "RowBinary", self._target
        ):
            data = rest + piece
            whole = len(data) - len(data) % size
            rest = data[whole:]
            if whole:
                rows = np.frombuffer(data[:whole], dtype=_SEEN_ROW)
                yield rows["hour"].astype(np.int64), rows["key"].astype(np.uint64)

    def counters(self, days: int) -> Iterator[tuple[str, str, int, tuple[int, ...]]]:
        """The newest raw counters: see `Memory.counters`."""
        rest = b""
        for piece in run_sql(_COUNTERS.replace("{days}", str(days)), "JSONEachRow", self._target):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                dimension, value, hour, *counters = _ROW.decode(line).values()
                yield str(dimension), str(value), int(hour), tuple(int(each) for each in counters)

    def last_version(self) -> int:
        """The greatest version stored; 0 when there is none."""
        text = b"".join(run_sql("SELECT max(version) FROM rate_rows", "TSV", self._target))
        return int(text or b"0")
