"""Which header fields SES wrote itself, and what they say; whether a mail claims to have been relayed.

SES prepends its fields to a mail (Return-Path, Received, X-SES-Spam-Verdict, X-SES-Virus-Verdict, Received-SPF,
Authentication-Results, X-SES-RECEIPT, X-SES-DKIM-SIGNATURE, in this order). A sender may put any of them into the mail;
these stand below. So the topmost Received has to be SES's; then what is above it counts, and what follows it in SES's
order, up to the first field that is out of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pipelines.mail import authentication
from pipelines.mail.authentication import NO_VERDICTS
from pipelines.mail.dates import millis_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipelines.mail.parsed import Headers
    from schemas.mail import Verdicts

_AUTHSERV: Final = "amazonses.com"
_RESULTS: Final = "authentication-results"
_ORDER: Final = {
    "x-ses-spam-verdict": 1,
    "x-ses-virus-verdict": 2,
    "received-spf": 3,
    _RESULTS: 4,
    "x-ses-receipt": 5,
    "x-ses-dkim-signature": 6,
}
_RECEIVED: Final = re.compile(
    r"from \S{1,255}(?: \([^()]{0,500}\))? by inbound-smtp\.(?P<region>[a-z0-9-]{1,30})"
    r"\.amazonaws\.com(?:\.cn)?(?![\w-]|\.\w)"
    r"(?: with E?SMTPS? id <?(?P<id>[A-Za-z0-9-]{16,128})>?(?: for <?(?P<recipient>[^\s<>;]{1,320})>?)?)?"
)
_RECEIVED_CHARACTERS: Final = 4096
_VALUE: Final = re.compile(r"[A-Z_]{1,20}")
_ORIGINATOR: Final = "X-MAIL-MANAGER-ORIGINATOR-ORG"
_ORIGINATOR_CHARACTERS: Final = 255


@dataclass(frozen=True, slots=True)
class Stamp:
    """What SES's own header fields say; all empty where it wrote none."""

    ses_id: str = ""
    region: str = ""
    recipient: str = ""
    """Of the envelope: one of them."""
    time: int = 0
    """When it was received, ms."""
    envelope_from: str | None = None
    """None: no Return-Path says it. Empty for `<>`."""
    verdicts: Verdicts = field(default_factory=NO_VERDICTS.copy)
    authentication_results: tuple[str, ...] = ()


def stamp_of(headers: Headers) -> Stamp:
    """Read SES's own fields."""
    names = [name.lower() for name, _ in headers.fields]
    if "received" not in names:
        return Stamp(envelope_from=_return_path(headers, names, len(names)))
    place = names.index("received")
    envelope_from = _return_path(headers, names, place)
    received = " ".join(headers.fields[place][1][:_RECEIVED_CHARACTERS].split())
    match = _RECEIVED.match(received)
    if match is None:
        return Stamp(envelope_from=envelope_from)
    verdicts, results = _read([*headers.fields[:place], *_following(headers, names, place + 1)])
    return Stamp(
        ses_id=match["id"] or "",
        region=match["region"],
        recipient=match["recipient"] or "",
        time=millis_of(received.rpartition(";")[2]),
        envelope_from=envelope_from,
        verdicts=verdicts,
        authentication_results=results,
    )


def hop_time_of(headers: Headers) -> int:
    """When the last server that had the mail says it got it (ms; 0: it does not): of mail that others received."""
    return millis_of(headers.get("Received")[:_RECEIVED_CHARACTERS].rpartition(";")[2])


def _return_path(headers: Headers, names: list[str], before: int) -> str | None:
    """Of the last hop: above all Received."""
    place = next((place for place in range(before) if names[place] == "return-path"), -1)
    return headers.fields[place][1].strip().strip("<>").strip() if place >= 0 else None


def _following(headers: Headers, names: list[str], place: int) -> Iterator[tuple[str, str]]:
    """Fields in SES's order, up to the first that is out of it: that is the sender's."""
    rank = 0
    while place < len(names) and (next_rank := _ORDER.get(names[place], 0)) > rank:
        if names[place] == _RESULTS and authentication.authserv_id(headers.fields[place][1]) != _AUTHSERV:
            return
        yield headers.fields[place]
        rank, place = next_rank, place + 1


def _read(own: list[tuple[str, str]]) -> tuple[Verdicts, tuple[str, ...]]:
    """Verdicts and Authentication-Results of fields that are SES's; of a name the first counts."""
    found: dict[str, str] = {}
    for field_name, value in own:
        name = field_name.lower()
        if name != _RESULTS or authentication.authserv_id(value) == _AUTHSERV:
            found.setdefault(name, value.strip())
    results = found.get(_RESULTS, "")
    verdicts = authentication.verdicts_of(results)
    verdicts["spf"] = verdicts["spf"] or authentication.verdict_of(
        found.get("received-spf", "").partition(" ")[0]
    )
    verdicts["spam"] = _verdict(found.get("x-ses-spam-verdict", ""))
    verdicts["virus"] = _verdict(found.get("x-ses-virus-verdict", ""))
    return verdicts, (results,) if results else ()


def _verdict(value: str) -> str:
    upper = value.upper()
    return upper if _VALUE.fullmatch(upper) else ""


def filled(given: Verdicts | None, stamped: Verdicts) -> Verdicts:
    """The notice's verdicts; what it does not say is as SES's header fields have it."""
    if given is None:
        return stamped
    both = stamped.copy()
    for name, value in given.items():
        if value:
            both[name] = value  # type: ignore[literal-required]
    return both


def relay_of(headers: Headers, expected: Iterable[str]) -> tuple[str, str]:
    """Whether a mail claims to have come through Mail Manager, one of `RELAYS`; and the organisation it names.

    The field is there for anybody to write (as those abused in "EchoSpoofing" were), so it makes nothing trusted; it is
    `expected` only if each one the mail has names an organisation of the setting.
    """
    named = [value.strip()[:_ORIGINATOR_CHARACTERS] for value in headers.all(_ORIGINATOR)]
    if not named:
        return "", ""
    known = {value.strip().lower() for value in expected}
    strange = [value for value in named if value.lower() not in known]
    return ("unexpected", strange[0]) if strange else ("expected", named[0])
