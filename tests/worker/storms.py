"""Schedules: which process does what next, when one dies, who owns which partitions; and what events there are."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Self

from clickhouse_model import Recounter, Sink
from counting_model import HOUR_S, NOON_S, Worker, World
from crashes import Crash
from hypothesis import strategies as st

from schemas import topics

if TYPE_CHECKING:
    from collections.abc import Callable

Row = dict[str, Any]
Process = Worker | Sink | Recounter
MESSAGES = 3
PROVIDERS = ("gmail", "yahoo", "other")
LANDED = (topics.EVENTS, topics.RATES, topics.DEAD_LETTERS)


class Fleet:
    """The processes of a world. One that dies is started again; the workers' partitions are dealt anew then."""

    def __init__(self, world: World, most: int = 3) -> None:
        self.world = world
        self.most = most
        self.workers: list[Worker] = []
        self.sink = Sink(world)
        self.recounter = Recounter(world)
        world.meanwhile = self._meanwhile

    def rebalance(self) -> None:
        """Another number of workers, each partition with any of them."""
        rng, world = self.world.rng, self.world
        number = rng.randint(1, self.most)
        for worker in self.workers[number:]:
            worker.die()
        self.workers = self.workers[:number]
        self.workers += [Worker(world) for _ in range(number - len(self.workers))]
        owners = [rng.randrange(number) for _ in range(world.partitions)]
        for at, worker in enumerate(self.workers):
            worker.assign(frozenset(p for p, owner in enumerate(owners) if owner == at))

    def storm(self, moves: int) -> None:
        """So many moves at random, then whatever is left to do."""
        for _ in range(moves):
            self.do(*self.world.rng.choice(self.moves()))
        self.drain()

    def moves(self) -> list[tuple[Process | None, Callable[[], object]]]:
        """Whatever may happen."""
        return [
            *self.calm_moves(),
            (None, self._hand_over),
            (None, self.world.compact),
            (None, self.world.haunt),
        ]

    def calm_moves(self) -> list[tuple[Process | None, Callable[[], object]]]:
        """What the processes do, and the time."""
        rng, world = self.world.rng, self.world
        worker, sink, recounter = rng.choice(self.workers), self.sink, self.recounter
        return [
            *[(worker, lambda: worker.step("count", rng.randint(1, 4)))] * 3,
            *[(worker, lambda: worker.step("rate", rng.randint(1, 6)))] * 3,
            *[(worker, worker.commit)] * 2,
            *[(sink, lambda: sink.land(rng.choice(LANDED), rng.randint(1, 5)))] * 2,
            (recounter, recounter.gather),
            (recounter, recounter.answer),
            (None, lambda: world.pass_time(rng.choice((1, 1, 600, HOUR_S, 5 * HOUR_S)))),
        ]

    def _meanwhile(self) -> None:
        """While a worker is in the midst of a step, ClickHouse and the recounter may go on."""
        rng, sink, recounter = self.world.rng, self.sink, self.recounter
        moves: list[tuple[Process, Callable[[], object]]] = [
            *((sink, lambda topic=topic: sink.land(topic, 1000)) for topic in LANDED),
            (recounter, recounter.gather),
            (recounter, recounter.answer),
        ]
        for process, move in moves:
            if rng.random() < 0.15 and process in (self.sink, self.recounter):
                self.do(process, move)

    def _hand_over(self) -> None:
        """A rebalance without a death: what was done is committed first."""
        for worker in list(self.workers):
            if worker in self.workers:
                self.do(worker, worker.commit)
        self.rebalance()

    def do(self, process: Process | None, move: Callable[[], object]) -> bool:
        """Make a move; True when it did something, be it to die."""
        try:
            return bool(move())
        except Crash:
            if process is self.sink:
                self.sink = Sink(self.world)
            elif process is self.recounter:
                self.recounter = Recounter(self.world)
            else:
                process.die()
                self.workers.remove(process)
                self.rebalance()
            return True

    def drain(self) -> None:
        """Until nothing waits anywhere."""
        moved = True
        while moved:
            moved = self.world.haunt()
            for agent in ("count", "rate"):
                while any(self.do(w, lambda w=w, a=agent: w.step(a, 50)) for w in list(self.workers)):
                    moved = True
            for topic in LANDED:
                moved |= self.do(self.sink, lambda t=topic: self.sink.land(t, 1000))
            for worker in list(self.workers):
                if worker in self.workers:
                    self.do(worker, worker.commit)
            moved |= self.do(self.recounter, lambda: self.recounter.gather())  # noqa: PLW0108 - may be another by then
            moved |= self.do(self.recounter, lambda: self.recounter.answer())  # noqa: PLW0108

    def __enter__(self) -> Self:
        try:
            self.rebalance()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.die()


