"""What kind of bounce a status and a reply tell of: SES's `bounceType` and `bounceSubType`.

The words of a reply decide before its status, because statuses are often general or wrong (5.1.1 for a full mailbox,
5.0.0 for anything). Rules, their order and sources are in `bounces.toml`.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from importlib import resources
from typing import Final

import msgspec

_LOOKED_AT: Final = 1_000
_HARD_GENERAL: Final = ("Permanent", "General")
_SOFT_GENERAL: Final = ("Transient", "General")
_KEPT: Final = 8_192
_STATUS: Final = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d]|\.\d)")
_FAILED: Final = re.compile(r"(?<![\d.])([45]\.\d{1,3}\.\d{1,3})(?![\d]|\.\d)")
_CODE: Final = re.compile(r"(?<![\d.#])([245][0-5]\d)(?=[- ]|$)")


class WordRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Words in a reply."""

    name: str
    type: str
    subtype: str
    pattern: str


class StatusRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The end of a status: subject and detail, or the subject alone (`4.*`)."""

    status: str
    type: str
    subtype: str


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`bounces.toml`."""

    words: tuple[WordRule, ...]
    status: tuple[StatusRule, ...]


@cache
def table() -> Table:
    """The table.

    Raises:
        msgspec.ValidationError: if it has an unknown key or a wrong type.
    """
    data = resources.files("pipelines.mail.kinds").joinpath("bounces.toml").read_bytes()
    return msgspec.toml.decode(data, type=Table)


@cache
def _words() -> tuple[tuple[WordRule, re.Pattern[str]], ...]:
    return tuple((rule, re.compile(rule.pattern, re.IGNORECASE)) for rule in table().words)


@cache
def _statuses() -> dict[str, tuple[str, str]]:
    return {rule.status: (rule.type, rule.subtype) for rule in table().status}


def status_in(text: str) -> str:
    """The first enhanced status code (RFC 3463) in a text, of a failure if there is one; empty: there is none."""
    found = _FAILED.search(text[:_LOOKED_AT]) or _STATUS.search(text[:_LOOKED_AT])
    return found[1] if found else ""


def code_in(text: str) -> str:
    """The first SMTP reply code (RFC 5321, 4.2) in a text; empty where there is none."""
    found = _CODE.search(text[:_LOOKED_AT])
    return found[1] if found else ""


@lru_cache(_KEPT)
def classify(status: str, reply: str) -> tuple[str, str]:
    """Type and subtype of a bounce that is final. Both may be empty."""
    text = reply[:_LOOKED_AT]
    transient = (status or code_in(text)).startswith("4")
    said = next(((rule.type, rule.subtype) for rule, pattern in _words() if pattern.search(text)), None)
    if transient:
        # Class 4 says that it might have gone well later (RFC 3463, 3.1): nothing is wrong for good.
        said = said or (_statuses()[status[2:]] if status[2:] in _SOFT else _SOFT_GENERAL)
        return _SOFT_GENERAL if said[0] == "Permanent" else said
    told = _of_status(status)
    if said == _HARD_GENERAL and told is not None and told[0] == "Permanent":
        return told
    return (
        said or told or (_HARD_GENERAL if code_in(text).startswith("5") else ("Undetermined", "Undetermined"))
    )


def _of_status(status: str) -> tuple[str, str] | None:
    """Of class 5; None of any other."""
    if not status.startswith("5"):
        return None
    rows, subject = _statuses(), status[2:].partition(".")[0]
    return rows.get(status[2:]) or rows.get(f"{subject}.*") or _HARD_GENERAL


_SOFT: Final = frozenset({"2.2", "2.3", "3.4"})
"""Statuses that mean the same in either class."""
