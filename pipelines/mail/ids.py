"""Message-IDs, and the ids that In-Reply-To and References hold (RFC 5322, section 3.6.4), as lenient as mail is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pipelines.mail.limits import VALUE_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_BRACKETED: Final = re.compile(r"<([^<>]{1,500})>")
_BARE: Final = re.compile(r"[^\s<>()\[\]\",;:\\@]{1,500}@[^\s<>()\",;\\@]{1,500}")
_SPACE: Final = re.compile(r"\s+")
_CHARACTERS: Final = 998
_MOST: Final = 500
"""Ids that are kept: the first and the last half of them."""
_MOST_LONG: Final = 100
"""Where they are long: a row has to fit into a Kafka record."""


def of_values(values: Iterable[str], addresses: Collection[str] = ()) -> list[str]:
    """Every id, in order, each once, without brackets; addresses of the mail (lower case) are none.

    `In-Reply-To: Your message of "Tue" <a@b> (was: <c@d>)` has two. Where nothing is in brackets, words with an `@`
    are ids.
    """
    found: dict[str, None] = {}
    for value in values:
        for name in _ids(_ends(value)):
            if name.lower() not in addresses:
                found.setdefault(name)
    names = list(found)
    most = _MOST if sum(map(len, names)) <= VALUE_CHARACTERS else _MOST_LONG
    return names if len(names) <= most else names[: most // 2] + names[-most // 2 :]


def own(value: str) -> str:
    """Of a Message-ID field."""
    ids = _ids(value[:VALUE_CHARACTERS])
    return ids[0] if ids else _SPACE.sub("", value[:_CHARACTERS]).strip("<>")


def _ends(value: str) -> str:
    half = VALUE_CHARACTERS // 2
    return value if len(value) <= VALUE_CHARACTERS else value[:half] + " " + value[-half:]


def _ids(value: str) -> list[str]:
    bracketed = [name for raw in _BRACKETED.findall(value) if (name := _SPACE.sub("", raw))]
    return bracketed or _BARE.findall(value)