def event(number: int, **facts: Any) -> Row:
    """A complete event; the number is its identity."""
    return {
        "event_id": number.to_bytes(2, "big") * 8,
        "event_type": "Send",
        "event_time": NOON_S * 1000,
        "sent_time": NOON_S * 1000,
        "message_id": f"m{number % MESSAGES}",
        "account": "1",
        "region": "eu-west-1",
        "recipients": [recipient("gmail")],
        "tags": [],
        "tagged": True,
        "origin": "event",
    } | facts


def recipient(provider: str, **facts: Any) -> Row:
    row = {"address": "x", "domain": f"{provider}.example", "provider": provider, "smtp_reply": ""}
    return row | {"reports_complaints": provider == "yahoo", "blocked": False} | facts


def untagged(row: Row) -> Row:
    """The copy of an event that came without `mail.tags`."""
    gone = dict.fromkeys(("tenant", "configuration_set", "feedback_a", "feedback_b", "campaign"), "")
    return row | gone | {"tags": [], "tagged": False}


BOUNCES = st.fixed_dictionaries(
    {
        "event_type": st.just("Bounce"),
        "bounce_type": st.sampled_from(("Permanent", "Transient", "Undetermined")),
        "bounce_subtype": st.sampled_from(("General", "OnAccountSuppressionList", "OnTenantSuppressionList")),
        "out_of_office": st.booleans(),
    }
)
COMPLAINTS = st.fixed_dictionaries(
    {
        "event_type": st.just("Complaint"),
        "complaint_type": st.sampled_from(("abuse", "not-spam", "")),
        "complaint_subtype": st.sampled_from(("", "", "OnAccountSuppressionList")),
    }
)
OTHERS = st.fixed_dictionaries(
    {
        "event_type": st.sampled_from(
            (
                *(
                    "Send",
                    "Delivery",
                    "Delivery",
                    "Reject",
                    "Open",
                    "Click",
                    "Rendering Failure",
                    "DeliveryDelay",
                ),
                *("Subscription", "other"),
            )
        ),
        "machine_open": st.booleans(),
        "unsubscribed": st.booleans(),
    }
)
CAMPAIGNS = ("", "spring", "autumn")
SENT_HOURS = (0, 0, 0, -1, -3, -5, -6, -7, -12, -13, -24, -48, -60, 1, 2, 30)
"""Around the ends of 6 open hours, 12 hours of memory, 2 days of retention; old archives; the future."""
LAGS = (0, 0, 0, 1, 7, 30)
"""Hours between a mail and its feedback."""
SHIFTS = (0, 0, -7, -25, -60)
"""Hours by which all that one message is about, and so a partition, may be older."""


@st.composite
def facts(
    draw: st.DrawFn,
    hours: tuple[int, ...] = SENT_HOURS,
    campaigns: tuple[str, ...] = CAMPAIGNS,
    recipients: int = 0,
    *,
    reports: bool = True,
) -> Row:
    """What is particular to an event."""
    sent = (NOON_S + draw(st.sampled_from(hours)) * HOUR_S + draw(st.sampled_from((0, 1799, 3599)))) * 1000
    people = st.builds(
        recipient, st.sampled_from(PROVIDERS), blocked=st.booleans(), address=st.sampled_from("xxxyX")
    )
    kind = draw(st.one_of(OTHERS, OTHERS, BOUNCES, COMPLAINTS))
    named = draw(st.sampled_from(campaigns))
    team = draw(st.sampled_from(([], ["red"], ["blue", "red"])))
    origin = {"Bounce": "dsn", "Complaint": "arf"}.get(kind["event_type"], "") if reports else ""
    if origin and draw(st.booleans()):
        # A report as reports are, mostly; and as nobody should make them.
        team = draw(st.sampled_from(([], [], [], team)))
        recipients, most = draw(st.sampled_from(((1, 1), (1, 1), (recipients, 2))))
    else:
        origin, most = draw(st.sampled_from(("event", "notification"))), 2
    return kind | {
        "origin": origin,
        "sent_time": sent,
        "event_time": sent + draw(st.sampled_from(LAGS)) * HOUR_S * 1000,
        "recipients": draw(st.lists(people, min_size=recipients, max_size=most)),
        "campaign": named,
        "feedback_a": named,
        "feedback_b": draw(st.sampled_from(("", "b"))),
        "tags": [{"name": "team", "values": team}] if team else [],
    }


