"""Tables and views of reports that came by mail."""

from __future__ import annotations

import json
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest

from schemas import topics

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.embedded

DAY_MS = 86_400_000
D0 = 1_767_225_600_000
OWN, ESP, IP = "192.0.2.1", "198.51.100.7", "2001:db8::9"


def record(row: int, source_ip: str = OWN, **fields: Any) -> dict[str, Any]:
    """A record of a report of one day; aligned unless told otherwise."""
    found = {
        "report_id": "r1",
        "reporter": "google.com",
        "reporter_email": "noreply@google.com",
        "policy_domain": "shop.example",
        "row": row,
        "begin_time": D0,
        "end_time": D0 + DAY_MS,
        "received_time": D0 + DAY_MS + 1000,
        "tenant": "",
        "policy": {"p": "none"},
        "source_ip": source_ip,
        "count": 10,
        "disposition": "none",
        "dkim": "pass",
        "spf": "fail",
        "aligned": True,
        "header_from": "shop.example",
        "dkim_results": [{"domain": "shop.example", "selector": "s", "result": "pass"}],
        "mail_id": bytes(16),
    }
    return found | fields


def failing(row: int, source_ip: str, **fields: Any) -> dict[str, Any]:
    none = {"dkim": "fail", "aligned": False, "dkim_results": [], "spf_results": []}
    return record(row, source_ip, **none | fields)


def tls(row: int, **fields: Any) -> dict[str, Any]:
    found = {
        "report_id": "t1",
        "reporter": "Company-X",
        "begin_time": D0,
        "end_time": D0 + DAY_MS,
        "received_time": D0 + DAY_MS,
        "row": row,
        "policy_domain": "shop.example",
        "policy_type": "sts",
        "mx_hosts": ["mx.shop.example"],
        "mail_id": bytes(16),
    }
    return found | fields


@pytest.fixture
def dmarc(insert: Callable[..., None]) -> Callable[..., None]:
    return lambda *rows: insert(topics.REPORTS, rows, "dmarc_record")


def rows_of(client: Any, query: str) -> list[dict[str, Any]]:
    text = client.raw_query(query, fmt="JSONEachRow").decode()
    return [json.loads(line) for line in text.splitlines()]


def test_a_report_that_is_mailed_twice_is_one_and_the_later_copy_counts(client: Any, dmarc: Any) -> None:
    again = {"received_time": D0 + 3 * DAY_MS, "mail_id": b"b" * 16}
    copies = [record(0), record(0, **again), record(1, count=5), record(1, count=5, **again)]
    shown = set()
    for order in list(permutations(copies))[::5]:
        client.command("TRUNCATE TABLE dmarc_rows SYNC")
        for each in order:
            dmarc(each)
        found = rows_of(client, "SELECT * FROM dmarc_records ORDER BY row")
        assert [(each["row"], int(each["messages"])) for each in found] == [(0, 10), (1, 5)]
        assert {each["mail_id"] for each in found} == {(b"b" * 16).hex()}
        shown.add(json.dumps(found))
    assert len(shown) == 1


def test_rows_of_other_reports_reporters_and_domains_stay_apart(client: Any, dmarc: Any) -> None:
    dmarc(
        record(0),
        record(0, report_id="r2"),
        record(0, reporter="yahoo"),
        record(0, policy_domain="b.example"),
    )
    # A reporter that always uses the same id.
    dmarc(record(0, begin_time=D0 + DAY_MS))
    assert client.query("SELECT count(), sum(messages) FROM dmarc_records").result_rows == [(5, 50)]


def test_a_source_is_named_by_who_signed_else_by_who_it_bounces_to_else_by_its_address(
    client: Any, dmarc: Any
) -> None:
    signed = [
        {"domain": "z.example", "selector": "", "result": "pass"},
        {"domain": "esp.example", "selector": "", "result": "pass"},
        {"domain": "a.example", "selector": "", "result": "fail"},
    ]
    bounces = [{"domain": "bounce.example", "scope": "mfrom", "result": "pass"}]
    dmarc(
        failing(0, ESP, dkim_results=signed, spf_results=bounces),
        failing(1, ESP, spf_results=bounces),
        failing(2, ESP),
    )
    found = rows_of(client, "SELECT row, source, authenticated FROM dmarc_records ORDER BY row")
    assert [each["source"] for each in found] == ["esp.example", "bounce.example", ESP]
    assert found[0]["authenticated"] == ["bounce.example", "esp.example", "z.example"]


def test_who_sends_as_us(client: Any, dmarc: Any) -> None:
    spf = [{"domain": "esp.example", "scope": "mfrom", "result": "pass"}]
    dmarc(
        record(0),
        failing(1, OWN, count=2, disposition="quarantine"),
        failing(2, ESP, count=700, disposition="reject", spf_results=spf, begin_time=D0 + DAY_MS),
        failing(
            3, IP, count=4, overrides=[{"type": "local_policy", "comment": "arc=pass as.2.example=pass"}]
        ),
        record(4, "192.0.2.2", count=0),
    )
    found = {each["source_ip"]: each for each in rows_of(client, "SELECT * FROM dmarc_sources")}
    assert set(found) == {OWN, ESP, IP}
    own, esp, ip = found[OWN], found[ESP], found[IP]
    assert [own["alignment"], esp["alignment"], ip["alignment"]] == ["some", "none", "none"]
    assert [int(own[name]) for name in ("messages", "aligned", "failing", "quarantined")] == [12, 10, 2, 2]
    assert [int(esp[name]) for name in ("messages", "failing", "rejected", "delivered")] == [700, 700, 700, 0]
    assert [int(ip[name]) for name in ("failing", "forwarded")] == [0, 4]
    assert (esp["authenticated"], esp["first_aligned"], esp["first_seen"]) == (
        ["esp.example"],
        None,
        "2026-01-02 00:00:00.000",
    )


def test_no_session_counts_twice_in_tls_reports(client: Any, insert: Any) -> None:
    rows = [
        tls(0, successful=5326, failed=303),
        tls(1, result_type="certificate-expired", failed_sessions=100),
        tls(2, result_type="starttls-not-supported", failed_sessions=203),
    ]
    for _ in range(2):
        insert(topics.REPORTS, rows, "tls_result")
    found = client.query(
        "SELECT sum(successful), sum(failed), sum(failed_sessions) FROM tls_reports"
    ).result_rows
    assert found == [(5326, 303, 303)]


def test_columns_lead_as_analysts_know_them(client: Any) -> None:
    def columns(view: str) -> list[str]:
        return [row[0] for row in client.query(f"DESCRIBE TABLE {view}").result_rows]

    assert columns("dmarc_records")[:5] == [
        "policy_domain",
        "header_from",
        "source_ip",
        "messages",
        "aligned",
    ]
    assert columns("dmarc_sources")[:4] == ["header_from", "source_ip", "authenticated", "alignment"]
    assert columns("tls_reports")[:4] == ["policy_domain", "policy_type", "successful", "failed"]
    assert columns("dmarc_failures")[:2] == ["reported_domain", "source_ip"]
