"""DMARC failures of a new source: asked of ClickHouse, told to a broker."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from connectors.watch import asking_reports
from schemas import topics

if TYPE_CHECKING:
    from collections.abc import Callable

    from connectors.clickhouse.sql import Through

pytestmark = pytest.mark.embedded

DAY_MS = 86_400_000
SIGNAL = "dmarc_failure"
RULES = """
[[rule]]
name = "pipeline"
signal = "pipeline"
enabled = false

[[rule]]
name = "dmarc_failure"
severity = "warning"
messages = 100
"""


@pytest.fixture
def report(insert: Callable[..., None]) -> Callable[..., None]:
    """`report(begin_ms, source_ip, count, …)`: a report of one record on a day."""

    def run(begin: int, source_ip: str, count: int, **fields: Any) -> None:
        row = {
            "report_id": f"{begin}{source_ip}{fields.get('signer')}",
            "reporter": "google.com",
            "policy_domain": "shop.example",
            "row": 0,
            "begin_time": begin,
            "end_time": begin + DAY_MS - 1000,
            "received_time": begin + DAY_MS,
            "policy": {"p": "reject"},
            "source_ip": source_ip,
            "count": count,
            "disposition": "reject",
            "aligned": False,
            "header_from": "shop.example",
            "mail_id": bytes(16),
        }
        if signer := fields.pop("signer", ""):
            row["dkim_results"] = [{"domain": signer, "selector": "s", "result": "pass"}]
        insert(topics.REPORTS, [row | fields], "dmarc_record")

    return run


def midnight(days: int) -> int:
    """So many days ago, UTC."""
    return (int(time.time()) // 86400 - days) * DAY_MS


def asked(target: Through, now: int, **more: Any) -> dict[str, Any]:
    options = {"least": 50, "wanted": [], "most": 100} | more
    found, _ = asking_reports.failing(target, now - 30 * DAY_MS, now, **options)
    return {f"{each.domain} {each.name}": each for each in found}


def test_what_is_known_of_failing_sources(target: Through, report: Any) -> None:
    now = midnight(0)
    report(midnight(60), "192.0.2.1", 1000, aligned=True, signer="shop.example")
    report(midnight(3), "198.51.100.7", 80, signer="esp.example")
    report(midnight(3), "198.51.100.8", 70, signer="esp.example", disposition="quarantine")
    # The same report, mailed twice.
    report(midnight(3), "198.51.100.8", 70, signer="esp.example", disposition="quarantine")
    # Known by its address; forwarded; too few; of four days; ours once.
    report(midnight(2), "2001:db8::9", 60)
    report(midnight(2), "203.0.113.1", 999, overrides=[{"type": "mailing_list", "comment": ""}])
    report(midnight(2), "203.0.113.2", 49)
    report(midnight(6), "203.0.113.3", 240, end_time=midnight(2))
    report(midnight(2), "192.0.2.1", 90)
    found = asked(target, now)
    assert set(found) == {
        f"shop.example {name}" for name in ("esp.example", "2001:db8::9", "203.0.113.3", "192.0.2.1")
    }
    esp = found["shop.example esp.example"]
    assert [(day.begin, day.messages) for day in esp.days] == [(midnight(3), 150)]
    assert (esp.history.first_seen, esp.history.aligned, esp.history.domain_since) == (
        midnight(3),
        False,
        midnight(60),
    )
    assert [esp.facts[name] for name in ("failing", "rejected", "quarantined", "published_policy")] == [
        150,
        80,
        70,
        "reject",
    ]
    assert esp.facts["source_ips"] == ["198.51.100.7", "198.51.100.8"]
    assert [day.messages for day in found["shop.example 203.0.113.3"].days] == [60]
    assert found["shop.example 192.0.2.1"].history.aligned
    assert asked(target, now, least=1e6, wanted=[("shop.example", "esp.example")]) == {
        "shop.example esp.example": esp
    }
    assert asking_reports.failing(target, 0, now, least=50, wanted=[], most=1)[1]


def test_reports_that_end_in_the_future_move_no_clock(target: Through, report: Any) -> None:
    now = midnight(0)
    assert asking_reports.newest_report(target, now) is None
    report(midnight(-400), "192.0.2.1", 1)
    assert asking_reports.newest_report(target, now) is None
    report(midnight(9), "192.0.2.1", 1)
    newest = asking_reports.newest_report(target, now)
    assert newest is not None
    assert (newest.hour + 3600) * 1000 == midnight(8) - 1000


def test_a_new_source_is_one_incident_whatever_comes_again(
    watching: Any, target: Through, report: Any, client: Any
) -> None:
    place = watching(target, RULES)
    report(midnight(60), "192.0.2.1", 1000, aligned=True, signer="shop.example")
    watch = place.watch()
    place.surveyed(watch)
    assert place.alarms(SIGNAL) == []
    for _ in range(2):
        report(midnight(2), "198.51.100.7", 250, signer="esp.example")
    place.until(lambda: len(place.alarms(SIGNAL)) == 1)
    report(midnight(1), "198.51.100.7", 5000, signer="esp.example")
    report(midnight(60), "192.0.2.1", 1000, aligned=True, signer="shop.example")
    place.surveyed(watch)
    place.stop()
    place.surveyed(place.watch())
    (alarm,) = place.alarms(SIGNAL)
    assert alarm["alarm_key"] == "dmarc_failure:dmarc_source:shop.example:esp.example"
    assert (alarm["state"], alarm["severity"], alarm["rate"], alarm["limit"]) == (
        "firing",
        "warning",
        250,
        100,
    )
    evidence = json.loads(alarm["evidence"])
    shown = client.query(evidence["sql"]).result_rows
    assert sorted(row[3] for row in shown) == [250, 5000]
