"""The worker's model with the real SQL behind it: what streams by and what is recounted end in the same `rates`."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from clickhouse_model import NaiveClickHouse
from counting_model import World
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from storms import Fleet, stories

from connectors.clickhouse.answers import Answers
from connectors.clickhouse.inserts import TARGETS, insert_blocks
from schemas.blocks import open_block
from schemas.counters import COUNTERS

if TYPE_CHECKING:
    import naive

    from connectors.clickhouse.client import Client

pytestmark = pytest.mark.embedded

Row = dict[str, Any]
DIMENSIONS = ("account", "campaign", "provider", "provider_campaign", "tag:team")
SHOWN = (
    f"SELECT toString(dimension), value, toUnixTimestamp(hour), {', '.join(COUNTERS)} FROM rate_rows FINAL"
)


class RealClickHouse(NaiveClickHouse):
    """The tables and queries of chdb; the naive count stands beside them."""

    def __init__(self, client: Client) -> None:
        super().__init__(DIMENSIONS)
        self.client = client
        for table in ("event_rows", "rate_rows"):
            client.command(f"TRUNCATE TABLE {table}")

    def insert(self, topic: str, values: Any) -> None:
        super().insert(topic, values)
        insert_blocks(self.client, TARGETS[topic][0], [open_block(value) for value in values])

    def answers(self, keys: Any, now_us: int) -> list[Row]:
        return [row for rows in Answers(self.client, lambda work: work())(keys) for row in rows]

    def shown(self) -> naive.Table:
        rows = self.client.query(SHOWN).result_rows
        found = {(name, value, int(hour)): tuple(map(int, counters)) for name, value, hour, *counters in rows}
        return {key: counters for key, counters in found.items() if any(counters)}


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    rows=stories(most=6, copies=3),
    seed=st.integers(0, 2**32),
    crashes=st.sets(st.integers(0, 80), max_size=4),
)
def test_rates_are_those_of_a_naive_count(
    client: Client, rows: list[Row], seed: int, crashes: set[int]
) -> None:
    world = World(random.Random(seed), dimensions=DIMENSIONS, crashes=crashes)
    world.clickhouse = RealClickHouse(client)
    world.write_events(rows, [world.rng.randint(1, 4) for _ in rows])
    with Fleet(world) as fleet:
        fleet.storm(10)
    assert world.clickhouse.shown() == world.clickhouse.truth()


def test_a_later_answer_never_looks_older(client: Client) -> None:
    """ClickHouse's clock may be set back between two passes."""
    answers = Answers(client, lambda work: work())
    answers._as_of = ahead = 1 << 60
    times = [row["as_of"] for _ in range(2) for rows in answers([("account", "1", 0)]) for row in rows]
    assert times == [ahead + 1, ahead + 2]
