"""Which mails bring reports; TLS reports and DMARC failure reports."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.mail.parse import parse
from pipelines.mail.parsed import Headers, ParsedMail, Part
from pipelines.mail.policy import Limits
from pipelines.mail.reports import failure_of, looks_like_report, reports_of
from schemas.blocks import decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable

LIMITS = Limits()
TLS: dict[str, Any] = {
    "organization-name": "Company-X",
    "date-range": {"start-datetime": "2026-01-01T00:00:00Z", "end-datetime": "2026-01-01T23:59:59+00:00"},
    "contact-info": "tls@company-x.example",
    "report-id": "<5065427c@x>",
    "policies": [
        {
            "policy": {
                "policy-type": "sts",
                "policy-string": ["version: STSv1", "mode: testing"],
                "policy-domain": "Shop.Example.",
                "mx-host": "*.mail.shop.example",
            },
            "summary": {"total-successful-session-count": 5326, "total-failure-session-count": 303},
            "failure-details": [
                {
                    "result-type": "certificate-expired",
                    "sending-mta-ip": "2001:db8::1",
                    "receiving-mx-hostname": "mx1.shop.example",
                    "failed-session-count": 100,
                },
                {
                    "result-type": "validation-failure",
                    "failed-session-count": 203,
                    "receiving-ip": "203.0.113.58",
                    "failure-reason-code": "X509_V_ERR",
                    "additional-information": "https://x.example/1",
                },
            ],
        },
        {"policy": {"policy-type": "no-policy-found", "mx-host": ["a", "b"]}, "summary": {}},
    ],
}


@pytest.fixture
def tls(mail: Any) -> Callable[..., Any]:
    def run(report: Any, **fields: str) -> Any:
        text = json.dumps(report).encode()
        found = mail(
            gzip.compress(text), fields=[(name.replace("_", "-"), value) for name, value in fields.items()]
        )
        assert looks_like_report(found) == "tls_report"
        return reports_of(found, LIMITS)

    return run


def test_a_policy_has_a_row_of_counts_and_each_failure_one_of_its_own(tls: Any) -> None:
    found = tls(TLS, TLS_Report_Domain="shop.example")
    assert found.refusals == []
    assert [row["row"] for row in found.tls] == [0, 1, 2, 3]
    counts, expired, invalid, other = found.tls
    assert {each["report_id"] for each in found.tls} == {"5065427c@x"}
    assert (counts["begin_time"], counts["end_time"]) == (1_767_225_600_000, 1_767_311_999_000)
    assert [counts[name] for name in ("successful", "failed", "failed_sessions", "result_type")] == [
        5326,
        303,
        0,
        "",
    ]
    assert (counts["policy_domain"], counts["mx_hosts"]) == ("shop.example", ["*.mail.shop.example"])
    assert counts["policy"] == ["version: STSv1", "mode: testing"]
    assert [expired[name] for name in ("successful", "failed", "failed_sessions")] == [0, 0, 100]
    assert (expired["result_type"], expired["sending_ip"], expired["receiving_mx"]) == (
        "certificate-expired",
        "2001:db8::1",
        "mx1.shop.example",
    )
    assert (invalid["receiving_ip"], invalid["reason"], invalid["detail"]) == (
        "203.0.113.58",
        "X509_V_ERR",
        "https://x.example/1",
    )
    # Of a policy that names no domain it is that of the report.
    assert (other["policy_domain"], other["policy_type"], other["mx_hosts"]) == (
        "shop.example",
        "no-policy-found",
        ["a", "b"],
    )
    assert len(decode(encode("tls_result", [row | {"mail_id": bytes(16)} for row in found.tls]))) == 4


def test_a_wrong_policy_or_failure_is_lost_alone_and_keeps_its_number(tls: Any) -> None:
    good = TLS["policies"][0]
    bad = {"policy": 7}
    worse = good | {
        "failure-details": [{"failed-session-count": -1, "result-type": "x"}, good["failure-details"][0]]
    }
    found = tls(TLS | {"policies": [bad, worse]})
    assert [(row["row"], row["result_type"]) for row in found.tls] == [(1, ""), (3, "certificate-expired")]
    assert [cause for cause, _ in found.refusals] == ["damaged_policy", "damaged_policy"]


def test_odd_but_readable_json(tls: Any) -> None:
    odd = TLS | {
        "contact-info": ["a@x.example", "b@x.example"],
        "organization-name": None,
        "more": {"x": [1, {}]},
    }
    odd["policies"] = [
        {
            "policy": {"policy-type": "tlsa", "policy-string": "3 0 1 1F", "policy-domain": "x.example"},
            "summary": {"total-successful-session-count": "7"},
            "failure-details": None,
        }
    ]
    (row,) = tls(odd).tls
    assert (row["contact"], row["reporter"]) == ("a@x.example, b@x.example", "x.example")
    assert (row["policy"], row["successful"]) == (["3 0 1 1F"], 7)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (json.dumps(TLS)[:-30], "damaged_json"),
        (json.dumps(TLS | {"date-range": {"start-datetime": "x", "end-datetime": "y"}}), "no_date_range"),
        (json.dumps(TLS | {"policies": 1}), "damaged_json"),
        ('{"report-id": "1", "policies": ' + "[" * 100_000, "damaged_json"),
        ('{"report-id": "1", "policies": [' + "1," * 1_500_001 + "1]}", "too_many_records"),
        ('{"report-id": "1", "policies": ' + " " * 17_000_000, "inflates_too_much"),
    ],
)
def test_tls_reports_that_are_refused(mail: Any, text: str, cause: str) -> None:
    found = reports_of(mail(text.encode()), LIMITS)
    assert (found.tls, [each for each, _ in found.refusals]) == ([], [cause])


def test_a_real_mail_of_each_kind(report: Any, record: Any) -> None:
    import base64

    attachment = base64.encodebytes(gzip.compress(report(record(), record("192.0.2.2")))).replace(
        b"\n", b"\r\n"
    )
    dmarc = (
        b"From: postmaster@amazonses.com\r\nSubject: Dmarc Aggregate Report Domain: {shop.example}  Submitter:"
        b" {Amazon SES}\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type:"
        b" text/plain\r\n\r\nsee below\r\n--b\r\nContent-Type: application/octet-stream;name=amazonses.com!shop.example"
        b"!1767225600!1767312000.xml.gz\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + attachment
        + b"--b--\r\n"
    )
    found = parse(dmarc, LIMITS)
    assert looks_like_report(found) == "dmarc"
    assert [row["source_ip"] for row in reports_of(found, LIMITS).dmarc] == ["192.0.2.1", "192.0.2.2"]
    tls = (
        b"Subject: Report Domain: shop.example Submitter: x Report-ID: <1>\r\nTLS-Report-Domain: shop.example\r\n"
        b"MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=tlsrpt; boundary=b\r\n\r\n--b\r\n\r\nhi\r\n"
        b"--b\r\nContent-Type: application/tlsrpt+json\r\n\r\n" + json.dumps(TLS).encode() + b"\r\n--b--\r\n"
    )
    found = parse(tls, LIMITS)
    assert looks_like_report(found) == "tls_report"
    assert len(reports_of(found, LIMITS).tls) == 4


def test_a_report_that_is_forwarded_as_an_attachment_is_one_but_not_one_that_bounced(
    report: Any, mail: Any
) -> None:
    inner = Part("message/rfc822", message=mail(report()))
    forwarded = ParsedMail(Headers(), "multipart/mixed", {}, [inner])
    assert looks_like_report(forwarded) == "dmarc"
    assert len(reports_of(forwarded, LIMITS).dmarc) == 1
    bounced = ParsedMail(Headers(), "multipart/report", {"report-type": "delivery-status"}, [inner])
    assert looks_like_report(bounced) == ""
    assert reports_of(bounced, LIMITS).dmarc == []


def test_all_reports_of_a_mail_share_its_limits(report: Any, record: Any, mail: Any) -> None:
    one = report(*(record() for _ in range(4)))
    found = reports_of(mail(*[gzip.compress(one)] * 4), Limits(inflated=3 * len(one) - 1))
    assert len(found.dmarc) == 2 * 4
    assert [cause for cause, _ in found.refusals] == ["inflates_too_much"] * 2
    found = reports_of(mail(one, one, one), Limits(inflated=2 * len(one)))
    assert len(found.dmarc) == 2 * 4
    found = reports_of(mail(*[one] * 60), LIMITS)
    assert len(found.dmarc) == 50 * 4
    assert [cause for cause, _ in found.refusals] == ["too_many_records"]


def test_what_is_no_report_though_it_looks_a_little_like_one(mail: Any, zipped: Any) -> None:
    subject = "Report Domain: shop.example Submitter: google.com Report-ID: 1"
    for found in (
        mail(),
        mail(b""),
        mail(b"<html><body>feedback</body></html>", content_type="text/html"),
        mail(b'<?xml version="1.0"?><feed/>', content_type="text/xml"),
        mail(b'{"policies": 1}', content_type="application/json"),
        mail(zipped(("[Content_Types].xml", b"<Types/>")), name="sheet.xlsx"),
        mail(gzip.compress(b"log line"), name="log.gz", content_type="application/gzip"),
        mail(b"I have seen it", subject=f"Re: {subject}", content_type="text/plain"),
        mail(b"I have seen it", subject=subject, content_type="text/plain"),
        mail(b"PK\x03\x04 broken"),
        mail(b"\x1f\x8b broken"),
    ):
        assert looks_like_report(found) == ""
        assert reports_of(found, LIMITS).refusals == []


@pytest.mark.parametrize(
    ("subject", "name", "fields", "form"),
    [
        ("Report Domain: d.example Submitter: s.example Report-ID: <1>", "r.zip", [], "dmarc"),
        (
            "Report domain: d.example\n Submitter: s.example",
            "r.gz",
            [("TLS-Report-Domain", "d.example")],
            "tls_report",
        ),
        ("", "s.example!d.example!1767225600!1767312000!x.xml.gz", [], "dmarc"),
        ("", "s.example!d.example!1767225600!1767312000.json.gz", [], "tls_report"),
    ],
)
def test_a_broken_report_is_still_known_by_what_it_is_called(
    mail: Any, subject: str, name: str, fields: Any, form: str
) -> None:
    found = mail(b"\x1f\x8b\x08 broken", subject=subject, name=name, fields=fields)
    assert looks_like_report(found) == form
    assert [cause for cause, _ in reports_of(found, LIMITS).refusals] == ["damaged_gzip"]


FAILURE = (
    "Feedback-Type: auth-failure\r\nUser-Agent: Lua/1.0\r\nVersion: 1\r\nOriginal-Mail-From: <b@esp.example>\r\n"
    "Original-Rcpt-To: <you@receiver.example>\r\nArrival-Date: Tue, 30 Apr 2019 02:09:00 +0000\r\n"
    "Authentication-Results: receiver.example;\r\n dmarc=fail (p=none)\r\n header.from=shop.example\r\n"
    "Source-IP: 192.0.2.66\r\nDelivery-Result: delivered\r\nAuth-Failure: DMARC\r\nIdentity-Alignment: dkim, spf\r\n"
    "DKIM-Domain: esp.example\r\nDKIM-Selector: s\r\nReported-Domain: Shop.Example\r\nIncidents: 3\r\n"
)


def test_a_failure_report_makes_no_rows_but_says_what_failed(mail: Any) -> None:
    sample = Part(
        "message/rfc822",
        message=mail(fields=[("Message-ID", "<0100@email.amazonses.com>"), ("From", "A <a@x.example>")]),
    )
    for part in (
        Part("message/feedback-report", text=FAILURE),
        Part("message/feedback-report", content=FAILURE.encode()),
    ):
        found = ParsedMail(Headers(), "multipart/report", {"report-type": "feedback-report"}, [part, sample])
        assert looks_like_report(found) == "dmarc"
        assert (reports_of(found, LIMITS).dmarc, reports_of(found, LIMITS).refusals) == ([], [])
        failure = failure_of(found)
        assert failure is not None
        assert (
            failure.source_ip,
            failure.reported_domain,
            failure.auth_failure,
            failure.delivery_result,
        ) == (
            "192.0.2.66",
            "shop.example",
            "dmarc",
            "delivered",
        )
        assert (
            failure.authentication_results == "receiver.example; dmarc=fail (p=none) header.from=shop.example"
        )
        assert (failure.message_id, failure.mail_from) == ("0100@email.amazonses.com", "b@esp.example")
        assert (failure.identity_alignment, failure.dkim_domain, failure.incidents) == (
            "dkim, spf",
            "esp.example",
            3,
        )
        assert failure.arrival_time == 1_556_590_140_000


def test_a_failure_report_that_says_little(mail: Any) -> None:
    sample = Part("message/rfc822", message=mail(fields=[("From", "A <a@X.example>")]))
    little = Part(
        "message/feedback-report",
        text="Feedback-Type: auth-failure\nSource-IP: [192.0.2.1]\nArrival-Date: ?\n",
    )
    failure = failure_of(ParsedMail(Headers(), "multipart/mixed", {}, [little, sample]))
    assert failure is not None
    assert (failure.reported_domain, failure.source_ip, failure.arrival_time, failure.incidents) == (
        "x.example",
        "192.0.2.1",
        0,
        1,
    )
    abuse = ParsedMail(
        Headers(), "multipart/report", {}, [Part("message/feedback-report", text="Feedback-Type: abuse\n")]
    )
    assert failure_of(abuse) is None
    assert looks_like_report(abuse) == ""
