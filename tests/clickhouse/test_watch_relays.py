"""Mail of relays that are not expected: asked of ClickHouse, told to a broker."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from connectors.watch import asking_mails
from schemas import topics

if TYPE_CHECKING:
    from connectors.clickhouse.sql import Through

pytestmark = pytest.mark.embedded

HOUR_MS = 3_600_000
SIGNAL = "unexpected_relay"
RULES = """
[[rule]]
name = "pipeline"
signal = "pipeline"
enabled = false

[[rule]]
name = "unexpected_relay"
except = ["partner.example"]
"""


def _mail(number: int, received: int, **fields: Any) -> dict[str, Any]:
    row = {"mail_id": bytes([number]) * 16, "received_time": received, "kind": "reply", "path": "s3"}
    return row | {"verdicts": {}, "tenant": "shop", "from_domain": "bank.example"} | fields


def _claiming(number: int, received: int, org: str, **fields: Any) -> dict[str, Any]:
    results = "amazonses.com; spf=pass (spfCheck: domain of bank.example) client-ip=192.0.2.7; envelope-from=a; helo=h;"
    unexpected = {"relay": "unexpected", "originator_org": org, "authentication_results": [results]}
    return _mail(number, received, **unexpected) | fields


def test_what_is_known_of_relays(target: Through, insert: Any) -> None:
    now = int(time.time()) * 1000
    assert asking_mails.newest_mail(target, now) is None
    insert(
        topics.INBOUND,
        [
            _mail(1, now - 60_000, relay="expected", originator_org="ours"),
            _mail(2, now - 30_500),
            _mail(3, now + HOUR_MS),
            *(_claiming(n, now - n * HOUR_MS, "Evil") for n in (4, 5)),
            # Copies of one mail are one.
            _claiming(5, now - 5 * HOUR_MS, "Evil", path="sns", arrival_id=7),
            _claiming(6, now - 4 * HOUR_MS, "EVIL", tenant="bank"),
            _claiming(7, now - 40 * HOUR_MS, "Evil"),
            _claiming(8, now - 2 * HOUR_MS, "", authentication_results=[]),
        ],
    )
    insert(
        topics.THREADS,
        [
            {
                "member": f"in:{(bytes([4]) * 16).hex()}",
                "thread_id": "t",
                "direction": "in",
                "rank": 0,
                "time": now,
            }
        ],
    )
    found = asking_mails.newest_mail(target, now)
    assert found is not None
    assert now - 30_500 <= (found.newest.hour + 3600) * 1000 <= now - 29_000
    assert abs(found.unexpected_landed - time.time() * 1000) < HOUR_MS
    (evil, nobody), more = asking_mails.unexpected(target, now - 24 * HOUR_MS, now, 10)
    assert not more
    assert (evil.name, evil.mails, nobody.name, nobody.mails) == ("evil", 3, "(none)", 1)
    assert sorted(hour.mails for hour in evil.hours) == [1, 2]
    assert evil.facts["source_ips"] == ("192.0.2.7",)
    assert nobody.facts["source_ips"] == ()
    assert set(evil.facts["to_tenants"]) == {"shop", "bank"}
    assert set(evil.facts["sample_mail_ids"]) == {(bytes([n]) * 16).hex() for n in (4, 5, 6)}
    assert asking_mails.unexpected(target, now - 24 * HOUR_MS, now, 1)[1]


def test_a_relay_is_one_notice_whatever_comes_again(
    watching: Any, target: Through, insert: Any, client: Any
) -> None:
    place = watching(target, RULES)
    now = int(time.time() * 1000)
    insert(topics.INBOUND, [_mail(1, now - HOUR_MS), _claiming(2, now - HOUR_MS, "Partner.example")])
    watch = place.watch()
    place.surveyed(watch)
    assert place.alarms(SIGNAL) == []
    evil = [_claiming(n, now - 2 * HOUR_MS - n, "it's \\evil\n") for n in (3, 4)]
    for _ in range(2):
        insert(topics.INBOUND, evil)
    place.until(lambda: len(place.alarms(SIGNAL)) == 1)
    insert(topics.INBOUND, [*evil, _claiming(5, now - 1000, "it's \\evil\n")])
    place.surveyed(watch)
    place.stop()
    place.surveyed(place.watch())
    (alarm,) = place.alarms(SIGNAL)
    assert alarm["alarm_key"] == "unexpected_relay:originator_org:it's \\evil"
    assert (alarm["state"], alarm["severity"], alarm["limit"]) == ("firing", "notice", 1)
    evidence = json.loads(alarm["evidence"])
    assert evidence["mails"] == alarm["rate"] == 2
    shown = client.query(evidence["sql"]).result_rows
    assert {row[0] for row in shown} == {(bytes([n]) * 16).hex() for n in (3, 4, 5)}
    place.stop()
    # Days of silence later it is over; the clock is the watch's own, for mail that was live stays so.
    place.surveyed(place.watch(lambda: time.time() + 73 * 3600))
    place.stop()
    place.surveyed(place.watch(lambda: time.time() + 98 * 3600))
    assert [(each["state"], each["cause"]) for each in place.alarms(SIGNAL)] == [
        ("firing", "evidence"),
        ("recovering", "quiet"),
        ("resolved", "quiet"),
    ]


def test_an_archive_is_looked_at_from_its_own_end(watching: Any, target: Through, insert: Any) -> None:
    place = watching(target, RULES)
    then = (int(time.time()) - 400 * 86_400) * 1000
    insert(topics.INBOUND, [_mail(1, then), _claiming(2, then - HOUR_MS, "evil")])
    watch = place.watch()
    place.until(lambda: len(place.alarms(SIGNAL)) == 1)
    place.surveyed(watch)
    (alarm,) = place.alarms(SIGNAL)
    assert then <= alarm["time"] <= then + 2000
