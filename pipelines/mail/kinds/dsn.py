"""Delivery status notifications: RFC 3464, and RFC 6533 for addresses beyond ASCII."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pipelines.intake.addresses import bare
from pipelines.mail.dates import millis_of
from pipelines.mail.kinds.classification import status_in
from pipelines.mail.kinds.fields import Group, every, first, groups_of
from pipelines.mail.kinds.rows import MAX_ROWS, Report, Reports

if TYPE_CHECKING:
    from pipelines.mail.kinds.facts import Facts
    from pipelines.mail.parsed import Part

TYPES: Final = ("message/delivery-status", "message/global-delivery-status")
_OF_RECIPIENT: Final = frozenset(
    {
        "final-recipient",
        "original-recipient",
        "action",
        "status",
        "remote-mta",
        "diagnostic-code",
        "last-attempt-date",
        "final-log-id",
        "will-retry-until",
    }
)
"""RFC 3464, section 2.3."""
_STARTS: Final = ("final-recipient", "original-recipient")
_ACTIONS: Final = ("failed", "delayed", "delivered", "relayed", "expanded")
_COMMENT: Final = re.compile(r"\([^()]*\)")
_TYPED: Final = re.compile(r"\s*[A-Za-z0-9_-]{1,30}\s*;\s*")
_EMBEDDED: Final = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")


def status_part(facts: Facts) -> Part | None:
    """The part that holds the status of a delivery, unless it is in a message that somebody sent on."""
    return next((part for part in facts.mail.parts if part.content_type in TYPES), None)


def read(text: str) -> tuple[list[Report], Group]:
    """Recipients, one more than are kept at most, and the fields of the message as a whole. `text`: of the part."""
    message: Group = []
    recipients: list[Group] = []
    for group in groups_of(text):
        for piece in _pieces(group):
            if not any(name in _OF_RECIPIENT for name, _ in piece):
                message += piece
            elif recipients and _continues(recipients[-1], piece):
                recipients[-1] += piece
            else:
                recipients.append(piece)
            message += [field for field in piece if field[0] not in _OF_RECIPIENT]
    return [_report(group) for group in recipients[: MAX_ROWS + 1]], message


def _pieces(group: Group) -> list[Group]:
    """A group, cut where a recipient begins without a blank line before it."""
    pieces: list[Group] = [[]]
    for name, value in group:
        if name in _STARTS and any(key == name for key, _ in pieces[-1]):
            pieces.append([])
        pieces[-1].append((name, value))
    return pieces


def _continues(before: Group, piece: Group) -> bool:
    """Whether a blank line cut a group in two: one half has the address, the other the action."""
    had, has = {name for name, _ in before}, {name for name, _ in piece}
    return not (had & has & _OF_RECIPIENT) and not (set(_STARTS) & had and set(_STARTS) & has)


def _report(group: Group) -> Report:
    reply = reply_of(first(group, "diagnostic-code"))
    action = first(group, "action").lower()
    return Report(
        address=address_of(first(group, "final-recipient") or first(group, "original-recipient"))
        or address_of(first(group, "original-recipient", "x-actual-recipient")),
        action=next((word for word in _ACTIONS if action.startswith(word)), ""),
        status=status_of(first(group, "status"), reply),
        reply=reply,
        remote_mta=first(group, "remote-mta"),
        time=millis_of(first(group, "last-attempt-date")),
    )


def status_of(value: str, reply: str) -> str:
    """A status without comments; where it is missing or general (`5.0.0`), that of the reply."""
    status = status_in(_COMMENT.sub(" ", value)) or status_in(value)
    if not status or status.endswith(".0.0"):
        told = status_in(reply)
        if told and (not status or (told[0] == status[0] and not told.endswith(".0.0"))):
            return told
    return status


def reply_of(diagnostic: str) -> str:
    """A Diagnostic-Code without its type."""
    return _TYPED.sub("", diagnostic, count=1) if _TYPED.match(diagnostic) else diagnostic.strip()


def address_of(value: str) -> str:
    r"""The address of `rfc822;a@b` or `utf-8;ü@b` (RFC 6533, section 3: `\x{FC}` stands for `ü`); empty: none."""
    kind, semicolon, address = value.partition(";")
    text = (address if semicolon else kind).strip()
    if kind.strip().lower() == "utf-8":
        text = _EMBEDDED.sub(_character, text)
    text = bare(text.strip().strip("<>"))
    return text if "@" in text else ""


def _character(found: re.Match[str]) -> str:
    number = int(found[1], 16)
    return chr(number) if number < 0x110000 else "\N{REPLACEMENT CHARACTER}"  # noqa: PLR2004


def reports_of(facts: Facts, part: Part) -> tuple[Reports, list[str]]:
    """What a DSN says, and ids it names of the message it is about."""
    recipients, message = read(part.text or part.content[:1_000_000].decode("utf-8", "replace"))
    action = _action_of(facts)
    for report in recipients:
        if not report.action:
            report.action = "delivered" if report.status.startswith("2") else action
    found = Reports("RFC 3464 report", recipients, first(message, "reporting-mta"))
    named = every(message, "original-envelope-id") + every(message, "x-original-message-id")
    return found, named + [address_of(value) for value in every(message, "x-postfix-sender")]


def _action_of(facts: Facts) -> str:
    """Of a report that does not say."""
    subject = facts.subject.lower()
    return "delayed" if "delay" in subject or subject.startswith("warning") else "failed"
