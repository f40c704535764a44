"""Delivery latency and stopped traffic, asked of ClickHouse and told to a broker."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from connectors.settings import Kafka, Settings
from connectors.watch import asking
from connectors.watch.ledger import all_alarms
from connectors.watch.rounds import Policy
from connectors.watch.watch import Watch
from pipelines.alarms.machine import Machine, pack, unpack
from pipelines.alarms.rules_file import RulesFile
from pipelines.alarms.silence import Hour
from pipelines.alarms.transition import Transition, row
from schemas import topics
from schemas.blocks import SINGLE_OBJECT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from connectors.clickhouse.sql import Through

pytestmark = pytest.mark.embedded

HOUR_MS = 3_600_000
WEEK_MS = 7 * 24 * HOUR_MS
H0 = 1_767_225_600
POLICY = Policy(look_s=0.05, survey_s=0.05, hear_s=0.02, again_s=0.1, grace_s=0)
RULES = """
[[rule]]
name = "pipeline"
signal = "pipeline"
enabled = false

[[rule]]
name = "codes"
signal = "delivery_latency"
dimensions = ["tag:kind"]
values = ["login-*"]
percentile = 0.95
warning = 30
critical = 300
hold_hours = 0.25

[[rule]]
name = "traffic_stopped"
signal = "traffic_stopped"
dimensions = ["account"]
severity = "critical"
weeks = 2
silent_minutes = 20
hold_hours = 0.5
"""


@pytest.fixture
def delivery(event: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """`delivery(7, sent_ms, seconds, kind="login-code")`: a Delivery so long after its send."""

    def make(number: int, sent: int, seconds: float, kind: str = "login-code", **more: Any) -> dict[str, Any]:
        fields = {
            "event_type": "Delivery",
            "sent_time": sent,
            "event_time": sent + int(seconds * 1000),
            "tags": [{"name": "kind", "values": [kind]}],
        }
        return event(number, **fields | more)

    return make


class Place:
    """Watches, one after the other, on one broker and one ClickHouse; the sink is the test's."""

    def __init__(self, kafka: Kafka, target: Through, rules: Path, client: Any) -> None:
        self.settings = Settings(kafka=kafka)
        self.target = target
        self.rules = rules
        self.client = client
        self.ahead_s = 0.0
        self._running: list[tuple[threading.Event, threading.Thread]] = []

    def clock(self) -> float:
        return time.time() + self.ahead_s

    def watch(self) -> Watch:
        watch = Watch(self.settings, RulesFile(self.rules), self.target, policy=POLICY, clock=self.clock)
        stop = threading.Event()
        thread = threading.Thread(target=watch.run, args=(stop,), daemon=True)
        thread.start()
        self._running.append((stop, thread))
        return watch

    def stop(self) -> None:
        for stop, _ in self._running:
            stop.set()
        for _, thread in self._running:
            thread.join(60)
            assert not thread.is_alive()
        self._running = []


@pytest.fixture
def place(kafka: Kafka, target: Through, tmp_path: Path, client: Any) -> Iterator[Place]:
    rules = tmp_path / "rules.toml"
    rules.write_text(RULES)
    place = Place(kafka, target, rules, client)
    yield place
    place.stop()


@pytest.fixture
def alarms(kafka: Kafka) -> Callable[[], list[Any]]:
    """What `ses.alarms` holds by now, but for alarms of the pipeline, whose sink is not there."""

    def read() -> list[Any]:
        found = all_alarms(kafka, SINGLE_OBJECT, lambda: False)
        return [alarm for alarm in found if alarm["signal"] != "pipeline"]

    return read


def surveyed(watch: Watch, times: int = 2) -> None:
    """Wait until a survey that begins now has ended."""
    enough = watch.numbers.surveys + times
    until(lambda: watch.numbers.surveys >= enough)


