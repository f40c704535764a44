"""Bounces in prose: whom they name, and what was said. The words are data: `prose.toml`."""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Final

import msgspec

from pipelines.mail.addresses import listed
from pipelines.mail.kinds import dsn
from pipelines.mail.kinds.classification import classify, code_in, status_in
from pipelines.mail.kinds.rows import Report, Reports

if TYPE_CHECKING:
    from pipelines.mail.kinds.facts import Facts

ADDRESS: Final = r"<?([^\s<>\",;:()\[\]@]{1,128}@[A-Za-z0-9.-]{0,254}[A-Za-z0-9])>?"
"""Local parts longer than RFC 5321's 64 occur; what has no bound would cost its square."""
_OPENS_WITHIN: Final = 120
"""Lines of a text in which its opening is looked for."""
_ANY: Final = "other"
"""The form of phrases that are no system's alone."""
_SEGMENT: Final = 25
"""Lines after a recipient that may say what happened to it."""
_LONGEST: Final = 6
"""Lines of a reply."""
_OWN_LINE: Final = re.compile(
    r"[ \t]*(?:(?:[*>]|--|>>>|[0-9]{1,3}[.)]) ?)?(?:To: ?)?[\"']?"
    + ADDRESS
    + r"[\"']?(?=[\s:<(\[]|\.\.\. |$)(.{0,500})"
)
_REST: Final = re.compile(
    r"\s*(?:<[^<>]{0,320}>)?\s*(?::|$|\(|\[|on [A-Z0-9]|invalid|\.\.\. )", re.IGNORECASE
)
_REPLY: Final = re.compile(r"(?:^|[\s:>(\"'])([245][0-5]\d(?:[- ]|:\s)(?=\S).{0,900})")
_HEADER: Final = re.compile(
    r"(?:Received|Return-Path|DKIM-Signature|X-Received|MIME-Version|Message-ID): ?\S", re.IGNORECASE
)
_FIELD: Final = re.compile(r"(?:Final-Recipient|Original-Recipient):", re.IGNORECASE)
_FIELDS: Final = re.compile(
    r"(?:Reporting-MTA|Final-Recipient|Original-Recipient|Action|Arrival-Date|Original-Envelope-Id):",
    re.IGNORECASE,
)


