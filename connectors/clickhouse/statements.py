"""The words of ClickHouse SQL, as far as needed to split statements and to see what a statement asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from connectors.errors import ClickHouseError

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = Literal["word", "quoted", "text", "space", "sign"]

_TOKEN: Final = re.compile(
    r"""
      (?P<space>   \s+ | --[^\n]* | \#[!\ ][^\n]* | /\*.*?\*/ )
    | (?P<text>    '(?:[^'\\]|\\.|'')*' | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ )
    | (?P<quoted>  `(?:[^`\\]|\\.|``)*` | "(?:[^"\\]|\\.|"")*" )
    | (?P<word>    \w+ )
    | (?P<sign>    . )
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of SQL. Comments are `space`."""

    kind: str
    text: str

    @property
    def name(self) -> str:
        """What an identifier names, in lower case (quotes off)."""
        return self.text[1:-1].lower() if self.kind == "quoted" else self.text.lower()


def tokens(sql: str) -> Iterator[Token]:
    """Take SQL apart; the pieces put together are the SQL again.

    Raises:
        ClickHouseError: if a string, identifier or comment does not end.
    """
    for match in _TOKEN.finditer(sql):
        kind = match.lastgroup or "sign"
        if kind == "tag":
            kind = "text"
        text = match.group()
        if (kind == "sign" and text in "'`\"") or (kind == "sign" and sql.startswith("/*", match.start())):
            raise ClickHouseError(
                f"the SQL has a quote or comment that does not end: {sql[match.start() :][:40]!r}"
            )
        yield Token(kind, text)


def split(sql: str) -> list[str]:
    """The statements of a script: parted by `;` outside strings and comments; mere comments are left out.

    Raises:
        ClickHouseError: if a string, identifier or comment does not end.
    """
    statements: list[list[Token]] = [[]]
    for token in tokens(sql):
        if token.kind == "sign" and token.text == ";":
            statements.append([])
        else:
            statements[-1].append(token)
    return [
        "".join(token.text for token in statement).strip()
        for statement in statements
        if any(token.kind != "space" for token in statement)
    ]
