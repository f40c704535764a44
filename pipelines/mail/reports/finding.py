"""Where in a mail there is a report: by what its parts hold. What it says of itself is a hint, for broken reports."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal

from pipelines.mail.reports import aggregate, tls
from pipelines.mail.reports.failure import is_failure
from pipelines.mail.reports.refusal import Refused
from pipelines.mail.reports.unpacking import peek, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.mail.parsed import ParsedMail, Part
    from pipelines.mail.policy import Limits
    from schemas.mail import DmarcRecord, TlsResult

Form = Literal["", "dmarc", "tls_report"]
_FEEDBACK: Final = re.compile(rb"<(?:[\w.-]{1,40}:)?feedback[\s>/]", re.IGNORECASE)
_TLS_KEYS: Final = (b'"organization-name"', b'"policies"', b'"date-range"', b'"report-id"')
_LEAST_KEYS: Final = 2
_SUBJECT: Final = re.compile(
    r"\s*(?:dmarc aggregate )?report[ -]domain:\s*\S+.{0,300}submitter:", re.IGNORECASE | re.DOTALL
)
"""RFC 7489, section 7.2.1.1; RFC 8460, section 5.3."""
_FILE: Final = re.compile(
    r"[^!]{0,255}![^!]{1,255}!\d{9,11}!\d{9,11}[^/]{0,255}\.(?:xml|json|gz|zip)(?:\.\w+)?", re.IGNORECASE
)
_PACKED: Final = re.compile(
    r"application/(?:x-)?(?:gzip|zip(?:-compressed)?|xml|octet-stream|tlsrpt.*)|text/xml"
)
_TLSRPT: Final = "tlsrpt"
_REPORTS: Final = 50
"""Of a mail; it is one, but for those that somebody forwards together. All share the limit on what is inflated."""
_MAILS: Final = 10
"""Mails within a mail that are looked into."""


@dataclass(slots=True)
class Reports:
    """What the reports of a mail say; what a report does not know (`tenant`, `received_time`, `mail_id`) is empty."""

    dmarc: list[DmarcRecord] = field(default_factory=list)
    tls: list[TlsResult] = field(default_factory=list)
    refusals: list[tuple[str, str]] = field(default_factory=list)
    """Cause and detail of what is not taken: whole reports, or the rest of a damaged one."""
    defects: list[str] = field(default_factory=list)
    """What was wrong though nothing is lost by it, in a word each."""


def looks_like_report(mail: ParsedMail) -> Form:
    """Whether a mail brings a report: `dmarc` (aggregate or failure), `tls_report`, or empty. Cheap; never raises."""
    found = [form for _, form in _parts(mail) if form]
    if found:
        return "dmarc" if "dmarc" in found else "tls_report"
    return "dmarc" if is_failure(mail) else ""


def reports_of(mail: ParsedMail, limits: Limits) -> Reports:
    """All aggregate and TLS reports of a mail. Never raises; bounded by the limits in time and memory."""
    found = Reports()
    left = limits.inflated
    for number, (content, form) in enumerate((part.content, form) for part, form in _parts(mail) if form):
        if number >= _REPORTS or len(found.dmarc) + len(found.tls) >= aggregate.MOST_RECORDS:
            found.refusals.append(
                ("too_many_records", f"only the first {number} reports of the mail are read")
            )
            break
        left -= _take(found, content, form, mail, replace(limits, inflated=left))
    return found


def _take(found: Reports, content: bytes, form: Form, mail: ParsedMail, limits: Limits) -> int:
    """Read one report; how many bytes of the limit that took."""
    size = 0
    try:
        unpacked = unpack(content, limits)
        size = len(unpacked.data)
        _note(found.defects, unpacked.defects)
        if (_form_of(unpacked.data) or form) == "dmarc":
            aggregated = aggregate.parse(unpacked.data)
            found.dmarc += aggregated.records
            found.refusals += aggregated.refusals
            _note(found.defects, aggregated.defects)
        else:
            told = tls.parse(unpacked.data, mail.headers.get("TLS-Report-Domain"))
            found.tls += told.results
            found.refusals += told.refusals
    except Refused as refused:
        # What was inflated in vain has taken its time too.
        size = limits.inflated if refused.cause == "inflates_too_much" else size
        found.refusals.append((refused.cause, refused.detail))
    except Exception as error:  # noqa: BLE001 - a report must not take its mail with it
        found.refusals.append(("internal_error", f"{type(error).__name__}: {error}"[:300]))
    return min(size, limits.inflated)


def _note(defects: list[str], more: list[str]) -> None:
    defects += [defect for defect in more if defect not in defects]


def _parts(mail: ParsedMail) -> Iterator[tuple[Part, Form]]:
    """Leaves with what each looks like; those of mails that are forwarded in this one too."""
    mails = [mail]
    for each in mails:
        expected = _expected(each)
        for part in each.parts:
            if part.message is not None:
                # What a delivery status or a feedback report returns is no report to us.
                if each.content_type != "multipart/report" and len(mails) < _MAILS:
                    mails.append(part.message)
                continue
            seen = _form_of(peek(part.content))
            yield part, seen or _hinted(part, expected)


def _form_of(data: bytes) -> Form:
    """What unpacked bytes look like."""
    text = data[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:2] in (b"\xff\xfe", b"\xfe\xff") or text[:2] in (b"<\0", b"\0<"):
        text = text.replace(b"\0", b"").lstrip(b"\xff\xfe")
    if text[:1] == b"<":
        return "dmarc" if _FEEDBACK.search(text) else ""
    if text[:1] == b"{":
        return "tls_report" if sum(key in text for key in _TLS_KEYS) >= _LEAST_KEYS else ""
    return ""


def _expected(mail: ParsedMail) -> Form:
    """What the header of a mail says it brings."""
    if mail.parameters.get("report-type", "").lower() == _TLSRPT or mail.headers.get("TLS-Report-Domain"):
        return "tls_report"
    return "dmarc" if _SUBJECT.match(mail.headers.get("Subject")) else ""


def _hinted(part: Part, expected: Form) -> Form:
    """What a part says it is, whatever it holds."""
    if _TLSRPT in part.content_type:
        return "tls_report"
    named = _FILE.fullmatch(part.filename) is not None
    if named and not expected:
        return "tls_report" if ".json" in part.filename.lower() else "dmarc"
    attached = part.filename or part.disposition == "attachment"
    return expected if named or (attached and _PACKED.fullmatch(part.content_type)) else ""
