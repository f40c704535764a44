"""Results in ClickHouse's format Native, cut wherever a connection cuts them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from connectors.clickhouse.native import Arrays, Low, blocks
from connectors.clickhouse.readonly import Reader
from connectors.errors import ClickHouseError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.embedded

QUERY = """
SELECT
    toInt64(number) - 2 AS less,
    toFixedString(toString(number), 4) AS fixed,
    repeat('é', number * 40) AS text,
    CAST(toString(number % 3) AS LowCardinality(String)) AS low,
    CAST(range(number % 4) AS Array(UInt16)) AS arrays
FROM numbers(20) WHERE number > {above}
"""


def said(block: dict[str, Any]) -> list[tuple[Any, ...]]:
    low, arrays = block["low"], block["arrays"]
    assert isinstance(low, Low)
    assert isinstance(arrays, Arrays)
    ends = arrays.counts.cumsum().tolist()
    return [
        (
            less,
            fixed.tobytes().rstrip(b"\0"),
            text,
            low.values[at],
            arrays.values[end - size : end].tolist(),
        )
        for less, fixed, text, at, size, end in zip(
            block["less"].tolist(),
            block["fixed"],
            block["text"],
            low.numbers,
            arrays.counts.tolist(),
            ends,
            strict=True,
        )
    ]


@pytest.mark.parametrize("size", [1, 5, 1000, 1 << 20])
def test_columns_of_all_kinds_wherever_they_are_cut(engine: Path, client: Any, size: int) -> None:
    assert client
    reader = Reader(engine, "default")
    data = b"".join(reader.read(QUERY.format(above=-1), "Native"))
    twice = data + data
    pieces = (twice[at : at + size] for at in range(0, len(twice), size))
    found = [each for block in blocks(pieces) for each in said(block)]
    assert found == 2 * [
        (n - 2, str(n).encode(), ("é" * (n * 40)).encode(), str(n % 3).encode(), list(range(n % 4)))
        for n in range(20)
    ]
    assert not list(blocks(reader.read(QUERY.format(above=99), "Native")))
    with pytest.raises(ClickHouseError, match="broke off"):
        list(blocks(iter([data[:-1]])))
    with pytest.raises(ClickHouseError, match="Float64"):
        list(blocks(reader.read("SELECT 1.5 AS a", "Native")))
