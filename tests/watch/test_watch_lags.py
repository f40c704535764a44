"""Where groups stand, on a real broker."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import pytest
from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition

from connectors.errors import BrokerError
from connectors.kafka import client_options
from connectors.settings import Kafka
from connectors.watch.lags import Lag, Lags
from schemas import topics

pytestmark = pytest.mark.embedded

NOTHING = Lag(0, 0.0, 0.0, 0.0)


def commit(kafka: Kafka, group: str, topic: str, offset: int) -> None:
    options = client_options(kafka) | {"group_id": group, "enable_auto_commit": False}
    with contextlib.closing(KafkaConsumer(**options)) as consumer:
        place = TopicPartition(topic, 0)
        consumer.assign([place])
        consumer.commit({place: OffsetAndMetadata(offset, "", -1)})


def test_a_lag_has_a_number_an_age_and_whether_it_moves(place: Any) -> None:
    lags = Lags(place.kafka)
    with contextlib.closing(lags):
        now = int(time.time() * 1000)
        assert lags.look(now) == {"worker": NOTHING, "sink": NOTHING, "recounter": NOTHING}
        for each in range(3):
            place.send(topics.EVENTS, f"block {each}".encode())
        place.send(topics.RATES, b"rates")
        first = lags.look(now + 10_000)
        assert (first["worker"].records, first["sink"].records, first["recounter"]) == (3, 4, NOTHING)
        assert first["sink"].behind_s == 0, "it came since the look before"
        later = lags.look(now + 70_000)
        assert later["sink"].stuck_s == 60
        assert 55 < later["sink"].behind_s <= 70
        assert 55 < later["sink"].events_s <= 70
        commit(place.kafka, topics.SINK_GROUP, topics.EVENTS, 3)
        moved = lags.look(now + 80_000)
        assert (moved["sink"].records, moved["sink"].stuck_s, moved["sink"].events_s) == (1, 0, 0)
        assert moved["sink"].behind_s > 60, "the rates have not landed"
        assert moved["worker"].stuck_s == 70


def test_a_broker_that_is_away_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.kafka.CONNECT_S", 0.2)
    with (
        contextlib.closing(Lags(Kafka(brokers="127.0.0.1:1", partitions=2))) as lags,
        pytest.raises(BrokerError, match="no Kafka broker answers"),
    ):
        lags.look(0)
