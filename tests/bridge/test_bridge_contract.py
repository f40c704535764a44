"""What a bridge promises, on an in-memory Kafka and on a real protocol."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import Any

from connectors.bridge import Receipt
from schemas import topics
from schemas.blocks import MAX_BYTES, MAX_ROW_BYTES, MAX_ROWS, open_block
from schemas.dead_letters import dead_letter
from schemas.partitioning import of_message

WAIT_S = 20


def letter(number: int) -> Any:
    return dead_letter(
        time=number, stage="read", cause="x", detail="d", source=f"file:///{number}", payload=b"p"
    )


def test_everything_arrives_once_in_order_and_in_its_partition(harness: Any, event: Any) -> None:
    bridge = harness.open()
    released: list[int] = []
    try:
        number = 0
        for unit in range(7):
            receipt = Receipt(lambda unit=unit: released.append(unit))
            for _ in range(5):
                rows = [event(number + each, f"message-{each % 40}") for each in range(97)]
                bridge.submit(rows, [letter(number)], receipt)
                number += 97
            receipt.close()
        bridge.flush(WAIT_S)
        assert sorted(released) == list(range(7))
    finally:
        bridge.close()
    stored = harness.rows(topics.EVENTS)
    assert sum(map(len, stored.values())) == number == bridge.counters.events
    orders = defaultdict(list)
    for partition, rows in stored.items():
        for row in rows:
            assert of_message(row["message_id"], 3) == partition
            orders[row["message_id"]].append(int.from_bytes(row["event_id"], "big"))
    assert len(orders) == 40
    assert all(numbers == sorted(numbers) for numbers in orders.values())
    letters = [row["source"] for rows in harness.rows(topics.DEAD_LETTERS).values() for row in rows]
    assert sorted(letters) == sorted(f"file:///{each}" for each in range(0, number, 97))
    assert bridge.counters.dead_letters == 35


def test_order_within_a_message_is_kept_whatever_thread_submits_others(harness: Any, event: Any) -> None:
    bridge = harness.open()

    def source(name: str) -> None:
        receipt = Receipt(lambda: None)
        for number in range(0, 1200, 60):
            bridge.submit([event(number + each, name) for each in range(60)], (), receipt)
        receipt.close()

    threads = [threading.Thread(target=source, args=(f"thread-{each}",)) for each in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bridge.flush(WAIT_S)
    bridge.close()
    orders = defaultdict(list)
    for rows in harness.rows(topics.EVENTS).values():
        for row in rows:
            orders[row["message_id"]].append(int.from_bytes(row["event_id"], "big"))
    assert orders == {f"thread-{each}": list(range(1200)) for each in range(4)}


def test_blocks_keep_their_bounds(harness: Any, event: Any) -> None:
    bridge = harness.open()
    receipt = Receipt(lambda: None)
    bridge.submit([event(each) for each in range(1201)], (), receipt)
    bridge.submit([event(each, link="x" * 20_000) for each in range(40)], (), receipt)
    bridge.submit([event(1, link="y" * (MAX_ROW_BYTES - 1000))], (), receipt)
    bridge.flush(WAIT_S)
    bridge.close()
    [blocks] = harness.blocks(topics.EVENTS).values()
    opened = [open_block(block) for block in blocks]
    assert sum(block.count for block in opened) == 1242
    assert max(block.count for block in opened) <= MAX_ROWS
    sizes = sorted(len(block.rows) for block in opened)
    assert sizes[-1] > MAX_ROW_BYTES - 1000
    assert all(size < MAX_BYTES + 21_000 for size in sizes[:-1])


def test_a_lone_event_does_not_wait_for_company(harness: Any, event: Any) -> None:
    bridge = harness.open()
    safe = threading.Event()
    receipt = Receipt(safe.set)
    bridge.submit([event(1)], (), receipt)
    receipt.close()
    assert safe.wait(5)
    bridge.close()


def test_rows_that_the_schema_refuses_become_dead_letters(harness: Any, event: Any) -> None:
    bridge = harness.open()
    safe = threading.Event()
    receipt = Receipt(safe.set)
    bad = [
        event(1, link="\ud800"),
        event(2, event_time="soon"),
        event(3, message_id=None),
        event(4, user_agent="z" * (MAX_ROW_BYTES + 1)),
        {},
    ]
    bridge.submit([*bad, event(5)], (), receipt)
    receipt.close()
    bridge.flush(WAIT_S)
    bridge.close()
    assert safe.is_set()
    letters = [row for rows in harness.rows(topics.DEAD_LETTERS).values() for row in rows]
    causes = sorted(row["cause"] for row in letters)
    assert causes == ["row_refused"] * 4 + ["row_too_large"]
    assert {row["stage"] for row in letters} == {"bridge"}
    assert (bridge.counters.events, bridge.counters.dead_letters) == (1, 5)
