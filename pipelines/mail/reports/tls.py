"""SMTP TLS reports (RFC 8460, section 4): the counts of each policy, and each kind of failure under it, as rows.

msgspec reads the JSON, into types: what is not known is skipped without being made, and a policy that is wrong does not
spoil the others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import msgspec

from pipelines.mail.reports.refusal import Refused

if TYPE_CHECKING:
    from schemas.mail import TlsResult

MOST_ROWS: Final = 100_000
_MOST_BYTES: Final = 16 * 1024 * 1024
"""Of JSON; the reports of the largest senders have some hundred kilobytes."""
_MOST_COMMAS: Final = 1_500_000
"""Fifteen for each of `MOST_ROWS`. Each item of a list costs much more memory than it has text."""
_NAME: Final = 255
_PROSE: Final = 1_000
_STRINGS: Final = 100
"""Lines of a policy, and hosts, that are kept."""
_Count = Annotated[int, msgspec.Meta(ge=0, le=10**15)]
_Words = str | list[str] | None
T = TypeVar("T")


class _Dates(msgspec.Struct, rename="kebab", frozen=True):
    start_datetime: str
    end_datetime: str


class _Report(msgspec.Struct, rename="kebab", frozen=True):
    date_range: _Dates
    policies: list[msgspec.Raw]
    report_id: str = ""
    organization_name: str | None = None
    contact_info: _Words = None


class _Policy(msgspec.Struct, rename="kebab", frozen=True):
    policy_type: str = ""
    policy_string: _Words = None
    policy_domain: str | None = None
    mx_host: _Words = None
    mx_host_pattern: _Words = None


class _Summary(msgspec.Struct, rename="kebab", frozen=True):
    total_successful_session_count: _Count = 0
    total_failure_session_count: _Count = 0


class _Result(msgspec.Struct, rename="kebab", frozen=True):
    policy: _Policy
    summary: _Summary = _Summary()
    failure_details: list[msgspec.Raw] | None = None


class _Failure(msgspec.Struct, rename="kebab", frozen=True):
    result_type: str
    failed_session_count: _Count = 0
    sending_mta_ip: str | None = None
    receiving_mx_hostname: str | None = None
    receiving_mx_helo: str | None = None
    receiving_ip: str | None = None
    additional_information: Any = None
    additional_info_uri: str | None = None
    failure_reason_code: str | None = None


@dataclass(slots=True)
class Tls:
    """What a report says."""

    results: list[TlsResult] = field(default_factory=list)
    refusals: list[tuple[str, str]] = field(default_factory=list)
    rows: int = 0
    """Numbers given so far."""
    damaged: int = 0
    """Policies and failures that are lost."""

    def lose(self, what: str, refused: Refused) -> None:
        """Their numbers are used up: a row has the same number whoever reads the report."""
        if not self.damaged:
            self.refusals.append((refused.cause, f"{what}: {refused.detail}"))
        self.rows += 1
        self.damaged += 1


def parse(data: bytes, domain: str = "") -> Tls:
    """The rows of a report, unpacked.

    Fields that a report does not know (`tenant`, `received_time`, `mail_id`) are empty.

    Args:
        data: JSON.
        domain: `TLS-Report-Domain` of its mail, for policies that name none.

    Raises:
        Refused: nothing of it can be used.
    """
    if len(data) > _MOST_BYTES:
        raise Refused("inflates_too_much", f"{len(data)} bytes of JSON; {_MOST_BYTES} are read at the most")
    if data.count(b",") > _MOST_COMMAS:
        raise Refused("too_many_records", f"more than {_MOST_COMMAS} items of JSON")
    report = _decoded(data.removeprefix(b"\xef\xbb\xbf"), _Report, "damaged_json")
    begin, end = _ms(report.date_range.start_datetime), _ms(report.date_range.end_datetime)
    contact = ", ".join(_words(report.contact_info))
    found = Tls()
    common: dict[str, Any] = {
        "report_id": report.report_id.strip("<> \t\r\n")[:_NAME] or f"{begin}-{end}",
        "reporter": (report.organization_name or "").strip()[:_NAME] or contact.rpartition("@")[2],
        "contact": contact[:_PROSE],
        "begin_time": begin,
        "end_time": end,
        "received_time": 0,
        "tenant": "",
        "mail_id": b"",
    }
    for number, raw in enumerate(report.policies):
        if found.rows >= MOST_ROWS:
            found.refusals.append(("too_many_records", f"only the first {MOST_ROWS} rows are read"))
            break
        try:
            _take(found, common, _decoded(raw, _Result, "damaged_policy"), domain)
        except Refused as refused:
            found.lose(f"policy {number}", refused)
    if found.damaged > 1:
        found.refusals.append(("damaged_policy", f"{found.damaged - 1} others"))
    return found


def _take(found: Tls, common: dict[str, Any], result: _Result, domain: str) -> None:
    policy, counts = result.policy, result.summary
    same: dict[str, Any] = common | {
        "policy_domain": _domain(policy.policy_domain or domain),
        "policy_type": policy.policy_type.strip().lower()[:_NAME],
        "policy": _words(policy.policy_string),
        "mx_hosts": _words(policy.mx_host) or _words(policy.mx_host_pattern),
        "successful": 0,
        "failed": 0,
    }
    told = {
        "successful": counts.total_successful_session_count,
        "failed": counts.total_failure_session_count,
    }
    found.results.append(_row(found, same | told, _Failure("")))
    for raw in (result.failure_details or [])[: MOST_ROWS - found.rows]:
        try:
            found.results.append(_row(found, same, _decoded(raw, _Failure, "damaged_policy")))
        except Refused as refused:
            found.lose("a failure", refused)


def _row(found: Tls, same: dict[str, Any], told: _Failure) -> TlsResult:
    detail = told.additional_information or told.additional_info_uri or ""
    row: TlsResult = {
        **same,  # type: ignore[typeddict-item]
        "row": found.rows,
        "result_type": told.result_type.strip().lower()[:_NAME],
        "sending_ip": (told.sending_mta_ip or "").strip()[:_NAME],
        "receiving_mx": _domain(told.receiving_mx_hostname or told.receiving_mx_helo or ""),
        "receiving_ip": (told.receiving_ip or "").strip()[:_NAME],
        "failed_sessions": told.failed_session_count,
        "reason": (told.failure_reason_code or "").strip()[:_PROSE],
        "detail": (detail if isinstance(detail, str) else str(detail)).strip()[:_PROSE],
    }
    found.rows += 1
    return row


def _decoded(data: bytes | msgspec.Raw, wanted: type[T], cause: str) -> T:
    try:
        return msgspec.json.decode(data, type=wanted, strict=False)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise Refused(cause, f"{error}"[:300]) from error


def _words(said: _Words) -> list[str]:
    words = [said] if isinstance(said, str) else said or []
    return [word.strip()[:_PROSE] for word in words[:_STRINGS] if word.strip()]


def _domain(text: str) -> str:
    return text.strip().rstrip(".").lower()[:_NAME]


def _ms(text: str) -> int:
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        raise Refused("no_date_range", f"{text[:60]!r} is no time of RFC 3339") from None
    time = time.replace(tzinfo=UTC) if time.tzinfo is None else time
    return max(int(time.timestamp() * 1000), 0)
