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
"""RFC 3834, section 5; RFC 5436, section 2.7."""
_RECEIPTS: Final = ("message/disposition-notification", "message/global-disposition-notification")
"""RFC 8098; RFC 6533, section 6."""
_OFF: Final = ("no", "false", "0", "none")


class Headers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A header field that only answers of machines have."""

    name: str
    values: tuple[str, ...] = ()
    """Beginnings of its value in lower case; none: any value other than `no` and `false`."""


class Subject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Beginnings of subjects in a language."""

    language: str
    sure: tuple[str, ...]
    """No person writes them."""
    likely: tuple[str, ...] = ()
    """Enough with another sign of a machine."""


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


def _beginnings(words: set[str]) -> re.Pattern[str]:
    longest_first = sorted(words, key=len, reverse=True)
    return re.compile("(?:" + "|".join(map(re.escape, longest_first)) + r")(?!\w)")


@cache
def _sure() -> re.Pattern[str]:
    return _beginnings({word.casefold() for row in table().subject for word in row.sure})


@cache
def _likely() -> re.Pattern[str]:
    return _beginnings({word.casefold() for row in table().subject for word in row.likely})


def answers(facts: Facts) -> str:
    """Why it is a machine's answer to a message; empty: it is not."""
    if facts.submitted in _REPLIED:
        return f"Auto-Submitted: {facts.submitted}"
    if facts.submitted == "no":
        return ""
    if facts.mail.content_type == "multipart/report" and any(
        part.content_type in _RECEIPTS for part in facts.mail.parts
    ):
        return "disposition notification (RFC 8098)"
    for rule in table().header:
        if facts.has(rule.name):
            value = facts.first(rule.name).lower()
            said = next((each for each in rule.values if value.startswith(each)), "")
            if said or (not rule.values and value not in _OFF):
                # Not the value itself: it may name a person.
                return f"{rule.name}: {said}".rstrip(": ")
    return _by_subject(facts)


def _by_subject(facts: Facts) -> str:
    if facts.listed:
        return ""
    subject = facts.subject.casefold()
    if found := _sure().match(subject):
        return f"subject: {found[0]}"
    if facts.null_sender or facts.precedence or facts.has("x-auto-response-suppress"):
        if found := _likely().match(subject):
            return f"subject: {found[0]}"
        if facts.null_sender and not facts.daemon and facts.answers:
            return "an answer from the empty sender"
    return ""


def automatic(facts: Facts) -> bool:
    """Whether a machine wrote it, for whatever purpose."""
    if facts.submitted:
        return facts.submitted != "no"
    return (
        facts.null_sender
        or facts.daemon
        or facts.unattended
        # People write to lists, and what lists pass on looks like bulk mail: only what answers nothing is taken for it.
        or (_bulk(facts) and not facts.listed and not facts.answers)
    )


def _bulk(facts: Facts) -> bool:
    return facts.precedence in ("bulk", "junk") or facts.has("list-unsubscribe")
