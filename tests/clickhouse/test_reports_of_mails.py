"""From the bytes of a mail to what analysts see of the report in it."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest

from pipelines.intake.provenance import Provenance
from pipelines.intake.providers import Directory
from pipelines.mail.policy import MailPolicy
from pipelines.mail.reading import MailReader
from schemas import topics

pytestmark = pytest.mark.embedded

AGGREGATE = b"""<feedback><report_metadata><org_name>google.com</org_name><report_id>77</report_id>
<date_range><begin>1767225600</begin><end>1767311999</end></date_range></report_metadata>
<policy_published><domain>shop.example</domain><p>reject</p></policy_published>
<record><row><source_ip>192.0.2.1</source_ip><count>40</count><policy_evaluated><disposition>none</disposition>
<dkim>pass</dkim><spf>fail</spf></policy_evaluated></row><identifiers><header_from>shop.example</header_from>
</identifiers><auth_results><dkim><domain>shop.example</domain><result>pass</result></dkim></auth_results></record>
<record><row><source_ip>2001:db8::66</source_ip><count>700</count><policy_evaluated><disposition>reject</disposition>
<dkim>fail</dkim><spf>fail</spf></policy_evaluated></row><identifiers><header_from>shop.example</header_from>
</identifiers><auth_results/></record></feedback>"""
TLS = {
    "organization-name": "Company-X",
    "date-range": {"start-datetime": "2026-01-01T00:00:00Z", "end-datetime": "2026-01-01T23:59:59Z"},
    "report-id": "t",
    "policies": [
        {
            "policy": {"policy-type": "sts", "policy-domain": "shop.example"},
            "summary": {"total-successful-session-count": 5326, "total-failure-session-count": 3},
            "failure-details": [{"result-type": "certificate-expired", "failed-session-count": 3}],
        }
    ],
}
FAILURE = b"""From: reporter@receiver.example
To: ruf@shop.example
Subject: DMARC failure
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary=b

--b
Content-Type: text/plain

failed
--b
Content-Type: message/feedback-report

Feedback-Type: auth-failure
User-Agent: R/1
Version: 1
Source-IP: 192.0.2.66
Auth-Failure: dmarc
Delivery-Result: reject
Reported-Domain: shop.example
Arrival-Date: Thu, 01 Jan 2026 02:00:00 +0000

--b
Content-Type: message/rfc822

From: a@shop.example
Message-ID: <1@elsewhere.example>
Subject: x

x
--b--
"""


def attached(content: bytes, content_type: str, name: str) -> bytes:
    head = (
        "From: reports@receiver.example\nTo: rua@shop.example\nSubject: Report Domain: shop.example Submitter:"
        " google.com Report-ID: <1>\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n"
        f"Content-Type: text/plain\n\nhello\n--b\nContent-Type: {content_type}\nContent-Disposition: attachment;"
        f" filename={name}\nContent-Transfer-Encoding: base64\n\n"
    )
    return head.encode() + base64.encodebytes(gzip.compress(content)) + b"--b--\n"


def test_reports_that_come_twice_by_mail_are_shown_once(client: Any, insert: Any) -> None:
    reader = MailReader(MailPolicy(directory=Directory(), pii="plain"))
    mails = (
        attached(AGGREGATE, "application/gzip", "google.com!shop.example!1767225600!1767311999.xml.gz"),
        attached(json.dumps(TLS).encode(), "application/tlsrpt+gzip", "x.json.gz"),
        FAILURE,
    )
    kinds = []
    # A copy with other header fields is another mail.
    for number, raw in enumerate((*mails, *(b"X-Copy: 2\n" + raw for raw in mails))):
        found = reader.read(
            raw, None, Provenance(f"file:///{number}", 1_767_400_000_000 + number, "file"), path="file"
        )
        assert found.dead_letters == []
        kinds.append(found.mail["kind"])
        insert(topics.INBOUND, [found.mail])
        insert(topics.REPORTS, found.dmarc, "dmarc_record")
        insert(topics.REPORTS, found.tls, "tls_result")
    assert kinds == ["dmarc", "tls_report", "dmarc"] * 2

    def rows(query: str) -> Any:
        return client.query(query).result_rows

    assert rows(
        "SELECT source_ip, alignment, messages, failing, rejected FROM dmarc_sources ORDER BY messages"
    ) == [
        ("192.0.2.1", "all", 40, 0, 0),
        ("2001:db8::66", "none", 700, 700, 700),
    ]
    assert rows("SELECT sum(successful), sum(failed), sum(failed_sessions) FROM tls_reports") == [
        (5326, 3, 3)
    ]
    # Reports of single messages have no identity: each mail is one.
    assert (
        rows(
            "SELECT reported_domain, source_ip, auth_failure, delivery_result, toUnixTimestamp64Milli(time), reporter"
            " FROM dmarc_failures"
        )
        == [("shop.example", "192.0.2.66", "dmarc", "reject", 1_767_232_800_000, "receiver.example")] * 2
    )
    assert rows("SELECT count() FROM dmarc_records AS r INNER JOIN mails AS m ON r.mail_id = m.mail_id") == [
        (2,)
    ]
