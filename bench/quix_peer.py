"""Quix Streams doing the keyed count: events per event type and cohort hour, of a campaign or of 13 dimensions.

One JSON event a Kafka record, keyed by campaign already (so no repartitioning is needed), state and changelog
on, one result a record to an output topic: as its documentation shows a count. No deduplication is asked.
The events are those that `count.py` counts.

With 13 dimensions each event updates a count for every dimension it has a value for, as ours does, in the state of
the record's key, so still without repartitioning.

Run alone: python bench/quix_peer.py BROKER [EVENTS [DIMENSIONS]]
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import time
import uuid
import warnings
from typing import Any

PARTITIONS = 2
PLAIN = (
    "account",
    "region",
    "tenant",
    "configuration_set",
    "from_domain",
    "feedback_a",
    "feedback_b",
    "feedback_c",
    "outgoing_ip",
)


def prepare(broker: str, events: int) -> str:
    """A topic with the events in it."""
    from count import events as generate
    from kafka import KafkaAdminClient, KafkaProducer
    from kafka.admin import NewTopic

    topic = f"quix-{uuid.uuid4().hex[:8]}"
    admin = KafkaAdminClient(bootstrap_servers=broker)
    # Quix derives its changelog's settings from these; the embedded broker tells no defaults.
    told = {"retention.ms": "604800000", "retention.bytes": "-1"}
    admin.create_topics(
        [NewTopic(topic, num_partitions=PARTITIONS, replication_factor=1, topic_configs=told)]
    )
    admin.close()
    producer = KafkaProducer(
        bootstrap_servers=broker, linger_ms=20, batch_size=1 << 18, compression_type="lz4"
    )
    for event in generate(events):
        value = json.dumps(event, default=bytes.hex).encode()
        producer.send(topic, key=event["campaign"].encode(), value=value)
    producer.flush()
    producer.close()
    return topic


def values(event: dict[str, Any], dimensions: int) -> list[str]:
    """What an event is counted under."""
    found = [f"campaign:{event['campaign']}"]
    if dimensions > 1:
        found += [f"{name}:{event[name]}" for name in PLAIN if event.get(name)]
        found.append(f"feedback_ab:{event['feedback_a']}:{event['feedback_b']}")
        for recipient in event["recipients"]:
            found.append(f"provider:{recipient['provider']}")
            found.append(f"provider_campaign:{recipient['provider']}:{event['campaign']}")
    return found


def run(broker: str, topic: str, events: int, dimensions: int) -> dict[str, float]:
    """Count them all: events, CPU seconds of this process (all its threads), wall seconds."""
    warnings.filterwarnings("ignore")
    from quixstreams import Application

    with tempfile.TemporaryDirectory() as state:
        app = Application(
            broker_address=broker,
            consumer_group=f"group-{uuid.uuid4().hex[:8]}",
            auto_offset_reset="earliest",
            state_dir=state,
            loglevel=logging.WARNING,
            # A group forms on the embedded broker after half the rebalance timeout, which is librdkafka's
            # max.poll.interval.ms; it must not be less than the session timeout.
            consumer_extra_config={"max.poll.interval.ms": 6000, "session.timeout.ms": 6000},
        )
        seen = 0
        started: tuple[float, float] | None = None
        last = 0.0

        def count(event: dict[str, Any], store: Any) -> dict[str, Any]:
            nonlocal seen, started, last
            if started is None:
                started = time.perf_counter(), time.process_time()
            cell = f"{event['event_type']}:{event['sent_time'] // 3_600_000}"
            totals = {}
            for value in values(event, dimensions):
                key = f"{value}:{cell}"
                totals[key] = store.get(key, default=0) + 1
                store.set(key, totals[key])
            seen += 1
            if seen == events:
                last = time.perf_counter()
            return {"campaign": event["campaign"], "counts": totals}

        frame = app.dataframe(app.topic(topic, key_deserializer="str", value_deserializer="json"))
        frame = frame.apply(count, stateful=True)
        output = app.topic(f"{topic}-counts", key_serializer="str", value_serializer="json")
        frame.to_topic(output)
        app.run(count=events, timeout=120)
        if started is None or seen < events:
            raise SystemExit(f"Quix Streams read {seen} of {events} events")
        # The last checkpoint's work counts, the wait for the clients to close does not.
        return {"events": events, "wall": last - started[0], "cpu": time.process_time() - started[1]}


def main(broker: str, events: int = 100_000, dimensions: int = 1) -> dict[str, float]:
    return run(broker, prepare(broker, events), events, dimensions)


if __name__ == "__main__":
    figures = main(sys.argv[1], *map(int, sys.argv[2:]))
    print(json.dumps(figures))
    sys.stdout.flush()
    os._exit(0)  # librdkafka's threads are of no interest any more
