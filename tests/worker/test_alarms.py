"""Alarms of the worker on the model of topics, changelogs, clocks and crashes."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from alarm_model import BAD, NOON_MS, RULES, Crew, causes, mails, order, told, world
from counting_model import HOUR_S, NOON_S, World

from pipelines.alarms import transition
from pipelines.worker import alarm_keys

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.alarms.machine import Machine

HOUR_MS = HOUR_S * 1000
GOOD = mails(1000, "good", 40, 0)
TROUBLE = mails(0, "bad", 12, 6)


def bad_hour(made: World) -> World:
    made.write_events([*TROUBLE, *GOOD], [2] * (len(TROUBLE) + len(GOOD)))
    made.pass_time(600)
    return made


def test_a_bad_campaign_fires_once_and_a_good_one_does_not(tmp_path: Path) -> None:
    made = bad_hour(world(random.Random(1), tmp_path))
    with Crew(made, most=1) as crew:
        crew.drain()
        crew.drain()
    rows = told(made)
    assert set(rows) == {BAD}
    first, *rest = rows[BAD]
    assert (first["state"], first["cause"], first["incident"]) == ("firing", "evidence", 1)
    assert [row["cause"] for row in rest] in ([], ["escalated"])
    assert rows[BAD][-1]["severity"] == "critical"
    assert first["opened_time"] == first["time"] == (NOON_S + 600) * 1000


def opened(made: World) -> list[str]:
    return [row["cause"] for row in told(made)[BAD] if row["cause"] != "escalated"]


def test_a_crash_before_any_effect_changes_nothing(tmp_path: Path) -> None:
    """Before and after the table, the transition and the acks, and before any other effect there is."""
    calm = bad_hour(world(random.Random(1), tmp_path))
    with Crew(calm, most=1) as crew:
        crew.drain()
    assert calm.effects > 20
    for number in range(calm.effects):
        made = bad_hour(world(random.Random(1), tmp_path, crashes={number, number + 5}))
        with Crew(made, most=1) as crew:
            crew.drain()
        assert opened(made) == ["evidence"], number
        assert told(made)[BAD][-1]["severity"] == "critical", number
        assert set(told(made)) == {BAD}, number


@pytest.mark.parametrize("seed", range(12))
def test_no_storm_tells_anything_twice_or_leaves_it_out(tmp_path: Path, seed: int) -> None:
    """Crashes, compaction, and partitions that change hands, while a campaign goes bad, ends and is ordered about."""
    rng = random.Random(seed)
    made = world(rng, tmp_path, crashes=set(rng.sample(range(400), 25)), partitions=3)
    bad_hour(made)
    with Crew(made) as crew:
        for number in range(30):
            crew.do(*rng.choice(crew.moves()))
            if number == 20:
                order(made, BAD, "ack")
        # Traffic of now: of a replay of old data time would not go on.
        made.write_events(mails(3000, "good", 3, 0, hours=(made.now_s - NOON_S) / HOUR_S), [1] * 3)
        crew.drain()
        assert opened(made)[0] == "evidence"
        crew.hours(12)
        crew.drain()
        rows = told(made)
        assert set(rows) == {BAD}
        assert rows[BAD][-1]["state"] == "resolved"
        before = len(rows[BAD])
        crew.rebalance()
        crew.hours(2)
        assert len(told(made)[BAD]) == before, "a rebalance brought news"


def test_partitions_go_to_another_worker_and_come_back(tmp_path: Path) -> None:
    made = bad_hour(world(random.Random(3), tmp_path, partitions=4))
    with Crew(made, most=1) as crew:
        crew.drain()
        for most in (2, 3, 1, 2):
            crew.most = most
            for worker in crew.workers:
                crew.do(worker, worker.commit)
            crew.rebalance()
            crew.tick()
            crew.drain()
    assert opened(made) == ["evidence"]
    records = sum(len(made.logs["ses.alarms", p]) for p in range(4))
    assert records == len(told(made)[BAD]), "what was told is told again"


def test_it_recovers_and_ends_when_nothing_more_comes(tmp_path: Path) -> None:
    made = bad_hour(world(random.Random(1), tmp_path))
    with Crew(made, most=1) as crew:
        crew.drain()
        crew.hours(8)
    rows = told(made)[BAD]
    assert [row["cause"] for row in rows][-2:] == ["quiet", "quiet"]
    assert [row["state"] for row in rows][-2:] == ["recovering", "resolved"]
    assert rows[-1]["time"] - rows[-2]["time"] == 2 * HOUR_MS
    assert 3 * HOUR_MS <= rows[-2]["time"] - NOON_MS <= 5 * HOUR_MS


def test_it_recovers_by_clean_traffic(tmp_path: Path) -> None:
    """Somebody complains all the while: it is not for want of hits that it ends."""
    rules = RULES.replace("0.001", "0.05").replace("0.003", "0.1")
    made = world(random.Random(1), tmp_path, rules)
    trouble = mails(0, "bad", 20, 12)
    made.write_events(trouble, [4] * len(trouble))
    made.pass_time(600)
    with Crew(made, most=1) as crew:
        crew.drain()
        for hour in range(1, 15):
            made.pass_time(HOUR_S)
            clean = mails(3000 + 1000 * hour, "bad", 90, 1, hours=hour)
            made.write_events(clean, [50] * len(clean))
            crew.drain()
            crew.tick()
    assert causes(made)[-2:] == ["clean", "clean"]
    assert told(made)[BAD][-1]["state"] == "resolved"


def test_a_replay_of_old_data_tells_the_past(tmp_path: Path) -> None:
    """All at once, a year later: it opens and ends when it did, and time does not go on beyond the data."""
    year = 365 * 24 * HOUR_S
    made = world(random.Random(2), tmp_path, now_s=NOON_S + year, retention_days=14)
    rows = [
        *mails(0, "bad", 12, 6),
        *(each for h in range(30) for each in mails(2000 + h * 50, "good", 5, 0, hours=h)),
    ]
    made.write_events(rows, [4] * len(rows))
    with Crew(made, most=1) as crew:
        crew.drain()
        crew.hours(3)
        crew.drain()
    told_of = told(made)[BAD]
    assert [row["state"] for row in told_of][-2:] == ["recovering", "resolved"]
    assert opened(made)[0] == "evidence"
    assert told_of[0]["time"] <= NOON_MS + 30 * HOUR_MS
    assert told_of[-1]["time"] <= NOON_MS + 31 * HOUR_MS
    assert told_of[0]["written_time"] >= (NOON_S + year) * 1000
    # The same again, as a second copy of the archive: nothing new.
    before = len(told_of)
    made.write_events(rows, [4] * len(rows))
    with Crew(made, most=2) as crew:
        crew.drain()
    assert len(told(made)[BAD]) == before


def test_an_hour_that_is_recounted_fires(tmp_path: Path) -> None:
    """Its complaints come when it is closed already: from ClickHouse, as an answer."""
    made = world(random.Random(1), tmp_path)
    made.write_events(mails(0, "bad", 12, 0, hours=-20), [3] * 12)
    made.write_events(mails(100, "good", 9, 0), [3] * 9)
    with Crew(made, most=1) as crew:
        crew.drain()
        assert BAD not in told(made)
        made.write_events(mails(200, "bad", 0, 6, hours=-20, late=20), [1] * 6)
        crew.drain()
    assert made.passes, "nothing was recounted"
    assert opened(made) == ["evidence"]


@pytest.mark.parametrize("days", [1, 3])
def test_an_archive_beside_live_traffic_is_of_the_past_and_late_feedback_is_not(
    tmp_path: Path, days: int
) -> None:
    """Its hours are open still, or closed and recounted; either is evaluated now, and says when its hits happened."""
    made = world(random.Random(1), tmp_path, open_hours=48, retention_days=14)
    live = [*mails(100, "good", 40, 0), *mails(300, "late", 40, 0, hours=-24 * days)]
    made.write_events(live, [4] * len(live))
    with Crew(made, most=1) as crew:
        crew.drain()
        archive = mails(1000, "bad", 40, 20, hours=-24 * days)
        complaints = mails(2000, "late", 0, 20, hours=-24 * days, late=24 * days)
        # Somebody complains of the bad campaign now, too: one of many.
        rows = [*archive, *mails(3000, "bad", 9, 1), *complaints]
        made.write_events(rows, [40] * len(rows))
        crew.drain()
    assert bool(made.passes) == (days == 3)
    found = told(made)
    for key, happened in ((BAD, NOON_MS - days * 24 * HOUR_MS), ("complaint_rate:campaign:late", NOON_MS)):
        opening = found[key][0]
        assert (opening["cause"], opening["time"]) == ("evidence", NOON_MS)
        assert transition.happened(opening) == happened


def test_orders_are_obeyed_once(tmp_path: Path) -> None:
    made = bad_hour(world(random.Random(1), tmp_path))
    with Crew(made, most=1) as crew:
        crew.drain()
        for _ in range(2):
            order(made, BAD, "ack")
        order(made, BAD, "silence", 2, until=NOON_MS + HOUR_MS)
        order(made, "pipeline:pipeline:sink", "ack", 3)
        order(made, "complaint_rate:campaign:unheard-of", "ack", 4)
        made.logs["ses.alarm-orders", 0].append((None, b"none"))
        order(made, BAD, "reset", 5)
        crew.drain()
    assert causes(made)[-3:] == ["acknowledged", "silenced", "reset"]
    assert told(made)[BAD][-3]["operator"] == "ann"
    assert told(made)[BAD][-1]["state"] == "ok"
    assert set(told(made)) == {BAD}
    (letter,) = made.clickhouse.letters.values()
    assert (letter["stage"], letter["cause"]) == ("alarm", "malformed_block")


def test_an_order_in_a_partition_of_before_the_topic_grew_finds_its_key(tmp_path: Path) -> None:
    made = bad_hour(world(random.Random(1), tmp_path))
    with Crew(made, most=1) as crew:
        crew.drain()
        order(made, BAD, "ack")
        lanes = [made.logs["ses.alarm-orders", p] for p in range(2)]
        lanes[0][:], lanes[1][:] = list(lanes[1]), list(lanes[0])
        crew.drain()
    assert causes(made)[-1] == "acknowledged"


def test_what_no_rule_covers_any_more_ends(tmp_path: Path) -> None:
    made = bad_hour(world(random.Random(1), tmp_path))
    with Crew(made, most=1) as crew:
        crew.drain()
        assert made.rules is not None
        text = made.rules.read_text()
        made.rules.write_text("warning = 7\n" + text)
        made.pass_time(10)
        crew.tick()
        assert crew.workers[0].app.numbers.rules_refused
        assert opened(made) == ["evidence"], "rules that cannot be used ended an alarm"
        made.rules.write_text(text.replace('"campaign"]', '"campaign"]\nexcept = ["ba*"]', 1))
        made.pass_time(10)
        crew.tick()
        assert not crew.workers[0].app.numbers.rules_refused
    last = told(made)[BAD][-1]
    assert (last["state"], last["cause"]) == ("resolved", "rule_gone")


def test_a_key_that_cannot_be_evaluated_is_told_and_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walk = alarm_keys.walk

    def broken(machine: Machine, rule: object, detector: object, series: object, way: object) -> object:
        if len(series.hours) == 1 and series.trials[0] == 7:  # type: ignore[attr-defined]
            raise ZeroDivisionError("no rate")
        return walk(machine, rule, detector, series, way)  # type: ignore[arg-type]

    monkeypatch.setattr(alarm_keys, "walk", broken)
    made = bad_hour(world(random.Random(1), tmp_path))
    made.write_events(mails(500, "odd", 7, 3), [50] * 10)
    with Crew(made, most=1) as crew:
        crew.drain()
    assert opened(made) == ["evidence"]
    letters = [each for each in made.clickhouse.letters.values() if each["stage"] == "alarm"]
    assert {each["source"] for each in letters} == {"alarm:complaint_rate:campaign:odd"}
    assert all(each["cause"] == "evaluation_failed" for each in letters)
    assert all("ZeroDivisionError: no rate" in each["detail"] for each in letters)