class Form(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a mail system begins."""

    name: str
    opening: tuple[str, ...]


class Patterns(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Patterns of lines."""

    patterns: tuple[str, ...]


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`prose.toml`."""

    form: tuple[Form, ...]
    subjects: Patterns
    delayed: Patterns
    returned: Patterns
    recipients: Patterns


@cache
def table() -> Table:
    """The table.

    Raises:
        msgspec.ValidationError: if it has an unknown key or a wrong type.
    """
    data = resources.files("pipelines.mail.kinds").joinpath("prose.toml").read_bytes()
    return msgspec.toml.decode(data, type=Table)


def _any(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{each})" for each in patterns), re.IGNORECASE)


class _Compiled:
    """Patterns of the table, made once."""

    def __init__(self) -> None:
        rows = table()
        self.forms = [(form.name, _any(form.opening)) for form in rows.form]
        self.opening = _any(tuple(each for form in rows.form for each in form.opening))
        self.subjects = _any(rows.subjects.patterns)
        self.delayed = _any(rows.delayed.patterns)
        self.returned = _any(rows.returned.patterns)
        self.recipients = [
            re.compile(each.replace("{address}", ADDRESS + r"(?=[\s>,;:.)\"']|$)"), re.IGNORECASE)
            for each in rows.recipients.patterns
        ]


@cache
def _compiled() -> _Compiled:
    return _Compiled()


def form_of(facts: Facts) -> str:
    """Which mail system's bounce a mail is; empty: it is none."""
    if not facts.machine:
        return ""
    patterns = _compiled()
    found = ""
    for line in facts.lines[:_OPENS_WITHIN]:
        start = line.strip()
        if start and patterns.opening.match(start):
            found = next(name for name, pattern in patterns.forms if pattern.match(start))
            if found != _ANY:
                return found
    if found:
        return found
    if facts.failed:
        return "X-Failed-Recipients"
    # A postmaster is a person, too, who answers.
    if facts.daemon and not facts.prefixed and patterns.subjects.search(facts.subject):
        return "subject"
    return ""


def is_sure(form: str, facts: Facts) -> bool:
    """Whether a mail of this form is a bounce though it names nobody.

    Phrases are not: parcels "could not be delivered" as well, and whoever left a firm has his vacation program say so.
    """
    return form != _ANY or facts.daemon or bool(facts.failed)


def reports_of(facts: Facts, form: str) -> Reports:
    """What a bounce in prose says."""
    lines = facts.lines
    end = end_of(lines)
    said = lines[:end]
    found = _fields_in(said) or _recipients_in(said, facts)
    action = "delayed" if _delays(said, facts.subject) else "failed"
    for report in found:
        report.action = report.action or action
    return Reports(f"bounce in prose: {form}", found)


def end_of(lines: list[str]) -> int:
    """The line at which the returned message begins; their number where there is none."""
    returned = _compiled().returned
    for number, line in enumerate(lines):
        if _HEADER.match(line) or returned.match(line.strip()):
            return number
    return len(lines)


def headers_in(facts: Facts) -> list[tuple[str, str]]:
    """Header fields of a message that is returned in the text itself."""
    fields: list[tuple[str, str]] = []
    lines = facts.lines
    for line in lines[end_of(lines) :]:
        if line[:1] in (" ", "\t") and fields:
            name, value = fields[-1]
            fields[-1] = (name, f"{value} {line.strip()}")
            continue
        name, colon, value = line.lstrip("> ").partition(":")
        if colon and name.replace("-", "").isalnum():
            fields.append((name, value.strip()))
        elif len(fields) > 2:  # noqa: PLR2004
            break
    return fields


def reply_for(facts: Facts, address: str, end: int, *, alone: bool) -> str:
    """What a text says, up to line `end`, of whom a report names without a reply. `alone`: there is no other."""
    lines, wanted = facts.lines, address.lower()
    number = (
        next((n for n, line in enumerate(facts.lowered[:end]) if wanted in line), None) if wanted else None
    )
    reply = _reply(lines[number : min(end, number + _SEGMENT)]) if number is not None else ""
    if not reply and number is not None:
        reply = _said_at(lines[number]) or ""
    return reply or (_reply(lines[:end]) or _prose(lines[:end]) if alone else "")


def _said_at(line: str) -> str | None:
    """What follows a recipient that a line begins with; None: it begins with none."""
    found = _OWN_LINE.match(line)
    return found[2].lstrip(" :") if found and _REST.match(found[2]) else None


def _delays(lines: list[str], subject: str) -> bool:
    delayed = _compiled().delayed
    return any(delayed.search(line) for line in (subject, *lines[:_OPENS_WITHIN]))


def _fields_in(lines: list[str]) -> list[Report]:
    """Of a text that has the fields of a report in it."""
    start = next((n for n, line in enumerate(lines) if _FIELDS.match(line.strip())), None)
    if start is None or not any(_FIELD.match(line.strip()) for line in lines[start:]):
        return []
    reports, _ = dsn.read("\n".join(line.strip() for line in lines[start:]))
    return [report for report in reports if report.address]


def _recipients_in(lines: list[str], facts: Facts) -> list[Report]:
    found = _on_own_lines(lines, facts) or _in_words(lines, facts)
    if failed := facts.failed:
        # Whoever writes this field knows best; lines then only say what happened to whom.
        places = {address.lower(): number for address, number in found.items()}
        found = {address: places.get(address.lower(), -1) for address in failed}
    starts = sorted(number for number in found.values() if number >= 0)
    reports = []
    for address, number in found.items():
        reply = _said_of(lines, number, starts, alone=len(found) == 1)
        reports.append(Report(address=address, status=status_in(reply), reply=reply))
    return reports


def _on_own_lines(lines: list[str], facts: Facts) -> dict[str, int]:
    """Recipients that a line begins with, and the number of that line."""
    found: dict[str, int] = {}
    for number, line in enumerate(lines):
        match = _OWN_LINE.match(line) if "@" in line else None
        if match and _REST.match(match[2]) and not _ours(match[1], facts):
            found.setdefault(match[1], number)
    return found


def _in_words(lines: list[str], facts: Facts) -> dict[str, int]:
    """Recipients that words name, other than those to whom the bounce was sent."""
    own = {address.lower() for address in listed(facts.mail.headers, "to")}
    for pattern in _compiled().recipients:
        found: dict[str, int] = {}
        for number, line in enumerate(lines):
            match = pattern.search(line) if "@" in line else None
            if match and not _ours(match[1], facts) and match[1].lower() not in own:
                found.setdefault(match[1], number)
        if found:
            return found
    return {}


def _ours(address: str, facts: Facts) -> bool:
    """Whether it is the machine's own address."""
    return address.lower() == facts.sender or address.lower().startswith("mailer-daemon@")


def _said_of(lines: list[str], number: int, starts: list[int], *, alone: bool) -> str:
    """What is said of the recipient that line `number` names."""
    if number < 0:
        return (_reply(lines) or _prose(lines)) if alone else ""
    place = bisect_right(starts, number)
    following = starts[place] if place < len(starts) else len(lines)
    segment = lines[number : min(following, number + _SEGMENT)]
    first = _said_at(segment[0])
    if first is not None:
        segment = [first, *segment[1:]]
    reply = _reply(segment) or (_reply(lines[:number]) if alone else "")
    return reply or _telling([_prose(segment), _prose_before(lines, number)])


def _telling(said: list[str]) -> str:
    """The first of some words that say what kind of failure it is; else the first."""
    told = (words for words in said if words and classify("", words)[0] != "Undetermined")
    return next(told, "") or next(filter(None, said), "")


def _reply(lines: list[str]) -> str:
    """The first SMTP reply in some lines, with the lines it goes on in; else the line with an enhanced status."""
    for number, line in enumerate(lines):
        if found := _REPLY.search(line):
            return _whole(found[1], lines[number + 1 :])
    for number, line in enumerate(lines):
        if status_in(line):
            return _whole(line.strip(), lines[number + 1 :])
    return ""


def _whole(first: str, rest: list[str]) -> str:
    reply, code = [first], code_in(first[:4])
    for line in rest[: _LONGEST - 1]:
        if not line.strip() or line.lstrip().startswith((">>>", "<<<", "---", "Giving up", "[")):
            break
        if not line[0].isspace() and "@" in line and _said_at(line) is not None:
            break  # the next recipient
        if code_in(line[:4]) not in ("", code):
            break  # the next reply: lines of one have one code (RFC 5321, 4.2.1)
        reply.append(line.strip())
    return " ".join(reply)


def _prose(segment: list[str]) -> str:
    said = [line.strip() for line in segment if line.strip(" -=*")]
    return " ".join(said[:_LONGEST])


def _prose_before(lines: list[str], number: int) -> str:
    return _prose([line for line in lines[max(0, number - _LONGEST) : number + 1] if line.strip()])
