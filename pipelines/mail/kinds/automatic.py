"""Mail that machines write, and which of it answers a message: RFC 3834 and the practice before and beside it."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from pipelines.mail.kinds.facts import Facts

_REPLIED: Final = ("auto-replied", "auto-notified")


class Headers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A header field that only answers of machines have."""

    name: str
    values: tuple[str, ...] = ()
    """Beginnings of its value in lower case; none: any value other than `no` and `false`."""


class Subject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Beginnings of subjects in a language."""

    language: str
    beginnings: tuple[str, ...]


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`auto_replies.toml`."""

    header: tuple[Headers, ...]
    subject: tuple[Subject, ...]


@cache
def table() -> Table:
    """The table.

    Raises:
        msgspec.ValidationError: if it has an unknown key or a wrong type.
    """
    data = resources.files("pipelines.mail.kinds").joinpath("auto_replies.toml").read_bytes()
    return msgspec.toml.decode(data, type=Table)


@cache
def _subjects() -> re.Pattern[str]:
    words = sorted(
        {word.casefold() for row in table().subject for word in row.beginnings}, key=len, reverse=True
    )
    return re.compile("(?:" + "|".join(map(re.escape, words)) + r")(?!\w)")


def answers(facts: Facts) -> str:
    """Why it is a machine's answer to a message; empty: it is not."""
    if facts.submitted in _REPLIED:
        return f"Auto-Submitted: {facts.submitted}"
    if facts.submitted == "no":
        return ""
    for rule in table().header:
        if rule.name in facts.fields:
            value = facts.first(rule.name).lower()
            if value.startswith(rule.values) if rule.values else value not in ("no", "false", "0"):
                return f"{rule.name}: {value[:40]}".rstrip(": ")
    if (found := _subjects().match(facts.subject.casefold())) and not facts.listed:
        return f"subject: {found[0]}"
    return ""


def automatic(facts: Facts) -> bool:
    """Whether a machine wrote it, for whatever purpose."""
    if facts.submitted:
        return facts.submitted != "no"
    return facts.null_sender or facts.daemon or (facts.precedence in ("bulk", "junk") and not facts.listed)
