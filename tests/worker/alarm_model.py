"""Worlds with alarms: campaigns that go well and badly, and what their topics say of it afterwards."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from counting_model import HOUR_S, NOON_S, World
from storms import Fleet, event, recipient

from pipelines.alarms.transition import decode, encode_order, partition_of
from schemas import topics

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

    from schemas.alarms import Alarm

Row = dict[str, Any]
BAD = "complaint_rate:campaign:bad"
NOON_MS = NOON_S * 1000

RULES = """
[[rule]]
name = "complaint_rate"
signal = "complaint_rate"
dimensions = ["campaign"]
warning = 0.001
critical = 0.003
quiet_hours = 3
hold_hours = 2
"""
OFF = "".join(
    f'\n[[rule]]\nname = "{name}"\nsignal = "{signal}"\nenabled = false\n'
    for name, signal in (
        ("hard_bounce_rate", "hard_bounce_rate"),
        ("reject_rate", "reject_rate"),
        ("rendering_failure_rate", "rendering_failure_rate"),
        ("reputation_block", "reputation_block"),
        ("complaint_drift", "baseline_drift"),
        ("hard_bounce_drift", "baseline_drift"),
    )
)


def world(rng: random.Random, folder: Path, rules: str = RULES, **facts: Any) -> World:
    """One whose workers know of these rules alone."""
    path = folder / "rules.toml"
    path.write_text(rules + OFF)
    return World(rng, dimensions=("account", "campaign"), rules=path, **facts)


def mails(
    first: int, campaign: str, deliveries: int, complaints: int, *, hours: float = 0, late: float = 0
) -> list[Row]:
    """Deliveries that are eligible, and complaints about them; sent and delivered `hours` after noon."""
    sent = NOON_MS + int(hours * HOUR_S * 1000)
    kinds = ["Delivery"] * deliveries + ["Complaint"] * complaints
    return [
        event(
            first + number,
            event_type=kind,
            sent_time=sent,
            event_time=sent + (int(late * HOUR_S * 1000) if kind == "Complaint" else 0),
            campaign=campaign,
            feedback_a=campaign,
            recipients=[recipient("yahoo")],
        )
        for number, kind in enumerate(kinds)
    ]


class Crew(Fleet):
    """A fleet whose workers also obey orders and see time go by."""

    agents = ("count", "rate", "orders")

    def calm_moves(self) -> list[tuple[Any, Callable[[], object]]]:
        worker = self.world.rng.choice(self.workers)
        return [
            *super().calm_moves(),
            (worker, worker.tick),
            (worker, lambda: worker.step("orders", 2)),
        ]

    def drain(self) -> None:
        moved = True
        while moved:
            super().drain()
            moved = False
            for agent in self.agents:
                for worker in list(self.workers):
                    if worker in self.workers:
                        moved |= self.do(worker, lambda w=worker, a=agent: w.step(a, 50))

    def tick(self) -> None:
        for worker in list(self.workers):
            if worker in self.workers:
                self.do(worker, worker.tick)

    def hours(self, number: int) -> None:
        """Let so many hours go by without any traffic."""
        for _ in range(2 * number):
            self.world.pass_time(HOUR_S // 2)
            self.tick()


def order(world: World, key: str, what: str, number: int = 1, **facts: Any) -> None:
    """Give an order."""
    row = {"order_id": f"o{number}", "alarm_key": key, "order": what, "operator": "ann", "time": NOON_MS}
    partition = partition_of(key, world.partitions)
    block = encode_order(row | {"until": 0, "note": ""} | facts)  # type: ignore[arg-type]
    world.logs[topics.ALARM_ORDERS, partition].append((None, block))


def told(world: World) -> dict[str, list[Alarm]]:
    """Transitions by alarm key, in the order of their numbers; asserts what holds of all of them, always."""
    values: dict[tuple[str, int], bytes] = {}
    keys: dict[str, list[Alarm]] = defaultdict(list)
    for partition in range(world.partitions):
        for key, value in world.logs[topics.ALARMS, partition]:
            assert value is not None
            (row,) = decode(value)
            assert key == row["alarm_key"].encode()
            assert partition == partition_of(row["alarm_key"], world.partitions)
            known = values.setdefault((row["alarm_key"], row["seq"]), value)
            assert known == value, "one number, two transitions"
            if known is value:
                keys[row["alarm_key"]].append(row)
    for rows in keys.values():
        _check(rows)
    return dict(keys)


def _check(rows: list[Alarm]) -> None:
    """Numbers without gaps, times in order, one incident at a time."""
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
    incident = 0
    for row in rows:
        if row["cause"] == "evidence":
            assert not incident, "two incidents at once"
            incident = row["seq"]
        if incident:
            assert row["incident"] == incident
        if row["state"] in {"resolved", "ok"}:
            incident = 0


def causes(world: World, key: str = BAD) -> list[str]:
    return [row["cause"] for row in told(world).get(key, [])]
