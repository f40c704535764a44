"""Records of DMARC aggregate reports, sound and damaged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.mail.policy import Limits
from pipelines.mail.reports import aggregate, looks_like_report, reports_of
from pipelines.mail.reports.refusal import Refused
from schemas.blocks import decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.mail.reports import Reports

LIMITS = Limits()


@pytest.fixture
def read(mail: Any) -> Callable[[bytes], Reports]:
    """What comes of a mail that brings these bytes."""

    def run(data: bytes) -> Reports:
        found = mail(data)
        assert looks_like_report(found) == "dmarc"
        return reports_of(found, LIMITS)

    return run


def test_a_record_says_all_that_the_report_says(read: Any, report: Any, record: Any) -> None:
    reason = "<reason><type>Mailing_List</type><comment lang='en'> list </comment></reason><reason></reason>"
    found = read(report(record(count=12, more=reason)))
    assert (found.refusals, found.defects) == ([], [])
    (row,) = found.dmarc
    assert row == {
        "report_id": "2026-001",
        "reporter": "Example Receiver",
        "reporter_email": "dmarc@receiver.example",
        "policy_domain": "shop.example",
        "row": 0,
        "begin_time": 1_767_225_600_000,
        "end_time": 1_767_311_999_000,
        "received_time": 0,
        "tenant": "",
        "policy": {
            "p": "reject",
            "sp": "none",
            "np": "",
            "adkim": "r",
            "aspf": "s",
            "pct": "100",
            "fo": "1",
            "testing": "",
            "discovery": "",
        },
        "source_ip": "192.0.2.1",
        "count": 12,
        "disposition": "none",
        "dkim": "pass",
        "spf": "fail",
        "aligned": True,
        "overrides": [{"type": "mailing_list", "comment": "list"}],
        "header_from": "shop.example",
        "envelope_from": "",
        "envelope_to": "",
        "dkim_results": [{"domain": "shop.example", "selector": "s1", "result": "pass"}],
        "spf_results": [{"domain": "amazonses.com", "scope": "", "result": "pass"}],
        "mail_id": b"",
    }
    assert decode(encode("dmarc_record", [row | {"mail_id": bytes(16)}]))[0]["count"] == 12


def test_rfc_9990_adds_and_drops_fields(read: Any) -> None:
    found = read(
        b"""<feedback xmlns="urn:ietf:params:xml:ns:dmarc-2.0">
        <report_metadata><org_name>R</org_name><report_id>1</report_id><generator>G 1</generator>
        <date_range><begin>302832000</begin><end>302918399</end></date_range></report_metadata>
        <policy_published><domain>example.com</domain><p>quarantine</p><np>none</np><testing>n</testing>
        <discovery_method>treewalk</discovery_method></policy_published>
        <record><row><source_ip>192.0.2.123</source_ip><count>123</count><policy_evaluated>
        <disposition>pass</disposition><dkim>pass</dkim><spf>fail</spf>
        <reason><type>policy_test_mode</type></reason></policy_evaluated></row>
        <identifiers><envelope_from>e.example.com</envelope_from><header_from>example.com</header_from></identifiers>
        <auth_results><dkim><domain>example.com</domain><result>pass</result><selector>abc</selector>
        <human_result lang="en">fine</human_result></dkim></auth_results>
        <extensions><x:y xmlns:x="urn:x"><count>9</count></x:y></extensions></record></feedback>"""
    )
    (row,) = found.dmarc
    assert (
        row["policy"] | {"p": "quarantine", "np": "none", "testing": "n", "discovery": "treewalk"}
        == row["policy"]
    )
    assert (row["policy"]["pct"], row["disposition"], row["count"]) == ("", "pass", 123)
    assert row["overrides"] == [{"type": "policy_test_mode", "comment": ""}]
    assert row["envelope_from"] == "e.example.com"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("::ffff:192.0.2.9", "192.0.2.9"),
        (" [192.0.2.9]\n", "192.0.2.9"),
    ],
)
def test_addresses_are_written_as_they_commonly_are(
    read: Any, report: Any, record: Any, said: str, meant: str
) -> None:
    assert [row["source_ip"] for row in read(report(record(said))).dmarc] == [meant]


def test_counts_of_none_and_of_very_many_and_spans_of_years_stay_what_they_are(
    read: Any, report: Any, record: Any
) -> None:
    data = report(record(count=0), record(count=10**15)).replace(b"1767311999", b"1861920000")
    found = read(data)
    assert [row["count"] for row in found.dmarc] == [0, 10**15]
    assert {row["end_time"] - row["begin_time"] for row in found.dmarc} == {26_304 * 3_600_000}
    assert found.refusals == []


@pytest.mark.parametrize("bad", ["", "-1", "many", "1e3", str(10**15 + 1), "9" * 400, "\N{SUPERSCRIPT TWO}"])
def test_a_record_without_a_count_or_an_address_is_lost_alone_and_keeps_its_number(
    read: Any, report: Any, record: Any, bad: str
) -> None:
    found = read(report(record(), record(count=bad), record("not an address"), record("192.0.2.4")))
    assert [(row["row"], row["source_ip"]) for row in found.dmarc] == [(0, "192.0.2.1"), (3, "192.0.2.4")]
    ((cause, detail),) = found.refusals
    assert cause == "damaged_record"
    assert detail.startswith("record 1, and 1 others: ")


def test_what_a_truncated_report_has_whole_is_kept(read: Any, report: Any, record: Any) -> None:
    whole = report(*(record(f"192.0.2.{number}") for number in range(9)))
    complete = read(whole).dmarc
    seen = set()
    last = whole.index(b"</feedback>")
    for end in (*range(whole.index(b"</policy_published>"), last, 11), last):
        found = read(whole[:end])
        assert found.dmarc == complete[: whole[:end].count(b"</record>")]
        assert [cause for cause, _ in found.refusals] == ["truncated_xml"]
        seen.add(len(found.dmarc))
    assert seen == set(range(10))


def test_damage_in_the_middle_costs_what_is_damaged_and_is_said(read: Any, report: Any, record: Any) -> None:
    rows = [record(f"192.0.2.{number}") for number in range(4)]
    unclosed = rows[1].replace("</record>", "")
    found = read(report(rows[0], unclosed, rows[2], rows[3]))
    assert [row["row"] for row in found.dmarc] == [0, 2, 3]
    assert [cause for cause, _ in found.refusals] == ["damaged_xml"]
    found = read(
        report(rows[0], rows[1].replace("shop.example</header_from>", "a<b & c</header_from>"), rows[2])
    )
    assert [row["header_from"] for row in found.dmarc] == ["shop.example", "", "shop.example"]
    assert (found.refusals, found.defects) == ([], ["damaged_xml"])


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.removeprefix(b'<?xml version="1.0" encoding="UTF-8" ?>\n'),
        lambda data: b"\xef\xbb\xbf\r\n " + data,
        lambda data: data.replace(b"<feedback>", b'<feedback xmlns="http://dmarc.org/dmarc-xml/0.1">'),
        lambda data: data.replace(b"<feedback", b'<d:feedback xmlns:d="urn:x"').replace(
            b"</feedback", b"</d:feedback"
        ),
        lambda data: data.replace(b"record>", b"RECORD>").replace(b"count>", b"Count>"),
        lambda data: data.replace(b"pass<", b"Pass<").replace(b"none<", b"NONE<"),
        lambda data: data.replace(b'encoding="UTF-8" ?>', b'encoding="no-such" version="9"?>'),
        lambda data: data.replace(b"UTF-8", b"UTF-16").decode().encode("utf-16"),
        lambda data: data.decode().encode("utf-16-le"),
        lambda data: data + b"\0\0 trailing",
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: data.replace(b"<version>", b"<!-- a comment --><?pi x?><version>"),
        lambda data: data.replace(b"identifiers>", b"identities>"),
        lambda data: (
            b'<?xml version="1.0"?> <xs:schema xmlns:xs="urn:x" targetNamespace="urn:y">' + data[39:]
        ),
    ],
)
def test_the_same_report_in_other_dress(read: Any, report: Any, change: Any) -> None:
    found = read(change(report()))
    assert found.dmarc == read(report()).dmarc
    assert found.refusals == []


def test_bytes_that_are_no_text_spoil_only_themselves(read: Any, report: Any, record: Any) -> None:
    data = report(record()).replace(b"Example Receiver", b"Caf\xe9 \x02\xff")
    found = read(data)
    assert (found.dmarc[0]["reporter"], found.defects) == ("Caf\ufffd \ufffd\ufffd", ["invalid_text"])
    latin = data.replace(b"UTF-8", b"ISO-8859-1")
    assert read(latin).dmarc[0]["reporter"] == "Caf\xe9 \ufffd\xff"


def test_what_names_the_reporter_and_the_report_when_it_does_not_say(read: Any, report: Any) -> None:
    data = report().replace(b"Example Receiver", b"  ").replace(b"2026-001", b"")
    (row,) = read(data).dmarc
    assert (row["reporter"], row["report_id"]) == ("receiver.example", "1767225600-1767311999")
    (row,) = read(report().replace(b"2026-001", b"&lt;1@x.example&gt; ")).dmarc
    assert row["report_id"] == "1@x.example"


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda data: data.replace(b"Shop.Example", b" "), "no_policy_domain"),
        (lambda data: data.replace(b"1767225600", b"yesterday"), "no_date_range"),
        (lambda data: data.replace(b"1767225600", b"99999999999"), "no_date_range"),
        (lambda data: data.replace(b"<feedback>", b"<!DOCTYPE feedback><feedback>"), "xml_dtd"),
        (lambda data: data[: data.index(b"<policy_published>")], "truncated_xml"),
    ],
)
def test_a_report_that_cannot_be_used_is_refused_with_its_cause(
    read: Any, report: Any, change: Any, cause: str
) -> None:
    found = read(change(report()))
    assert (found.dmarc, [each for each, _ in found.refusals]) == ([], [cause])


def test_what_is_no_report_at_all() -> None:
    for data in (b"", b"<html></html>", b"<a", b"\0" * 100):
        with pytest.raises(Refused, match="not_a_report"):
            aggregate.parse(data)


def test_a_report_of_no_records_is_one(read: Any, report: Any) -> None:
    found = read(report("\n"))
    assert (found.dmarc, found.refusals, found.defects) == ([], [], [])


def test_only_so_many_records_are_read(
    read: Any, report: Any, record: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aggregate, "MOST_RECORDS", 5)
    found = read(report(*(record() for _ in range(6))))
    assert [row["row"] for row in found.dmarc] == list(range(5))
    assert [cause for cause, _ in found.refusals] == ["too_many_records"]
    assert read(report(*(record() for _ in range(5)))).refusals == []


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.ip_addresses(),
            st.integers(0, 10**15),
            st.sampled_from(["pass", "fail"]),
            st.sampled_from(["pass", "fail"]),
        ),
        max_size=12,
    )
)
def test_every_record_comes_out_as_it_went_in(rows: list[Any], report: Any, record: Any) -> None:
    records = [record(str(ip), count, dkim=dkim, spf=spf) for ip, count, dkim, spf in rows]
    found = aggregate.parse(report(*records or ["\n"]))
    assert found.refusals == []
    for number, (row, (ip, count, dkim, spf)) in enumerate(zip(found.records, rows, strict=True)):
        mapped = getattr(ip, "ipv4_mapped", None)
        assert (row["row"], row["source_ip"], row["count"]) == (number, str(mapped or ip), count)
        assert row["aligned"] == ("pass" in {dkim, spf})
