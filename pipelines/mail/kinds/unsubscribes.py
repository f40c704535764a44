"""Requests of List-Unsubscribe by mail (RFC 2369, section 3.2). Their words are data: `unsubscribes.toml`."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Final

import msgspec

from pipelines.mail.addresses import listed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipelines.mail.addresses import Pseudonyms
    from pipelines.mail.kinds.facts import Facts
    from pipelines.mail.policy import MailPolicy

_ADDRESS: Final = re.compile(r"[^\s<>\",;:()@=]{1,64}[@=][A-Za-z0-9.-]{1,255}\.[A-Za-z]{2,63}")
_NAMED: Final = 20
"""Things that a mail unsubscribes from at most."""
_LONGEST: Final = 320
"""Characters of an address, and of what is kept (RFC 5321, 4.5.3.1: 64 + 1 + 255)."""
_RECIPIENTS: Final = 1_000
_LINES: Final = 12
"""Lines that a request has at most: people write more."""


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`unsubscribes.toml`."""

    headers: tuple[str, ...]
    subjects: tuple[str, ...]
    lines: tuple[str, ...]


@cache
def table() -> Table:
    """The table.

    Raises:
        msgspec.ValidationError: if it has an unknown key or a wrong type.
    """
    data = resources.files("pipelines.mail.kinds").joinpath("unsubscribes.toml").read_bytes()
    return msgspec.toml.decode(data, type=Table)


@cache
def _subjects() -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{each})" for each in table().subjects), re.IGNORECASE)


@cache
def _lines() -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{each})" for each in table().lines), re.IGNORECASE)


@lru_cache(16)
def _addresses(patterns: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Patterns as the texts between their `*`: several `.*` of a regular expression cost a power of the length."""
    return tuple(tuple(each.lower().split("*")) for each in patterns)


def matched(address: str, pieces: tuple[str, ...]) -> list[str] | None:
    """What the `*` of a pattern stand for in an address; None: it is another's."""
    if len(pieces) == 1:
        return [] if address == pieces[0] else None
    if not address.startswith(pieces[0]):
        return None
    position, stands = len(pieces[0]), []
    for piece in pieces[1:-1]:
        found = address.find(piece, position)
        if found < 0:
            return None
        stands.append(address[position:found])
        position = found + len(piece)
    end = len(address) - len(pieces[-1])
    if end < position or not address.endswith(pieces[-1]):
        return None
    return [*stands, address[position:end]]


def recipients_of(facts: Facts) -> list[str]:
    """Whom it was sent to: of the envelope where that is known."""
    known = facts.notice.recipients if facts.notice else ()
    return [
        each
        for each in (known or listed(facts.mail.headers, "to", "cc"))[:_RECIPIENTS]
        if len(each) <= _LONGEST
    ]


def read(facts: Facts, policy: MailPolicy, pseudonyms: Pseudonyms) -> tuple[str, list[str]]:
    """Why it is one, and what it unsubscribes from; two empties: it is none."""
    tags = _tags(facts, policy)
    subject = _subjects().fullmatch(facts.subject)
    program = next((name for name in table().headers if facts.has(name)), "")
    if tags is not None:
        why = "sent to a list address"
    elif program:
        why = program
    elif subject and not facts.answers and _bare(facts.lines):
        why = "List-Unsubscribe by mail"
    else:
        return "", []
    said = _group(subject) if subject else facts.subject if tags is not None else ""
    return why, _kept([*(tags or ()), said], policy, pseudonyms)


def requested(facts: Facts) -> bool:
    """Whether its subject is nothing but a request, or a mail program says so: then no vacation notice wrote it."""
    return (
        any(facts.has(name) for name in table().headers) or _subjects().fullmatch(facts.subject) is not None
    )


def _tags(facts: Facts, policy: MailPolicy) -> list[str] | None:
    """What list addresses among its recipients name; None: there is none."""
    patterns = _addresses(policy.list_addresses)
    found: list[str] | None = None
    for address in recipients_of(facts) if patterns else ():
        lower = address.lower()
        for pieces in patterns:
            stands = matched(lower, pieces)
            if stands is not None:
                tag = address.rpartition("@")[0].partition("+")[2]
                found = [*(found or ()), *(stands if any(stands) and not tag else [tag])]
                break
    return found


def _bare(lines: list[str]) -> bool:
    """Whether nobody wrote anything of his own."""
    said = [line.strip() for line in lines if line.strip()]
    if "--" in said:  # a signature, RFC 3676, section 4.3
        said = said[: said.index("--")]
    return len(said) <= _LINES and all(_lines().fullmatch(line) for line in said)


def _group(found: re.Match[str]) -> str:
    return next((group for group in found.groups() if group), "")


def _kept(named: Iterable[str], policy: MailPolicy, pseudonyms: Pseudonyms) -> list[str]:
    """Each once; addresses in it, those of VERP (`ann=example.net`) too, as rows have them."""
    kept = [each.strip()[:_LONGEST] for each in named if each.strip()]
    if policy.pii != "plain":
        kept = [_ADDRESS.sub(lambda found: _person(found[0], pseudonyms), each) for each in kept]
    return list(dict.fromkeys(kept))[:_NAMED]


def _person(address: str, pseudonyms: Pseudonyms) -> str:
    return pseudonyms.recipient(address if "@" in address else "@".join(address.rsplit("=", 1))).address
