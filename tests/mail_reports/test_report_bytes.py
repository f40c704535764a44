"""Any bytes in, never an exception out, and never much made of little."""

from __future__ import annotations

import gzip
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.mail.parse import parse
from pipelines.mail.parsed import Headers, ParsedMail, Part
from pipelines.mail.policy import Limits
from pipelines.mail.reports import failure_of, feedback, looks_like_report, reports_of
from schemas.blocks import encode

LIMITS = Limits()
PIECES = (
    *(
        "<feedback>",
        "</feedback>",
        "<record>",
        "</record>",
        "<row>",
        "<count>",
        "</count>",
        "1",
        "&lt;",
        "&#0;",
        "&x;",
    ),
    *(
        "<report_metadata>",
        "<policy_published>",
        "<domain>d</domain>",
        "<!DOCTYPE x>",
        "<![CDATA[",
        "]]>",
        "<!--",
        "-->",
    ),
    *(
        '{"policies":[',
        "]}",
        '"report-id":"',
        "\0",
        "\ufffe",
        "<a b='c'",
        "<d:record>",
        "\x1f\x8b\x08",
        "PK\x03\x04",
    ),
)
quick = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def read(*contents: bytes, **fields: Any) -> None:
    """As one mail; whatever comes of it can be told to Kafka."""
    parts = [
        Part("application/gzip", filename="a!b!1767225600!1767312000.xml.gz", content=each)
        for each in contents
    ]
    parts.append(Part("message/feedback-report", content=contents[0]))
    mail = ParsedMail(Headers((("TLS-Report-Domain", "x"),)), "multipart/mixed", {}, parts, **fields)
    assert looks_like_report(mail) in {"", "dmarc", "tls_report"}
    failure_of(mail)
    found = reports_of(mail, LIMITS)
    encode("dmarc_record", [row | {"mail_id": bytes(16)} for row in found.dmarc])
    encode("tls_result", [row | {"mail_id": bytes(16)} for row in found.tls])
    assert all(cause != "internal_error" for cause, _ in found.refusals)
    assert all(isinstance(detail, str) for _, detail in found.refusals)


@quick
@given(data=st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    for head in (
        b"",
        b"<feedback>",
        b"\x1f\x8b\x08\0" + bytes(6),
        b"PK\x03\x04",
        b'{"policies":[],"report-id":"',
    ):
        read(head + data)


@quick
@given(pieces=st.lists(st.sampled_from(PIECES), max_size=40))
def test_any_order_of_what_reports_are_made_of(pieces: list[str]) -> None:
    data = "".join(pieces).encode("utf-8", "surrogatepass")
    read(b"<feedback>" + data, gzip.compress(b"<feedback>" + data), b'{"report-id":"","policies":[' + data)


@quick
@given(data=st.data())
def test_a_report_with_any_damage(data: st.DataObject, report: Any, record: Any, packings: Any) -> None:
    pack = data.draw(st.sampled_from(sorted(packings)))
    damaged = bytearray(packings[pack](report(record(), record("2001:db8::1"), record(count=0))))
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(damaged)))
    read(bytes(damaged), bytes(damaged[:cut]), bytes(damaged[cut:]))


LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a0 "ha">'
    + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    + "]><feedback><report_metadata><org_name>&a11;</org_name></report_metadata></feedback>"
)
OUTSIDE = (
    '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/hostname">]><feedback>&a;</feedback>'
)


@pytest.mark.parametrize(
    "text", [LAUGHS, OUTSIDE, "<!DOCTYPE feedback SYSTEM 'http://192.0.2.1/x.dtd'><feedback/>"]
)
def test_entities_are_never_looked_at(text: str, mail: Any) -> None:
    for data in (text.encode(), b"\n" + text.encode() + b"<", text.encode("utf-16")):
        found = reports_of(mail(data), LIMITS)
        assert found.dmarc == []
        assert {cause for cause, _ in found.refusals} <= {"xml_dtd"}
        assert found.refusals or looks_like_report(mail(data)) == ""
    # An entity without a DOCTYPE is only damage.
    (cause, _), *_ = reports_of(mail(b"<feedback>&a;<record>"), LIMITS).refusals
    assert cause == "truncated_xml"


HEAD = (
    "<feedback><report_metadata><date_range><begin>1</begin><end>2</end></date_range></report_metadata>"
    "<policy_published><domain>d</domain></policy_published>"
)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (HEAD + "<record>" * 100_000, "truncated_xml"),
        (HEAD + "<record>" + "<x>" * 300_000, "truncated_xml"),
        (HEAD + "<x a='" + "b" * 5_000_000, "truncated_xml"),
        (HEAD + "<x " + " ".join(f"a{n}=''" for n in range(300_000)) + "/>", "damaged_xml"),
        (HEAD + "<record><row><source_ip>" + "9" * 5_000_000, "truncated_xml"),
        (HEAD + "\x01" * 3_000_000, "damaged_xml"),
        (HEAD + "</record>" * 500_000, "truncated_xml"),
        (HEAD + "<x/>" * 400_000, "too_many_records"),
    ],
)
def test_little_is_made_of_much(text: str, cause: str, mail: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feedback, "_ELEMENTS", 350_000)
    found = mail(text.encode())
    tracemalloc.start()
    try:
        reports = reports_of(found, LIMITS)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (reports.dmarc, [each for each, _ in reports.refusals]) == ([], [cause])
    assert most < 64 * 1024 * 1024


@pytest.mark.skipif("SAMPLES_DIR" not in os.environ, reason="SAMPLES_DIR names no samples")
def test_real_reports_are_read_whole() -> None:
    """How many rows there are was counted by others: see bench/compare_dmarc.py."""
    samples, rows, damaged = Path(os.environ["SAMPLES_DIR"]), {}, []
    for path in sorted((*samples.glob("parsedmarc/*/*"), *samples.glob("stalwart-mail-auth/*/*"))):
        content = path.read_bytes()
        part = Part("application/octet-stream", content=content)
        whole = ParsedMail(Headers(), "multipart/mixed", {}, [part])
        found = reports_of(parse(content, LIMITS) if path.suffix == ".eml" else whole, LIMITS)
        rows[path.name] = (len(found.dmarc), len(found.tls))
        damaged += [path.name for _ in found.refusals]
    assert sum(dmarc for dmarc, _ in rows.values()) == 2355
    assert sum(tls for _, tls in rows.values()) == 12
    assert rows["!large-example.com!1711897200!1711983600.xml"] == (2286, 0)
    assert damaged == []
