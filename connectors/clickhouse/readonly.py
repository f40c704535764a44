"""Queries that can only read: what is let through, and chdb handles that refuse the rest.

chdb honours `readonly = 1` for statements and for most table functions, but not for everything that reaches
outside the tables: `INTO OUTFILE` writes files, the function `file` and `DESCRIBE TABLE file(…)` read them,
`python` reads this process. So the words are looked at as well.
"""

from __future__ import annotations

import contextlib
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from clickhouse_connect.driver import exceptions

from connectors.clickhouse.client import Client, open_client, sentence
from connectors.clickhouse.statements import Token, tokens
from connectors.errors import ClickHouseError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_READ: Final = 256 * 1024
MEMORY_LIMIT: Final = 4 * 1024**3
"""Bytes a query may take: it shares the process with the sink's inserts."""
_READING: Final = frozenset({"select", "with", "from", "show", "describe", "desc", "explain", "exists", "("})
_HARMLESS: Final = frozenset(
    {
        *("numbers", "numbers_mt", "zeros", "zeros_mt", "primes", "generateseries", "generate_series"),
        *("generaterandom", "values", "sqlstandardvalues", "merge", "view", "null", "format", "fuzzquery"),
    }
)
"""Table functions that make up their rows or read our tables."""
_OUTSIDE: Final = frozenset(
    {"file", "url", "s3", "executable", "python", "remote", "sqlite", "mysql", "eval"}
)
"""Refused even where ClickHouse does not list them as table functions."""
_STREAMABLE: Final = frozenset({"select", "with", "from", "("})
_STREAMED: Final = frozenset(
    {"Native", "TabSeparated", "TSV", "CSV", "RowBinary", "JSONEachRow", "JSONCompactEachRow"}
)
"""Formats without head and foot: chdb makes each block a whole document, so only these can be joined."""


def checked(sql: str, forbidden: frozenset[str] = _OUTSIDE) -> str:
    """The one statement of some SQL, if it only reads.

    Args:
        sql: as a person gave it; a closing `;` is dropped.
        forbidden: functions that reach outside the tables, in lower case.

    Raises:
        ClickHouseError: with what is refused.
    """
    pieces = list(tokens(sql))
    said = [token for token in pieces if token.kind != "space"]
    while said and said[-1].text == ";" and said[-1].kind == "sign":
        pieces.pop(max(index for index, token in enumerate(pieces) if token is said[-1]))
        said.pop()
    if not said:
        raise ClickHouseError("there is no SQL to run: give a SELECT")
    if any(token.kind == "sign" and token.text == ";" for token in said):
        raise ClickHouseError("one statement at a time: remove what follows the `;`")
    if said[0].text.lower() not in _READING:
        raise ClickHouseError(
            f"only reading is allowed here, not {said[0].text.upper()}: use SELECT, SHOW or DESCRIBE"
        )
    _check_words(said, forbidden)
    return "".join(token.text for token in pieces).strip()


def _check_words(said: list[Token], forbidden: frozenset[str]) -> None:
    for token, following in pairwise(said):
        if token.kind not in ("word", "quoted"):
            continue
        if following.text == "(" and token.kind == "quoted":
            # Quotes have escapes that could hide any name.
            raise ClickHouseError(f"write the function {token.text} without quotes")
        if following.text == "(" and token.name in forbidden:
            raise ClickHouseError(f"{token.name}() reaches outside the tables, which is not allowed here")
        if token.kind == "word" and token.name == "into" and following.name == "outfile":
            raise ClickHouseError("INTO OUTFILE is not allowed here: redirect what is printed instead")


def own_format(sql: str) -> str:
    """The format that a statement itself asks for, else empty."""
    said = [token for token in tokens(sql) if token.kind != "space"]
    for token, following in reversed(list(pairwise(said))):
        if token.kind == "word" and token.name == "format" and following.kind == "word":
            return following.text
    return ""


def first_word(sql: str) -> str:
    """The first word of a statement, in lower case."""
    return next((token.text.lower() for token in tokens(sql) if token.kind != "space"), "")


class Reader:
    """Runs reading queries on chdb files that this process holds, each on a handle of its own."""

    def __init__(self, path: Path, database: str) -> None:
        self._path = str(path.resolve())
        self._database = database
        self._forbidden = self._table_functions()

    def read(self, sql: str, fmt: str) -> Iterator[bytes]:
        """The result in a format of ClickHouse; in pieces as they come where the format allows it.

        Raises:
            ClickHouseError: refused, here or by ClickHouse; also from the iterator.
        """
        statement = checked(sql, self._forbidden)
        name = own_format(statement) or fmt
        with_format = statement if own_format(statement) else f"{statement}\nFORMAT {_identifier(fmt)}"
        handle = self._open()
        try:
            if name not in _STREAMED or first_word(statement) not in _STREAMABLE:
                yield from filter(None, [handle.raw_query(with_format)])
                return
            with contextlib.closing(handle.raw_stream(with_format)) as stream:
                while piece := stream.read(_READ):
                    yield piece
        except (exceptions.Error, RuntimeError, ValueError, OSError) as error:
            raise ClickHouseError(f"ClickHouse refuses: {sentence(error)}") from error
        finally:
            handle.close()

    def _open(self) -> Client:
        handle = open_client(f"chdb://{self._path}", database=self._database)
        handle.command(f"SET max_memory_usage = {MEMORY_LIMIT}")
        handle.command("SET readonly = 1")
        return handle

    def _table_functions(self) -> frozenset[str]:
        handle = self._open()
        try:
            names = handle.query("SELECT lower(name) FROM system.table_functions").result_rows
        finally:
            handle.close()
        return (frozenset(str(row[0]) for row in names) - _HARMLESS) | _OUTSIDE


def _identifier(name: str) -> str:
    if not name.isidentifier():
        raise ClickHouseError(
            f"{name!r} is no name of ClickHouse: for a format, try TSV, CSV, JSON or Parquet"
        )
    return name
