"""`run_sql`: a reading query, wherever ClickHouse is; the bare result in any of ClickHouse's formats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from connectors.clickhouse import door
from connectors.clickhouse.client import data_path, database_of, is_embedded, open_client, translated
from connectors.clickhouse.readonly import Reader, checked, own_format
from connectors.errors import ClickHouseError

if TYPE_CHECKING:
    from collections.abc import Iterator

_READ: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Through:
    """A door to a running instance."""

    address: str
    token: str


Target = str | Through
"""A DSN (chdb only where no instance runs on it), or a door."""


def run_sql(query: str, fmt: str, target: Target) -> Iterator[bytes]:
    """Run one statement that only reads.

    Args:
        query: SQL; its own FORMAT clause wins.
        fmt: such as `TSV`, `JSON`, `Parquet`, `PrettyCompact`.
        target: where.

    Raises:
        ClickHouseError: nothing answers, no data yet, or refused; also from the iterator.
    """
    if isinstance(target, Through):
        yield from door.query(target.address, target.token, query, fmt)
    elif is_embedded(target):
        path = data_path(target)
        if not path.is_dir() or not any(path.iterdir()):
            raise ClickHouseError(f"there is no data in {path} yet: run `ses-streams up` or `replay` first")
        yield from Reader(path, database_of(target)).read(query, fmt)
    else:
        yield from _server(query, fmt, target)


def _server(query: str, fmt: str, dsn: str) -> Iterator[bytes]:
    statement = checked(query)
    client = open_client(dsn)
    try:
        with translated(dsn):
            own = own_format(statement)
            stream = client.raw_stream(statement, fmt=None if own else fmt, settings={"readonly": "1"})
            while piece := stream.read(_READ):
                yield piece
    finally:
        client.close()