@st.composite
def stories(draw: st.DrawFn, most: int = 12, least: int = 1, copies: int = 5, **options: Any) -> list[Row]:
    """Copies of events in any order: each event once at least, five times at most, with tags or without."""
    told: list[Row] = []
    shifts = [draw(st.sampled_from(SHIFTS if "hours" not in options else (0,))) for _ in range(MESSAGES)]
    for number, each in enumerate(draw(st.lists(facts(**options), min_size=least, max_size=most))):
        row = event(number, **each)
        for name in ("sent_time", "event_time"):
            row[name] += shifts[number % MESSAGES] * HOUR_S * 1000
        tags = draw(st.lists(st.sampled_from((True, True, False)), min_size=1, max_size=copies))
        told += [row if tagged else untagged(row) for tagged in tags]
    random.Random(draw(st.integers(0, 999))).shuffle(told)
    return told


_HARD = {"event_type": "Bounce", "bounce_type": "Permanent"}
_SOFT = {"event_type": "Bounce", "bounce_type": "Transient"}
_ABUSE = {"event_type": "Complaint", "complaint_type": "abuse"}
_SAID = {
    "Bounce": (
        *(_HARD, _HARD, _SOFT, _SOFT | {"out_of_office": True}),
        _HARD | {"bounce_subtype": "OnAccountSuppressionList"},
    ),
    "Complaint": (_ABUSE, _ABUSE, _ABUSE | {"complaint_type": "not-spam"}),
}


def quarrel(rng: random.Random, least: int) -> list[Row]:
    """Bounces or complaints of one message, seldom two: of SES and of reports that agree more or less, in any order.

    Each is told once, twice or three times, with tags or without.
    """
    told: list[Row] = []
    kind = rng.choice(("Bounce", "Bounce", "Complaint"))
    for number in range(rng.randint(least, 7)):
        report = rng.random() < 0.5
        number_of = rng.choice((1, 1, 1, 1, 2, 0) if report else (1, 1, 1, 2, 2, 0))
        people = [
            recipient(rng.choice(("gmail", "gmail", "yahoo")), address=rng.choice(("x", "x", "X", "y")))
            for _ in range(number_of)
        ]
        row = event(
            number,
            **rng.choice(_SAID[kind]),
            message_id=rng.choice("mmmmn"),
            origin={"Bounce": "dsn", "Complaint": "arf"}[kind] if report else "event",
            sent_time=(NOON_S - rng.choice((0, 0, 0, 0, 1, 60)) * HOUR_S) * 1000,
            recipients=people,
            campaign=rng.choice(("spring", "spring", "spring", "autumn", "")),
            outgoing_ip="" if report else rng.choice(("", "192.0.2.1")),
            tags=[] if report else [{"name": "team", "values": ["red"]}],
        )
        copies = rng.choice(((True,), (True,), (True, True), (False, True), (False,), (True, False, True)))
        if report:
            copies = rng.choice(((True,), (True, True), (True,), (True,), (False, True)))
        told += [row if tagged else untagged(row) for tagged in copies]
    rng.shuffle(told)
    return told


def quarrels(least: int = 2) -> st.SearchStrategy[list[Row]]:
    """What `quarrel` makes, each as likely as any."""
    return st.integers(0, 2**32).map(lambda seed: quarrel(random.Random(seed), least))
