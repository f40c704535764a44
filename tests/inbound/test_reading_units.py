"""Files and objects that hold mails: whatever they are called, packed and joined, each mail is one row."""

from __future__ import annotations

import gzip
import hashlib
import json
import mailbox
import threading
import tracemalloc
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from connectors.bridge import Bridge, Policy, Receipt
from connectors.errors import UserError
from connectors.inbound.mailroom import Mailroom
from connectors.inbound.settings import Inbound, policy_of
from connectors.inbound.spool import IN_MEMORY, Spool
from connectors.sources.checkpoint import Checkpoint
from connectors.sources.files import Files
from connectors.sources.reading import Desk, Paper, Tally, read_into
from connectors.sources.replay import Replay
from pipelines.intake.intake import Intake
from pipelines.intake.policy import NormalisePolicy
from pipelines.intake.provenance import Provenance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MB = 1024 * 1024


@pytest.fixture
def read(desk: Desk, bridge: Bridge) -> Callable[..., Tally]:
    def reads(data: bytes | Iterable[bytes], name: str = "file:///in/box", **more: Any) -> Tally:
        safe = threading.Event()
        receipt = Receipt(safe.set)
        chunks = (
            [data[at : at + 1000] for at in range(0, len(data), 1000)] if isinstance(data, bytes) else data
        )
        paper = Paper(Provenance(name, 1_795_000_000_000, "file"), receipt, **more)
        assert read_into(desk, chunks, paper)
        receipt.close()
        bridge.flush(60)
        assert safe.wait(60)
        return paper.tally

    return reads


def test_a_mail_in_a_file_is_a_row_with_its_attachment_stored(
    read: Any, kafka: Any, mail: Any, store: Any
) -> None:
    tally = read(mail(1), "file:///in/1.eml")
    assert (tally.mails, tally.events, tally.dead_letters) == (1, 0, 0)
    (row,) = kafka.mails
    assert (row["message_id"], row["tenant"], row["path"]) == ("1@example.org", "acme", "file")
    assert (row["object"], row["size"]) == ("file:///in/1.eml", len(mail(1)))
    (attachment,) = row["attachments"]
    digest = hashlib.sha256(b"%PDF-1.4").hexdigest()
    assert (attachment["sha256"], attachment["size"]) == (digest, 8)
    assert Path(attachment["key"].removeprefix("file://")).read_bytes() == b"%PDF-1.4"
    assert b"".join(store.read(digest)) == b"%PDF-1.4"