def until(condition: Callable[[], bool], said: Callable[[], str] = str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, said()
        time.sleep(0.02)


def test_slow_login_codes_fire_recover_and_resolve_in_the_time_of_the_events(
    place: Place, delivery: Any, insert: Any, alarms: Any
) -> None:
    watch = place.watch()
    surveyed(watch)
    rows = []
    for hour in range(10):
        slow = hour in (1, 2)
        rows += [
            delivery(
                hour * 1000 + each,
                (H0 + hour * 3600) * 1000 + each * 10_000,
                80 if slow and each % 2 else 4,
                kind="login-code" if each % 3 else "newsletter",
            )
            for each in range(300)
        ]
    insert(topics.EVENTS, [*rows, *rows[:500]])
    surveyed(watch)
    told = alarms()
    assert {row["alarm_key"] for row in told} == {"codes:tag:kind:login-code"}
    assert [row["state"] for row in told] == ["firing", "recovering", "resolved"]
    fired = told[0]
    assert fired["time"] == (H0 + 2 * 3600) * 1000
    assert (fired["severity"], fired["rate"], fired["limit"]) == ("warning", 80.0, 30.0)
    assert '"hits":100,"trials":200,' in fired["evidence"]
    # The same events once more, and a watch that begins again with what is in Kafka: nothing new.
    insert(topics.EVENTS, rows)
    surveyed(watch)
    place.stop()
    surveyed(place.watch())
    assert alarms() == told


def test_codes_that_ses_cannot_deliver_are_slow_before_they_are_delivered(
    target: Through, delivery: Any, insert: Any
) -> None:
    sent = H0 * 1000
    rows = [delivery(each, sent, 5, message_id=f"m{each}") for each in range(5)]
    rows += [
        # Not delivered yet, and that was said 40 s and 400 s after the send.
        delivery(10, sent, 40, event_type="DeliveryDelay", message_id="d10"),
        delivery(11, sent, 400, event_type="DeliveryDelay", message_id="d11"),
        # Delivered after all: counts once.
        delivery(12, sent, 40, event_type="DeliveryDelay", message_id="d12"),
        delivery(13, sent, 500, message_id="d12"),
        # Too soon to say.
        delivery(14, sent, 10, event_type="DeliveryDelay", message_id="d14"),
        delivery(15, sent, 5, message_id="m15", kind="newsletter"),
        # Before it was sent: a clock is off, and that is not slow.
        delivery(16, sent, -5, message_id="m16"),
    ]
    insert(topics.EVENTS, rows)
    insert(topics.EVENTS, rows)
    found = asking.delivered(target, "tag:kind", [H0], [30, 300], ["login-*"])
    assert found == [asking.Delivered("login-code", H0, 9, (3, 2))]
    assert asking.percentile(target, "tag:kind", "login-code", [H0], 0.5) == 5.0
    assert asking.percentile(target, "tag:kind", "other", [H0], 0.5) is None


def test_each_dimension_is_asked_as_it_is_counted(target: Through, event: Any, insert: Any, to: Any) -> None:
    fields = {"event_type": "Delivery", "feedback_a": "a", "feedback_b": "b", "configuration_set": "main"}
    insert(
        topics.EVENTS,
        [
            event(1, recipients=[to("yahoo"), to("gmail"), to("yahoo")], **fields),
            event(2, campaign="", tagged=False, event_type="Delivery", region="", feedback_a="a"),
        ],
    )
    hours = [H0]

    def values(dimension: str) -> set[str]:
        return {each.value for each in asking.delivered(target, dimension, hours, [30], ["*"])}

    assert values("provider_campaign") == {"yahoo:spring", "gmail:spring"}
    assert values("provider") == {"yahoo", "gmail"}
    assert values("feedback_ab") == {"a:b"}
    assert values("account") == {"111122223333"}
    assert values("campaign") == {"spring"}
    assert values("region") == {"eu-west-1"}
    assert [
        asking.delivered(target, "campaign", hours, [30], patterns) != []
        for patterns in (
            ["spr*"],
            ["s?ring"],
            ["SPRING"],
            ["s_ring"],
            ["spring%"],
            ["sprin[g]"],
            ["x", "*ng"],
        )
    ] == [True, True, False, False, False, True, True]
    sent = {value: hour for value, _, hour in asking.sent(target, "provider", H0, H0 + 3600, ["*"])}
    assert sent == {"yahoo": Hour(1, 2), "gmail": Hour(1, 1)}


def test_where_the_broker_forgets_clickhouse_is_the_memory(place: Place, insert: Any, alarms: Any) -> None:
    key = "no_such_rule:campaign:spring"
    was = Machine(
        seq=5,
        state="firing",
        severity="warning",
        incident=4,
        opened=H0,
        changed=H0,
        signal="delivery_latency",
    )
    last = Transition(
        seq=5,
        time=H0 * 1000,
        cause="evidence",
        state="firing",
        severity="warning",
        incident=4,
        opened=H0 * 1000,
        signal="delivery_latency",
        rate=None,
        limit=None,
        e_value=None,
        machine=pack(was),
    )
    alarm = row(last, "no_such_rule", "campaign", "spring", 0)
    insert(topics.ALARMS, [alarm, {**alarm, "seq": 4, "machine": b""}])
    surveyed(place.watch())
    until(lambda: alarms() != [])
    (told,) = alarms()
    assert (told["alarm_key"], told["seq"], told["cause"], told["incident"]) == (key, 6, "rule_gone", 4)
    assert unpack(told["machine"]).state == "resolved"


def steady(client: Any, begin_ms: int, end_ms: int, every_s: int = 60) -> None:
    """Sends of an account at a pace; landed as they were sent."""
    client.command(
        "INSERT INTO event_rows (event_id, sent_time, event_time, event_type, message_id, account, recipients, tagged,"
        " origin, path, arrival_id, landed)"
        f" SELECT toFixedString(unhex(hex(MD5(toString({begin_ms} + number)))), 16), at, at, 'Send',"
        f" toString({begin_ms} + number), '111122223333', [], true, 'event', 'sns', number, at + 2"
        f" FROM (SELECT number, fromUnixTimestamp64Milli(toInt64({begin_ms} + number * {every_s * 1000})) AS at"
        f" FROM numbers({(end_ms - begin_ms) // (every_s * 1000)}))"
    )


def test_traffic_that_stops_is_told_and_its_return_too(place: Place, client: Any, alarms: Any) -> None:
    now = int(time.time() * 1000)
    steady(client, now - 3 * WEEK_MS, now)
    watch = place.watch()
    surveyed(watch)
    assert alarms() == []
    place.ahead_s = 1500
    until(lambda: alarms() != [])
    (told,) = alarms()
    assert told["alarm_key"] == "traffic_stopped:account:111122223333"
    assert (told["state"], told["severity"], told["limit"]) == ("firing", "critical", 20.0)
    assert told["rate"] >= 24
    place.stop()
    watch = place.watch()
    surveyed(watch)
    assert len(alarms()) == 1
    back = told["time"] + 1000
    steady(client, back, back + 120_000)
    place.ahead_s += 180
    until(lambda: len(alarms()) == 2)
    steady(client, back + 120_000, back + 3 * HOUR_MS)
    place.ahead_s += 3600
    until(lambda: len(alarms()) == 3)
    assert [(row["seq"], row["state"]) for row in alarms()] == [
        (1, "firing"),
        (2, "recovering"),
        (3, "resolved"),
    ]


def test_a_replay_stops_nothing_nor_does_traffic_that_is_on_its_way(
    place: Place, client: Any, alarms: Any, send: Any
) -> None:
    past = int(time.time() * 1000) - 52 * WEEK_MS
    steady(client, past - 3 * WEEK_MS, past, every_s=300)
    # They landed today.
    client.command("ALTER TABLE event_rows UPDATE landed = now64(3) WHERE 1 SETTINGS mutations_sync = 1")
    watch = place.watch()
    surveyed(watch)
    assert alarms() == []
    now = int(time.time() * 1000)
    steady(client, now - 3 * WEEK_MS, now)
    surveyed(watch)
    # The sink stands still: there may be sends in what it has not landed.
    send(topics.EVENTS, b"a block")
    looks = watch.numbers.looks
    until(lambda: watch.numbers.looks > looks + 3)
    place.ahead_s = 7200
    until(lambda: "s behind" in watch.numbers.trouble, lambda: str(watch.numbers))
    surveyed(watch)
    assert [row for row in alarms() if row["signal"] == "traffic_stopped"] == []
