"""DMARC aggregate reports (RFC 7489, appendix C; RFC 9990, appendix A): their records as rows.

Values are kept as they are reported, words in lower case, and nothing is made up: what a report leaves out is
empty, where other parsers put the default of the RFC.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Final, cast

from pipelines.mail.reports import feedback
from pipelines.mail.reports.feedback import METADATA, POLICY, Node, TooMuch
from pipelines.mail.reports.refusal import Refused
from schemas.mail import DkimResult, DmarcPolicy, DmarcRecord, Override, SpfResult

MOST_RECORDS: Final = 100_000
"""Of a report. 64 MiB of XML, which is as much as is inflated, hold about as many."""
MOST_RESULTS: Final = 100
"""Signatures, SPF checks and overrides of a record that are kept."""
_NAME: Final = 255
"""Characters of a domain, a selector, a word."""
_PROSE: Final = 1_000
_LATEST: Final = 7_258_118_400
"""Seconds: the year 2200, which ClickHouse's times still hold."""
_MOST_COUNT: Final = 10**15
"""Messages: nobody sends as many, and sums stay exact."""


@dataclass(slots=True)
class Aggregate:
    """What a report says."""

    records: list[DmarcRecord] = field(default_factory=list)
    refusals: list[tuple[str, str]] = field(default_factory=list)
    defects: list[str] = field(default_factory=list)


def parse(data: bytes) -> Aggregate:
    """The records of a report, unpacked. Of a damaged one those that are whole, with a refusal that says so.

    Fields that a report does not know (`tenant`, `received_time`, `mail_id`) are empty.

    Raises:
        Refused: nothing of it can be used.
    """
    taker = _Taker()
    full = False
    try:
        read = feedback.read(data, taker.take, taker.restart)
    except TooMuch:
        full = True
        read = feedback.Read(feedback=True, records=MOST_RECORDS, lost=0)
    if not read.feedback:
        raise Refused("not_a_report", f"there is no element feedback ({read.damage or 'in well-formed XML'})")
    found = Aggregate(defects=_defects(read))
    head = _head(taker, read)
    for record in taker.records:
        record.update(head)
    found.records = taker.records
    if full:
        found.refusals.append(("too_many_records", f"only the first {MOST_RECORDS} records are read"))
    if read.truncated:
        found.refusals.append(("truncated_xml", f"{read.damage}; {len(found.records)} whole records before"))
    elif read.lost:
        found.refusals.append(
            ("damaged_xml", f"{read.damage}; {read.lost} of {read.records} records are lost")
        )
    if taker.damaged:
        number, why = taker.damaged[0]
        many = f", and {len(taker.damaged) - 1} others" if len(taker.damaged) > 1 else ""
        found.refusals.append(("damaged_record", f"record {number}{many}: {why}"))
    return found


def _defects(read: feedback.Read) -> list[str]:
    said = {"damaged_xml": bool(read.damage), "invalid_text": read.invalid_text}
    return [defect for defect, so in said.items() if so]