@pytest.mark.parametrize("name", ["s3://mails/in/abc", "file:///in/INBOX/cur/1:2,S", "file:///in/x.eml.gz"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_what_it_is_called_and_packed_in_does_not_matter(
    read: Any, kafka: Any, mail: Any, name: str, pack: Any
) -> None:
    assert read(pack(mail(2)), name).mails == 1
    (row,) = kafka.mails
    assert (row["message_id"], row["object"]) == ("2@example.org", name)
    assert row["path"] == ("s3" if name.startswith("s3") else "file")


def test_one_mail_is_one_by_whatever_way(read: Any, kafka: Any, mail: Any) -> None:
    read(mail(3), "s3://mails/in/3")
    read(mail(3).replace(b"\r\n", b"\n"), "file:///3.eml")
    read(b"From a@example.org Sat Nov 21 10:00:00 2026\n" + mail(3).replace(b"\r\n", b"\n"), "file:///box")
    content = {"type": "SNS", "encoding": "UTF8", "topicArn": "arn:aws:sns:eu-west-1:111122223333:t"}
    told = {"timestamp": "2026-11-20T10:00:00.000Z", "messageId": "o3vrnil0e2ic28trm7dfhrc2v0clambda4nb0003"}
    received = {"notificationType": "Received", "mail": told, "receipt": {"action": content}}
    read(json.dumps(received | {"content": mail(3).decode()}).encode())
    assert len(kafka.mails) == 4
    assert len({row["mail_id"] for row in kafka.mails}) == 1
    assert len({row["arrival_id"] for row in kafka.mails}) == 4


def test_an_mbox_is_its_mails_each_where_it_begins(read: Any, kafka: Any, mail: Any, tmp_path: Path) -> None:
    box = mailbox.mbox(tmp_path / "box")
    for number in range(7):
        box.add(mail(number, body="From me\r\n>From you"))
    box.close()
    data = (tmp_path / "box").read_bytes()
    assert read(data, "file:///in/box").mails == 7
    assert [row["message_id"] for row in kafka.mails] == [f"{number}@example.org" for number in range(7)]
    for row in kafka.mails:
        place, _, offset = row["object"].partition("#")
        assert place == "file:///in/box"
        assert data[int(offset) :].startswith(b"Return-Path")
    again = read(gzip.compress(data), "file:///in/box")
    assert again.mails == 7
    assert (
        len({row["mail_id"] for row in kafka.mails}) == len({row["arrival_id"] for row in kafka.mails}) == 7
    )


def test_events_and_notifications_of_mail_in_one_file(read: Any, kafka: Any, mail: Any) -> None:
    event = {
        "eventType": "Send",
        "send": {},
        "mail": {"timestamp": "2026-10-05T09:00:00.000Z", "messageId": "m", "destination": ["a@b.example"]},
    }
    received = {"notificationType": "Received", "mail": {}, "receipt": {}, "content": mail(1).decode()}
    in_s3 = {"type": "S3", "bucketName": "mails", "objectKey": "in/1"}
    elsewhere = {"notificationType": "Received", "mail": {}, "receipt": {"action": in_s3}}
    lines = b"\n".join(json.dumps(each).encode() for each in (event, received, elsewhere))
    tally = read(lines)
    assert (tally.events, tally.mails, tally.dead_letters) == (1, 1, 1)
    (letter,) = kafka.dead_letters
    assert (letter["cause"], json.loads(letter["payload"])["key"]) == ("object_not_fetched", "in/1")
    (row,) = kafka.mails
    assert row["object"].endswith(hashlib.sha256(mail(1)).hexdigest()), (
        "a mail that is nowhere else is stored"
    )


@pytest.mark.parametrize(
    ("data", "name", "cause"),
    [
        (b"lorem ipsum", "file:///x.eml", "not_a_mail"),
        (b"lorem ipsum", "file:///x.txt", "not_json"),
        (b"PK\x03\x04", "file:///x.zip", "unsupported_compression"),
        (b'{"a": 1}', "file:///x.eml", "not_an_ses_event"),
    ],
)
def test_what_is_no_mail_is_told_by_its_cause(
    read: Any, kafka: Any, data: bytes, name: str, cause: str
) -> None:
    read(data, name)
    assert [letter["cause"] for letter in kafka.dead_letters] == [cause]


def test_sess_trial_object_and_an_empty_file_are_nothing(read: Any, kafka: Any) -> None:
    trial = b"From: Amazon Web Services <no-reply-aws@amazon.com>\r\nSubject: Amazon SES Setup Notification\r\n\r\nx"
    tallies = [read(trial, "s3://mails/in/AMAZON_SES_SETUP_NOTIFICATION"), read(b"", "file:///x.eml")]
    assert [(tally.controls, tally.mails) for tally in tallies] == [(1, 0), (1, 0)]
    assert (kafka.mails, kafka.dead_letters) == ([], [])


def test_half_of_a_packed_mail_is_read_and_told(read: Any, kafka: Any, mail: Any) -> None:
    packed = gzip.compress(mail(1, attached=bytes(range(256)) * 40))
    tally = read(packed[: len(packed) - 40], "file:///1.eml.gz")
    assert (tally.mails, [row["message_id"] for row in kafka.mails]) == (1, ["1@example.org"])
    assert "truncated_gzip" in [letter["cause"] for letter in kafka.dead_letters]


def test_a_mail_that_is_too_large_has_a_row_and_a_dead_letter_and_is_not_kept(
    bridge: Bridge, kafka: Any, mail: Any, new_intake: Any
) -> None:
    room = Mailroom(policy_of(Inbound(max_mb=1), NormalisePolicy(pii="plain")))
    desk = Desk(new_intake(), room, bridge, threading.Event())
    large = mail(1, body="x" * 3 * MB)
    given: list[int] = []

    def chunks() -> Iterator[bytes]:
        for at in range(0, len(large), 64 * 1024):
            given.append(at)
            yield large[at : at + 64 * 1024]

    receipt = Receipt(lambda: None)
    paper = Paper(Provenance("s3://mails/1", 1, "firehose"), receipt, size=len(large))
    assert read_into(desk, chunks(), paper)
    box = b"".join(
        b"From a@b Sat Nov 21 10:00:00 2026\r\n" + each + b"\r\n" for each in (mail(2), large, mail(3))
    )
    assert read_into(desk, [box], Paper(Provenance("file:///box", 1, "file"), receipt))
    bridge.flush(60)
    assert max(given) < 2 * MB, "the rest is left where it is"
    assert [(letter["cause"], letter["payload_size"]) for letter in kafka.dead_letters] == [
        ("too_large", len(large)),
        ("too_large", len(large)),
    ]
    assert sorted((row["message_id"], row["size"] > MB) for row in kafka.mails) == [
        ("1@example.org", True),
        ("1@example.org", True),
        ("2@example.org", False),
        ("3@example.org", False),
    ]


def test_a_large_mailbox_is_read_in_bounded_memory(bridge: Bridge, mail: Any, new_intake: Any) -> None:
    room = Mailroom(policy_of(Inbound(), NormalisePolicy(pii="plain")))
    desk = Desk(new_intake(), room, bridge, threading.Event())
    one = b"From a@b Sat Nov 21 10:00:00 2026\r\n" + mail(1, body="text\r\n" * 40_000) + b"\r\n"
    count = 150
    paper = Paper(Provenance("file:///box", 1, "file"), Receipt(lambda: None))
    tracemalloc.start()
    try:
        assert read_into(desk, (one for _ in range(count)), paper)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert paper.tally.mails == count
    assert peak < len(one) * count / 2 < 20 * MB


def test_a_replay_counts_mails_and_resumes_behind_what_is_safe(
    kafka: Any, mail: Any, mailroom: Mailroom, tmp_path: Path
) -> None:
    folder = tmp_path / "maildir" / "cur"
    folder.mkdir(parents=True)
    for number in range(5):
        (folder / f"{number}.host:2,S").write_bytes(mail(number))
    (folder / "box.gz").write_bytes(
        gzip.compress(b"".join(b"From a@b Sat Nov 21 10:00:00 2026\r\n" + mail(n) + b"\r\n" for n in (7, 8)))
    )
    names = [str(tmp_path / "maildir")]
    bridge = Bridge(Policy(2), kafka)
    replay = Replay([Files(names)], Intake(NormalisePolicy()), mailroom, Checkpoint(tmp_path / "data", names))
    replay.run(bridge, threading.Event())
    bridge.flush(60)
    bridge.close()
    assert (replay.progress.mails, replay.progress.events, replay.progress.dead_letters) == (7, 0, 0)
    assert len({row["mail_id"] for row in kafka.mails}) == 7


def test_stopping_inside_a_mailbox_leaves_its_receipt_void(desk: Desk, mail: Any) -> None:
    safe = threading.Event()
    receipt = Receipt(safe.set)
    one = b"From a@b Sat Nov 21 10:00:00 2026\r\n" + mail(1) + b"\r\n"

    def chunks() -> Iterator[bytes]:
        yield one * 3
        desk.stop.set()
        yield one * 3

    paper = Paper(Provenance("file:///box", 1, "file"), receipt)
    assert not read_into(desk, chunks(), paper)
    assert paper.tally.mails < 6
    assert not safe.is_set()


def test_a_store_that_is_down_gives_no_row(
    bridge: Bridge, kafka: Any, mail: Any, desk: Desk, store: Any
) -> None:
    import shutil

    shutil.rmtree(store.path)
    store.path.write_bytes(b"")
    paper = Paper(Provenance("file:///1.eml", 1, "file"), Receipt(lambda: None))
    with pytest.raises(UserError):
        read_into(desk, [mail(1)], paper)
    bridge.flush(60)
    assert kafka.mails == []


@pytest.mark.parametrize("size", [0, 1, IN_MEMORY, IN_MEMORY + 1, 3 * IN_MEMORY])
@pytest.mark.parametrize("limit", [10, 4 * IN_MEMORY])
def test_a_spool_gives_what_it_was_given_up_to_its_limit(size: int, limit: int) -> None:
    data = bytes(chain.from_iterable(range(256) for _ in range(size // 256 + 1)))[:size]
    with Spool(limit) as spool:
        for at in range(0, size, 70_000):
            spool.add(data[at : at + 70_000])
        assert (spool.size, spool.full) == (size, size > limit)
        for _ in range(2):
            with spool.raw() as raw:
                assert raw[:] == data[: limit + 1]
