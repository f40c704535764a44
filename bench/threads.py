"""Threads on one core: mails joined and messages indexed a second, bytes a message, and how soon a worker is back.

`python bench/threads.py [--messages N] [--mails N] [--posts N]`. All in this process and on one core, without Kafka:

- `index`: blocks of 500 messages sent, read, looked for in an index of so many, and added; records as for a changelog;
- `restore`: those records merged as a worker merges them, and an index made of them;
- `join`: replies to messages of that index, and to each other, ten in a conversation;
- `list`: a mailing list of so many posts whose first post comes last, so that all of them change their thread at once:
  how long the step itself holds the loop, and how long it takes to encode what is told.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Polars would use all cores; the figures are of one.
os.environ.setdefault("POLARS_MAX_THREADS", "1")

from pipelines.threads import members, sent
from pipelines.threads.index import Index
from pipelines.threads.join import Received, Threads, join_mails, join_sent
from pipelines.threads.rows import unpacked
from pipelines.worker.thread_records import rows_name
from pipelines.worker.thread_table import united
from schemas.avro import newest
from schemas.blocks import BlockBuilder, encode, open_block

if TYPE_CHECKING:
    from collections.abc import Iterator

NOON_MS = 1_760_011_200_000
CLOCK = NOON_MS // 3_600_000 + 24 * 400
BLOCK = 500
BATCH = 16
REPLIES = 10


def resident() -> int:
    """Bytes of this process, as the kernel counts them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(each for each in lines if each.startswith("VmRSS")).split()[1]) * 1024


def ses_id(number: int) -> str:
    """Of the usual form."""
    tail = f"{random.Random(number).getrandbits(128):032x}"
    parts = (tail[:8], tail[8:12], tail[12:16], tail[16:20], tail[20:])
    return f"0102{NOON_MS + number:012x}-{'-'.join(parts)}-000000"


def message(number: int, *, headed: bool) -> dict[str, Any]:
    """One of a newsletter."""
    return {
        "message_id": ses_id(number),
        "header_message_id": f"{number:x}.mailer@us.example" if headed else "",
        "sent_time": NOON_MS + number,
        "account": "123456789012",
        "region": "eu-west-1",
        "configuration_set": "news",
        "from_domain": "us.example",
        "feedback_a": f"campaign-{number // 100_000}",
        "campaign": f"campaign-{number // 100_000}",
        "subject": f"Order {number}",
        "base_subject": f"order {number}",
    }


def mail(number: int, in_reply_to: str, references: list[str], subject: str) -> dict[str, Any]:
    """A reply."""
    return {
        "mail_id": number.to_bytes(4, "big") * 4,
        "received_time": NOON_MS + number,
        "kind": "reply",
        "tenant": "",
        "message_id": f"{number}@them.example",
        "base_subject": subject,
        "in_reply_to": [in_reply_to] if in_reply_to else [],
        "references": references,
        "conversations": [],
        "feedback": [],
        "automatic": False,
        "path": "s3",
        "arrival_id": number,
    }


def indexed(number: int, *, headed: bool) -> tuple[Threads, list[tuple[Any, bytes]]]:
    """An index of so many messages, and its records."""
    state, records, took, before = Threads(apart=False), [], 0.0, resident()
    # A graph that is not empty: each message is looked for in it.
    join_mails(state, [Received(0, mail(2**30, "x@them.example", [], ""))], CLOCK)  # type: ignore[arg-type]
    for start in range(0, number, BLOCK * BATCH):
        blocks = [
            encode(
                "outbound_message", [message(n, headed=headed) for n in range(at, min(at + BLOCK, number))]
            )
            for at in range(start, min(start + BLOCK * BATCH, number), BLOCK)
        ]
        began = time.process_time()
        joined = join_sent(state, [(0, sent.read(open_block(each))) for each in blocks], CLOCK)
        for place, first, last in united(joined.rows):
            records.append((place, state.index.buckets[place].rows(first, last).packed(0)))
        took += time.process_time() - began
    for bucket in state.index.buckets.values():
        bucket.tighten()
    print(
        f"index {'with' if headed else 'without'} callers' Message-IDs: {number / took:,.0f} messages/s, "
        f"{state.index.nbytes / number:.1f} bytes each in tables, {(resident() - before) / number:.0f} resident"
    )
    return state, records


