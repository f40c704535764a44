"""`named_in`: the recipients that a text names between two markers.

Only what the sender wrote counts: quoted lines, and all that follows a line with which programs begin a quotation, are
left out, or an answer to an old mail would have its recipients once more. HTML is not read at all, for it can hold
text that nobody sees.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pipelines.mail.distribution.policy import Unsuitable, valid, within

if TYPE_CHECKING:
    from pipelines.mail.distribution.policy import DistributionPolicy

_LONGEST: Final = 16 * 1024
"""Characters between the markers: some hundred addresses with names, and no more."""
_SHOWN: Final = 120
_QUOTED: Final = re.compile(r"[ \t]{0,8}[>|]")
_QUOTATION: Final = re.compile(
    r"[ \t]*(-{2,} ?(original message|forwarded message|original-nachricht|message d'origine) ?-{2,}|_{20,}"
    r"|begin forwarded message:|on .{1,300} wrote:)[ \t]*",
    re.IGNORECASE,
)
_BETWEEN: Final = re.compile(r"[,;\r\n]+")
_IN_BRACKETS: Final = re.compile(r"[^<>]{0,200}<([^<>]{1,300})>")


@dataclass(frozen=True, slots=True)
class Named:
    """What a text names."""

    recipients: tuple[str, ...]
    """Valid and allowed, each once, in order."""
    refused: tuple[tuple[str, str], ...]
    """What else stands there, cut, and a word for what is wrong with it: `malformed` or `domain_not_allowed`."""
    rest: str
    """The text that the sender wrote, without markers and what is between them."""


def named_in(text: str, policy: DistributionPolicy) -> Named:
    """Read a plain text.

    Raises:
        Unsuitable: there are no markers, more than one pair, or too much between them.
    """
    own = _own(text)
    start = own.find(policy.begin)
    if start < 0:
        raise Unsuitable("markers_missing", f"its text has no {policy.begin!r}")
    if own.find(policy.begin, start + 1) >= 0:
        raise Unsuitable("markers_repeated", f"its text has more than one {policy.begin!r}")
    first = start + len(policy.begin)
    end = own.find(policy.end, first)
    if end < 0:
        raise Unsuitable("markers_unclosed", f"its text has no {policy.end!r} after {policy.begin!r}")
    if end - first > _LONGEST:
        raise Unsuitable("too_many_recipients", f"there are {end - first} characters between the markers")
    recipients, refused = _sorted_out(own[first:end], policy)
    return Named(recipients, refused, own[:start] + own[end + len(policy.end) :])


def _own(text: str) -> str:
    kept: list[str] = []
    for line in text.splitlines():
        if _QUOTATION.fullmatch(line):
            break
        if not _QUOTED.match(line):
            kept.append(line)
    return "\n".join(kept)


def _sorted_out(
    between: str, policy: DistributionPolicy
) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    found: dict[str, str] = {}
    refused: dict[str, str] = {}
    for item in _items(between):
        if len(found) + len(refused) > policy.at_most:
            break
        address = valid(item)
        if not address:
            refused.setdefault(item[:_SHOWN], "malformed")
        elif not within(address.rpartition("@")[2], policy.allowed_domains):
            refused.setdefault(address, "domain_not_allowed")
        else:
            found.setdefault(address.lower(), address)
    if len(found) + len(refused) > policy.at_most:
        raise Unsuitable("too_many_recipients", f"it names more than {policy.at_most} recipients")
    return tuple(found.values()), tuple(refused.items())


def _items(between: str) -> list[str]:
    """`a@b, Name <c@d>; e@f g@h`: what may be addresses, with names and brackets taken off."""
    items: list[str] = []
    for piece in _BETWEEN.split(between):
        stripped = piece.strip()
        if match := _IN_BRACKETS.fullmatch(stripped):
            items.append(match[1].strip())
        elif "<" in stripped or ">" in stripped:
            items.append(stripped)
        else:
            items.extend(stripped.split())
    return items
