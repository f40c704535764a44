"""Texts cut to what receivers take, and names for keys that are too long for them."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from connectors.notify.page import Page

_ELLIPSIS: Final = "…"
_NOT_TOLD: Final = frozenset({"machine", "evidence"})


def cut(text: str, longest: int) -> str:
    """At most so many characters; an ellipsis where some are missing."""
    return text if len(text) <= longest else text[: longest - 1] + _ELLIPSIS


def cut_bytes(text: str, longest: int) -> str:
    """At most so many bytes of UTF-8; an ellipsis where some are missing."""
    data = text.encode()
    if len(data) <= longest:
        return text
    return data[: longest - len(_ELLIPSIS.encode())].decode(errors="ignore") + _ELLIPSIS


def pieces(text: str, longest: int) -> Iterator[str]:
    """A text in pieces of at most so many characters, divided between lines where that can be."""
    piece = ""
    for line in text.splitlines(keepends=True):
        rest = line
        if piece and len(piece) + len(rest) > longest:
            yield piece
            piece = ""
        while len(rest) > longest:
            yield rest[:longest]
            rest = rest[longest:]
        piece += rest
    if piece:
        yield piece


def short_key(key: str, longest: int) -> str:
    """A key of at most so many characters that is another for every other key."""
    if len(key) <= longest:
        return key
    digest = hashlib.sha256(key.encode()).hexdigest()
    return f"{key[: longest - len(digest) - 1]}/{digest}"


def message_id(page: Page) -> str:
    """Names a message: the same whenever the same is sent again, else another. Hexadecimal, 40 characters."""
    alarm = page.alarm
    name = f"{page.dedup_key}\n{page.kind}\n{alarm['seq']}\n{alarm['revision']}"
    return hashlib.sha256(name.encode()).hexdigest()[:40]


def instant(milliseconds: int) -> str:
    """A time as RFC 3339 wants it."""
    return (
        datetime.fromtimestamp(milliseconds / 1000, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )


def facts(page: Page) -> dict[str, Any]:
    """All that is told of a transition, for programs; times are as RFC 3339 wants them, None where there is none."""
    alarm: Mapping[str, Any] = page.alarm
    told: dict[str, Any] = {name: value for name, value in alarm.items() if name not in _NOT_TOLD}
    for name in ("time", "opened_time", "silenced_until", "written_time"):
        told[name] = instant(told[name]) if told[name] else None
    return told | {"dedup_key": page.dedup_key, "evidence": dict(page.evidence)}