def restored(records: list[tuple[Any, bytes]]) -> None:
    """An index of records of a changelog."""
    index, began = Index(), time.process_time()
    for number, (place, value) in enumerate(records):
        index.restore(place, rows_name(place, bytes(8), number), *unpacked(value))
    took = time.process_time() - began
    size = sum(len(value) for _, value in records)
    print(
        f"restore: {len(index) / took:,.0f} messages/s, {len(index):,} in {took:.1f} s, "
        f"{size / len(index):.1f} bytes of changelog each"
    )


def conversations(number: int, sent_messages: int) -> Iterator[dict[str, Any]]:
    """Replies, some to what was sent and some to each other."""
    rng = random.Random(1)
    for at in range(0, number, REPLIES):
        ours = rng.randrange(sent_messages)
        chain = [f"{ses_id(ours)}@eu-west-1.amazonses.com"]
        for each in range(at, at + REPLIES):
            yield mail(each, chain[-1], chain, f"order {ours}")
            chain.append(f"{each}@them.example")


def told(state: Threads) -> tuple[int, float]:
    """Rows that a join tells, and seconds to encode them."""
    builder, rows, began = BlockBuilder(newest("thread_member")), 0, time.process_time()
    for fact, thread in state.graph.tell():
        builder.add(members.row(fact, thread))
        rows += 1
        if builder.full:
            builder.take()
    return rows, time.process_time() - began


def joined(state: Threads, number: int, sent_messages: int) -> None:
    """Replies joined with what was sent."""
    rows, took, said, before = list(conversations(number, sent_messages)), 0.0, 0, resident()
    random.Random(2).shuffle(rows)
    for start in range(0, number, 200):
        batch: Any = [Received(1, row) for row in rows[start : start + 200]]
        began = time.process_time()
        join_mails(state, batch, CLOCK)
        said += told(state)[0]
        took += time.process_time() - began
    print(
        f"join: {number / took:,.0f} mails/s in batches of 200, {said / number:.2f} rows told a mail, "
        f"{(resident() - before) / number:,.0f} bytes resident a mail"
    )


def late_list(number: int) -> None:
    """A list whose first post comes last."""
    state = Threads(apart=False)
    half = number // 2
    for root, first in (("a@list.example", 0), ("b@list.example", half)):
        rows: Any = [Received(1, mail(n, root, [], "list")) for n in range(first, first + half)]
        for start in range(0, half, 200):
            join_mails(state, rows[start : start + 200], CLOCK)
            told(state)
    began = time.perf_counter()
    bridge: Any = Received(2, mail(2**20, "a@list.example", ["b@list.example"], "list"))
    bridge.mail["in_reply_to"].append("b@list.example")
    join_mails(state, [bridge], CLOCK)
    step = time.perf_counter() - began
    rows_told, encoding = told(state)
    print(
        f"list of {number:,} posts in one step: {step * 1000:.0f} ms of joining, then {rows_told:,} rows told in "
        f"{encoding * 1000:.0f} ms, {encoding / max(1, rows_told) * 2000 * 1000:.0f} ms for each piece of 2,000"
    )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=2_000_000)
    parser.add_argument("--mails", type=int, default=100_000)
    parser.add_argument("--posts", type=int, default=100_000)
    args = parser.parse_args()
    state, records = indexed(args.messages, headed=False)
    restored(records)
    joined(state, args.mails, args.messages)
    del state, records
    _, records = indexed(args.messages, headed=True)
    restored(records)
    late_list(args.posts)


if __name__ == "__main__":
    main()
