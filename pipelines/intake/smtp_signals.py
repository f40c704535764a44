"""Whether an SMTP reply, or a delay of SES's own, is about the sender's reputation."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from importlib import resources
from typing import Final

import msgspec

_KEPT: Final = 8192
"""Replies remembered: providers say the same few things, apart from a queue id."""


class Signal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row of `smtp_signals.toml`."""

    provider: str
    name: str
    pattern: str


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`smtp_signals.toml`."""

    delay_types: tuple[str, ...]
    signal: tuple[Signal, ...]


@cache
def table() -> Table:
    """The table.

    Raises:
        msgspec.ValidationError: if it has an unknown key or a wrong type.
    """
    data = resources.files("pipelines.intake").joinpath("smtp_signals.toml").read_bytes()
    return msgspec.toml.decode(data, type=Table)


@cache
def _any_signal() -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{signal.pattern})" for signal in table().signal), re.IGNORECASE)


_LOOKED_AT: Final = 2048
"""Characters of a reply: an SMTP line has 512 (RFC 5321, 4.5.3.1.5), and the code stands in the first."""


def is_reputation_signal(reply: str) -> bool:
    """Of a reply as the receiver gave it, however many lines."""
    return _signals(reply[:_LOOKED_AT])


@lru_cache(_KEPT)
def _signals(reply: str) -> bool:
    return _any_signal().search(" ".join(reply.split())) is not None


def is_reputation_delay(delay_type: str) -> bool:
    """Of a `deliveryDelay.delayType`."""
    return delay_type in table().delay_types


def reply_of(diagnostic_code: str) -> str:
    """The SMTP reply in an RFC 3464 Diagnostic-Code: without its type `smtp;`."""
    kind, semicolon, reply = diagnostic_code.partition(";")
    return reply.strip() if semicolon and kind.strip().lower() == "smtp" else diagnostic_code.strip()
