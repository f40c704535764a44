"""Threads end the same whatever dies, moves or is compacted, and wherever a worker begins again."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from thread_model import MailCrew, MailInstance, MailMemory, MailWorld, changelog_kinds

from connectors.rebuilding import threads
from schemas import topics
from schemas.blocks import decode, encode

Row = dict[str, Any]
_CONVERSATIONS = Path(__file__).parent.parent / "threads" / "conversations.py"
_spec = importlib.util.spec_from_file_location("conversations_of_threads", _CONVERSATIONS)
talk: Any = importlib.util.module_from_spec(_spec) if _spec else SimpleNamespace()
if _spec and _spec.loader:
    _spec.loader.exec_module(talk)


def story() -> tuple[list[Row], list[Row]]:
    """Parents that come late, feedback that waits, a bare message that is drawn in by a shared Message-ID."""
    ours = talk.cited(talk.SES[0])
    messages = [
        talk.message(0, header_message_id="c1@us.example", base_subject="news"),
        talk.message(1, header_message_id="c1@us.example"),
        talk.message(2, in_reply_to=["t2@them.example"]),
        talk.message(3),
    ]
    mails = [
        talk.mail(1, message_id="t1@them.example", in_reply_to=[ours]),
        talk.mail(2, message_id="t2@them.example", references=["t1@them.example", ours], base_subject="news"),
        talk.mail(3, message_id="t3@them.example", in_reply_to=["t9@them.example"]),
        talk.mail(4, message_id="t9@them.example", in_reply_to=["t2@them.example"], conversations=["case:1"]),
        talk.mail(5, feedback=[talk.about(5, ses_id=talk.SES[3]), talk.about(6, ses_id=talk.SES[4])]),
        talk.mail(6, feedback=[talk.about(7, message_id=ours)], conversations=["case:1"]),
    ]
    return mails, messages


def told(mails: list[Row], messages: list[Row], seed: int) -> list[tuple[str, Row]]:
    rows = [("in", each) for each in mails] + [("out", each) for each in messages]
    random.Random(seed).shuffle(rows)
    return rows


def lived(crashes: set[int], seed: int = 5) -> MailWorld:
    world = MailWorld(random.Random(7), partitions=1, crashes=crashes)
    rows = told(*story(), seed=seed)
    world.write_mail(rows, [2] * len(rows))
    with MailCrew(world, most=1) as crew:
        crew.drain()
    return world


@pytest.mark.parametrize("seed", range(3))
def test_a_crash_before_any_effect_changes_no_thread(seed: int) -> None:
    calm = lived(set(), seed)
    truth = talk.Oracle(*story(), apart=False)
    assert calm.land_all().members == truth.members()
    assert calm.land_all().reports() == truth.feedback()
    assert changelog_kinds(calm) == {bytes, tuple}
    for crash in range(calm.effects):
        world = lived({crash, crash + 3}, seed)
        assert world.effects > crash, "nobody crashed"
        house = world.land_all()
        assert house.members == truth.members(), crash
        assert house.reports() == truth.feedback(), crash


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(talk.conversations(), st.integers(0, 2**32), st.sets(st.integers(0, 60), max_size=4), st.booleans())
def test_no_storm_changes_a_thread(
    what: tuple[list[Row], list[Row]],
    seed: int,
    crashes: set[int],
    apart: bool,  # noqa: FBT001 - drawn
) -> None:
    rng = random.Random(seed)
    world = MailWorld(rng, crashes=crashes, tenants_apart=apart)
    rows = told(*what, seed=seed)
    rows += rng.choices(rows, k=rng.randint(0, len(rows))) if rows else []
    world.write_mail(rows, [rng.randint(1, 3) for _ in rows])
    with MailCrew(world) as crew:
        crew.storm(rng.randint(0, 30))
        before = crew.state()
        world.compact_all()
        truth = talk.Oracle(*what, apart=apart)
        house = world.land_all()
        assert house.members == truth.members()
        assert house.reports() <= truth.feedback()
        if len({each["header_message_id"] for each in what[1]}) == len(what[1]):
            assert house.reports() == truth.feedback()
        for worker in crew.workers:
            ours = worker.assigned
            worker.assign(frozenset())
            worker.assign(ours)
        assert crew.state() == before


@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(talk.conversations(), st.integers(0, 2**32), st.integers(1, 4), st.booleans())
def test_no_death_of_an_instance_changes_a_thread(
    what: tuple[list[Row], list[Row]],
    seed: int,
    lives: int,
    apart: bool,  # noqa: FBT001 - drawn
) -> None:
    """Each life begins with an empty broker, and the sources give again what has not landed."""
    rng = random.Random(seed)
    world = MailWorld(rng, tenants_apart=apart)
    rows = told(*what, seed=seed)
    for life in range(lives):
        world.logs.clear()
        world.committed.clear()
        known = world.house
        given_again = [
            (kind, row)
            for kind, row in rows
            if (
                row["mail_id"] not in known.mails if kind == "in" else row["message_id"] not in known.messages
            )
            or rng.random() < 0.2
        ]
        world.write_mail(given_again, [rng.randint(1, 3) for _ in given_again])
        with MailInstance(world) as instance:
            for _ in range(rng.randint(0, 20)):
                instance.do(*rng.choice(instance.calm_moves()))
            if life == lives - 1:
                instance.drain()
                for topic in (topics.INBOUND, topics.OUTBOUND, topics.THREADS, topics.EVENTS):
                    instance.land(topic, 1000)
    truth = talk.Oracle(*what, apart=apart)
    assert world.house.members == truth.members()
    assert world.house.reports() <= truth.feedback()
    if len({each["header_message_id"] for each in what[1]}) == len(what[1]):
        assert world.house.reports() == truth.feedback()


def test_a_report_is_told_though_the_instance_died_between_its_mail_and_its_event() -> None:
    """Mail and message have landed and are not given again; the event had not."""
    world = MailWorld(random.Random(1), partitions=1)
    world.house.mails = {each["mail_id"]: each for each in story()[0]}
    world.house.messages = {each["message_id"]: each for each in story()[1]}
    truth = talk.Oracle(*story(), apart=False)
    for _ in range(2):
        world.logs.clear()
        with MailInstance(world) as instance:
            for topic in (topics.THREADS, topics.EVENTS):
                instance.land(topic, 1000)
        assert world.house.reports() == truth.feedback()
        assert world.house.members == truth.members()
    assert not any(world.logs[topic, 0] for topic in (topics.THREADS, topics.EVENTS)), "told twice"


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("known", [0.0, 0.5, 1.0])
def test_a_worker_goes_on_from_what_a_rebuild_wrote(known: float, apart: bool) -> None:  # noqa: FBT001 - a case
    """Over other partitions than before; of what has landed some was told."""
    mails, messages = story()
    for number, each in enumerate([*mails, *messages]):
        each["tenant"] = "acme" if number % 3 else "zeta"
    rng = random.Random(3)
    world = MailWorld(rng, partitions=3, tenants_apart=apart)
    rows = told(mails, messages, seed=4)
    landed = [each for each in rows if rng.random() < known]
    world.house.mails = {row["mail_id"]: row for kind, row in landed if kind == "in"}
    world.house.messages = {row["message_id"]: row for kind, row in landed if kind == "out"}
    for partition, key, value in threads(MailMemory(world.house), world.config(), world.now_s):
        world.logs["threads-changelog", partition].append((key, value))
    world.write_mail(rows, [2] * len(rows))
    with MailCrew(world, most=2) as crew:
        crew.drain()
    truth = talk.Oracle(mails, messages, apart=apart)
    assert world.land_all().members == truth.members()
    assert world.land_all().reports() == truth.feedback()


def test_poison_goes_to_the_dead_letters_and_the_rest_goes_on() -> None:
    world = MailWorld(random.Random(1), partitions=1)
    mails, messages = story()
    torn = encode("inbound_mail", mails)[:-30] + b"\0"
    wrong = encode("outbound_message", messages[:1])
    world.logs[topics.INBOUND, 0] += [(None, value) for value in (b"poison", torn, wrong)]
    world.logs[topics.OUTBOUND, 0] += [(None, encode("outbound_message", messages)[:-9] + b"\0")]
    rows = told(mails, messages, seed=1)
    world.write_mail(rows, [2] * len(rows))
    with MailCrew(world, most=1) as crew:
        crew.drain()
    letters = [row for _, value in world.logs[topics.DEAD_LETTERS, 0] for row in decode(value or b"")]
    assert sorted((row["stage"], row["source"]) for row in letters) == [
        ("thread", "kafka://mail.inbound/0/0"),
        ("thread", "kafka://mail.inbound/0/1"),
        ("thread", "kafka://mail.inbound/0/2"),
        ("thread", "kafka://mail.outbound/0/0"),
    ]
    assert world.land_all().members == talk.Oracle(mails, messages, apart=False).members()


def test_rows_of_another_partition_are_sent_on_to_it() -> None:
    """Written by a bridge that keeps tenants apart, or before the topics grew."""
    mails, messages = story()
    for each in messages:
        each["tenant"] = "acme"
    world = MailWorld(random.Random(1), partitions=3)
    for number, (kind, row) in enumerate(told(mails, messages, seed=2)):
        topic, record = (
            (topics.INBOUND, "inbound_mail") if kind == "in" else (topics.OUTBOUND, "outbound_message")
        )
        world.logs[topic, number % 3].append((None, encode(record, [row])))
    with MailCrew(world, most=2) as crew:
        crew.drain()
    assert world.land_all().members == talk.Oracle(mails, messages, apart=False).members()
