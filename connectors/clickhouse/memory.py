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

_KEY_BYTES: Final = 8

# Copies that have not been merged yet only repeat a key, so no FINAL: that is most of the time.
_SEEN: Final = (
    "SELECT bitOr(bitAnd(reinterpretAsUInt64(substring(event_id, 1, 8)), bitNot(toUInt64(1))),"
    " toUInt64(tagged)) FROM event_rows"
)
_COUNTERS: Final = (
    f"SELECT dimension, value, toUnixTimestamp64Second(toDateTime64(hour, 0, 'UTC')), {', '.join(COUNTERS)}"  # noqa: S608
    f" FROM rate_rows FINAL WHERE {' + '.join(COUNTERS)} > 0"
)
_ROW: Final = msgspec.json.Decoder(dict[str, str | int])


class ClickHouseMemory:
    """Reads through whatever holds ClickHouse: a door, or a DSN."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def seen(self) -> Iterator[NDArray[np.uint64]]:
        """Keys of all events, packed: see `Memory.seen`."""
        rest = b""
        for piece in run_sql(_SEEN, "RowBinary", self._target):
            data = rest + piece
            whole = len(data) - len(data) % _KEY_BYTES
            rest = data[whole:]
            if whole:
                yield np.frombuffer(data[:whole], dtype="<u8").astype(np.uint64, copy=False)

    def counters(self) -> Iterator[tuple[str, str, int, tuple[int, ...]]]:
        """The newest raw counters: see `Memory.counters`."""
        rest = b""
        for piece in run_sql(_COUNTERS, "JSONEachRow", self._target):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                dimension, value, hour, *counters = _ROW.decode(line).values()
                yield str(dimension), str(value), int(hour), tuple(int(each) for each in counters)

    def last_version(self) -> int:
        """The greatest version stored; 0 when there is none."""
        text = b"".join(run_sql("SELECT max(version) FROM rate_rows", "TSV", self._target))
        return int(text or b"0")
