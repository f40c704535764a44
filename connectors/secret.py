"""`Secret`: text that does not show itself."""

from __future__ import annotations


class Secret(str):
    """A string that does not show itself."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"