class _Taker:
    """Takes sections in whatever order they come."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.metadata: Node | None = None
        self.policy: Node | None = None
        self.records: list[DmarcRecord] = []
        self.damaged: list[tuple[int, str]] = []

    def take(self, number: int, section: Node) -> None:
        if section.name == METADATA:
            self.metadata = self.metadata or section
        elif section.name == POLICY:
            self.policy = self.policy or section
        else:
            if number >= MOST_RECORDS:
                raise TooMuch
            try:
                self.records.append(_record(number, section))
            except ValueError as error:
                self.damaged.append((number, str(error)))


def _head(taker: _Taker, read: feedback.Read) -> DmarcRecord:
    """What all records of a report have in common."""
    policy, metadata = taker.policy or Node(POLICY), taker.metadata or Node(METADATA)
    domain = _domain(policy.value("domain"))
    if not domain:
        if read.truncated:
            raise Refused("truncated_xml", f"{read.damage}; it ends before its policy")
        raise Refused("no_policy_domain", read.damage or "policy_published names no domain")
    begin = _seconds(metadata.value("date_range", "begin"))
    end = _seconds(metadata.value("date_range", "end"))
    email = metadata.value("email")[:_NAME]
    head = {
        "report_id": metadata.value("report_id").strip("<> \t\r\n")[:_NAME] or f"{begin}-{end}",
        "reporter": metadata.value("org_name")[:_NAME] or email.rpartition("@")[2],
        "reporter_email": email,
        "policy_domain": domain,
        "begin_time": begin * 1000,
        "end_time": end * 1000,
        "policy": _policy(policy),
    }
    return cast("DmarcRecord", head)


def _policy(node: Node) -> DmarcPolicy:
    def word(name: str) -> str:
        return node.value(name).lower()[:_NAME]

    return {
        "p": word("p"),
        "sp": word("sp"),
        "np": word("np"),
        "adkim": word("adkim"),
        "aspf": word("aspf"),
        "pct": word("pct"),
        "fo": word("fo"),
        "testing": word("testing"),
        "discovery": word("discovery_method"),
    }


def _record(number: int, node: Node) -> DmarcRecord:
    """A row without what its report says once.

    Raises:
        ValueError: it does not say which address sent how many messages.
    """
    evaluated = ("row", "policy_evaluated")
    identifiers = "identifiers" if node.all("identifiers") else "identities"
    dkim = node.value(*evaluated, "dkim").lower()[:_NAME]
    spf = node.value(*evaluated, "spf").lower()[:_NAME]
    return {
        "report_id": "",
        "reporter": "",
        "reporter_email": "",
        "policy_domain": "",
        "row": number,
        "begin_time": 0,
        "end_time": 0,
        "received_time": 0,
        "tenant": "",
        "policy": _NO_POLICY,
        "source_ip": _address(node.value("row", "source_ip")),
        "count": _count(node.value("row", "count")),
        "disposition": node.value(*evaluated, "disposition").lower()[:_NAME],
        "dkim": dkim,
        "spf": spf,
        "aligned": "pass" in (dkim, spf),
        "overrides": [
            Override(type=each.value("type").lower()[:_NAME], comment=each.value("comment")[:_PROSE])
            for each in node.all(*evaluated, "reason")[:MOST_RESULTS]
            if each.children
        ],
        "header_from": _domain(node.value(identifiers, "header_from")),
        "envelope_from": _domain(node.value(identifiers, "envelope_from")),
        "envelope_to": _domain(node.value(identifiers, "envelope_to")),
        "dkim_results": [
            DkimResult(
                domain=_domain(each.value("domain")),
                selector=each.value("selector")[:_NAME],
                result=each.value("result").lower()[:_NAME],
            )
            for each in node.all("auth_results", "dkim")[:MOST_RESULTS]
            if each.value("domain")
        ],
        "spf_results": [
            SpfResult(
                domain=_domain(each.value("domain")),
                scope=each.value("scope").lower()[:_NAME],
                result=each.value("result").lower()[:_NAME],
            )
            for each in node.all("auth_results", "spf")[:MOST_RESULTS]
            if each.value("domain")
        ],
        "mail_id": b"",
    }


_NO_POLICY: Final = _policy(Node(POLICY))


def _domain(text: str) -> str:
    return text.strip().rstrip(".").lower()[:_NAME]


def _address(text: str) -> str:
    """An IP address as it is commonly written; one of IPv4 in IPv6 is of IPv4."""
    try:
        address = ipaddress.ip_address(text.strip("[] \t\r\n"))
    except ValueError:
        raise ValueError(f"{text[:60]!r} is no IP address") from None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _count(text: str) -> int:
    digits = text.removesuffix(".0")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20 and int(digits) <= _MOST_COUNT):  # noqa: PLR2004
        raise ValueError(f"{text[:60]!r} is no number of messages")
    return int(digits)


def _seconds(text: str) -> int:
    digits = text.partition(".")[0]
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20 and int(digits) < _LATEST):  # noqa: PLR2004
        raise Refused("no_date_range", f"{text[:60]!r} is no time in seconds since 1970")
    return int(digits)
