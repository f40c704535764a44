"""The changelog of threads: few records, whatever the traffic; nothing left of what is too old; no state of others."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from thread_model import MailCrew, MailWorld

from pipelines.threads import rows as packing
from pipelines.threads.index import Index
from pipelines.worker import thread_records as records
from pipelines.worker.errors import UnreadableState
from schemas.blocks import encode

_PATH = Path(__file__).parent.parent / "threads" / "conversations.py"
_spec = importlib.util.spec_from_file_location("conversations_of_the_table", _PATH)
talk: Any = importlib.util.module_from_spec(_spec) if _spec else SimpleNamespace()
if _spec and _spec.loader:
    _spec.loader.exec_module(talk)

DAY_MS = 86_400_000


def numbered(number: int, **facts: Any) -> dict[str, Any]:
    """A message of its own id."""
    tail = f"{random.Random(number).getrandbits(128):032x}"
    parts = (tail[:8], tail[8:12], tail[12:16], tail[16:20], tail[20:])
    ses = f"0102{number:012x}-{'-'.join(parts)}-000000"
    return talk.message(0) | {"message_id": ses, "sent_time": talk.NOON_MS - DAY_MS} | facts


def live(world: MailWorld) -> list[bytes]:
    """Keys of the records that compaction leaves."""
    world.compact_all()
    return [key or b"" for key, _ in world.logs["threads-changelog", 0]]


def stepped(world: MailWorld, crew: MailCrew) -> None:
    """One record a step, as little traffic has it."""
    for agent in ("sent", "thread"):
        while crew.workers[0].step(agent, 1):
            crew.workers[0].commit()


def test_small_batches_are_merged_and_an_index_is_restored_whole() -> None:
    world = MailWorld(random.Random(1), partitions=1)
    rows = [("out", numbered(n, header_message_id=f"{n}@us.example" if n % 2 else "")) for n in range(200)]
    world.write_mail(rows, [1] * len(rows))
    with MailCrew(world, most=1) as crew:
        stepped(world, crew)
        before = crew.state()
        assert before == [(set(), 200)]
        # 32 of a tier make one of the next, for those with Message-IDs of callers' and those without.
        assert len(live(world)) <= 2 * (31 + 31)
        crew.rebalance()
        assert crew.state() == before
        for _, row in rows:
            row["tenant"] = "again"
        world.write_mail(rows, [50] * len(rows))
        stepped(world, crew)
        assert crew.state() == before, "what is known is not remembered twice"
        reply = talk.mail(1, in_reply_to=["7@us.example"], message_id="t1@them.example")
        world.write_mail([("in", reply)], [1])
        stepped(world, crew)
    assert world.land_all().members.keys() == {"in:" + "0001" * 8, f"out:{rows[7][1]['message_id']}"}


def test_nothing_is_left_of_what_is_too_old() -> None:
    world = MailWorld(random.Random(1), partitions=1)
    old = [
        ("out", numbered(1)),
        (
            "in",
            talk.mail(1, message_id="a@them.example", in_reply_to=[talk.cited(numbered(1)["message_id"])]),
        ),
    ]
    world.write_mail(old, [1, 1])
    with MailCrew(world, most=1) as crew:
        stepped(world, crew)
        assert len(live(world)) == 3
        world.pass_time(100 * 86_400)
        new = [
            ("out", numbered(2, sent_time=talk.NOON_MS + 99 * DAY_MS)),
            ("in", talk.mail(2, message_id="b@them.example", received_time=talk.NOON_MS + 99 * DAY_MS)),
        ]
        world.write_mail(new, [1, 1])
        stepped(world, crew)
        assert [records.parse(key) for key in live(world)] == [
            ((talk.NOON_MS + 99 * DAY_MS) // DAY_MS, False),
            b"m" + (2).to_bytes(2, "big") * 8,
        ]
        state = crew.state()
        crew.rebalance()
        assert crew.state() == state == [({b"m" + (2).to_bytes(2, "big") * 8}, 1)]


@pytest.mark.parametrize(
    "key", [b"\x02later", b"\x01x" + bytes(24), records.rows_name((1, False), bytes(8), 1)]
)
def test_a_record_of_a_later_release_ends_the_worker(key: bytes) -> None:
    world = MailWorld(random.Random(1), partitions=1)
    world.logs["threads-changelog", 0].append((key, b"\x07damaged"))
    world.write_mail([("out", numbered(1))], [1])
    with (
        MailCrew(world, most=1) as crew,
        pytest.raises(UnreadableState, match="start the release that wrote it"),
    ):
        crew.workers[0].step("sent", 1)


def test_a_message_id_that_all_mail_has_costs_no_more_than_another() -> None:
    """A caller that gives all its mail one Message-ID: most are found by SES's id alone."""
    index = Index()
    header = bytes(range(16))
    for start in range(0, 20_000, 4000):
        rows = packing.unpacked(packed(range(start, start + 4000), header))[1]
        index.add(1, rows)
    found = list(index.find_headers([header]))
    assert 0 < len(found) <= 300
    wanted = [index.buckets[1, True].sent(row).packed for row in (0, 19_999)]
    assert index.find(wanted).keys() == set(wanted)


def packed(numbers: range, header: bytes) -> bytes:
    from pipelines.threads import sent
    from pipelines.threads.sent import columns
    from schemas.blocks import open_block

    block = encode("outbound_message", [numbered(n, header_message_id="x@us.example") for n in numbers])
    column = columns(sent.read(open_block(block)), lambda _: "")
    column.headers[:] = [header] * len(column.headers)
    return column.rows().packed(0)
