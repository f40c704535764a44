"""Replays of files: what they hold ends as an event, a dead letter or an error; interrupted ones resume."""

from __future__ import annotations

import gzip
import json
import os
import threading
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest

from connectors.bridge import Bridge, Policy
from connectors.errors import SourceError
from connectors.inbound.mailroom import Mailroom
from connectors.inbound.settings import Inbound, policy_of
from connectors.sources.checkpoint import Checkpoint
from connectors.sources.files import Files
from connectors.sources.replay import Progress, Replay
from pipelines.intake.intake import Intake
from pipelines.intake.policy import NormalisePolicy
from schemas import topics
from schemas.blocks import decode

ROOM = Mailroom(policy_of(Inbound(), NormalisePolicy()))


def ses(number: int, padding: int = 0) -> bytes:
    mail = {
        "timestamp": "2026-10-05T09:00:00.000Z",
        "messageId": f"0100019a{number:08x}-000000",
        "source": "news@shop.example",
        "sendingAccountId": "111122223333",
        "destination": ["one@mailbox.example"],
        "tags": {"ses:configuration-set": ["main"], "filler": ["x" * padding]},
    }
    return json.dumps({"eventType": "Send", "mail": mail, "send": {}}).encode() + b"\n"


def lines(begin: int, end: int) -> bytes:
    return b"".join(ses(number) for number in range(begin, end))


class Stage:
    """Runs replays of a folder on an in-memory Kafka."""

    def __init__(self, memory: Any, data: Path) -> None:
        memory.automatic = True
        self.memory = memory
        self.data = data
        self.seen: list[Progress] = []

    def replay(self, *paths: Path | str) -> Replay:
        names = [str(path) for path in paths]
        checkpoint = Checkpoint(self.data, names)
        origin = Files(names, leave_out=[self.data])
        return Replay([origin], Intake(NormalisePolicy()), ROOM, checkpoint, self.seen.append)

    def run(self, *paths: Path | str) -> Progress:
        bridge = Bridge(Policy(2), self.memory)
        replay = self.replay(*paths)
        try:
            replay.run(bridge, threading.Event())
            bridge.flush(10)
        finally:
            bridge.close()
        return replay.progress

    def rows(self, topic: str) -> list[dict[str, Any]]:
        return [
            row
            for (name, _), blocks in list(self.memory.logs.items())
            for block in blocks
            if name == topic
            for row in decode(block)
        ]

    def causes(self) -> list[str]:
        return sorted(row["cause"] for row in self.rows(topics.DEAD_LETTERS))


@pytest.fixture
def stage(memory: Any, tmp_path: Path) -> Stage:
    return Stage(memory, tmp_path / "data")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


def test_a_tree_of_files(stage: Stage, folder: Path) -> None:
    (folder / "b.json").write_bytes(lines(0, 10))
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "misnamed.txt").write_bytes(gzip.compress(lines(10, 20)) * 1)
    (folder / "a.gz").write_bytes(lines(20, 30))
    (folder / "empty").write_bytes(b"")
    (folder / "empty.gz").write_bytes(gzip.compress(b""))
    (folder / ".hidden").write_bytes(lines(90, 91))
    (folder / "deep" / "loop").symlink_to(folder)
    (folder / "nowhere").symlink_to(folder / "missing")
    (folder / "again").symlink_to(folder / "b.json")
    progress = stage.run(folder)
    assert (progress.events, progress.dead_letters, progress.controls) == (30, 0, 2)
    assert (progress.units_done, progress.units_total) == (5, 5)
    assert progress.bytes_done == progress.bytes_total > 3000
    rows = stage.rows(topics.EVENTS)
    assert len({row["message_id"] for row in rows}) == 30
    assert {row["path"] for row in rows} == {"file"}


def test_mail_that_a_maildir_has_not_whole_yet_is_left_out(stage: Stage, folder: Path) -> None:
    for name, numbers in (("md/cur", (0, 2)), ("md/new", (2, 3)), ("md/tmp", (3, 4)), ("tmp", (4, 6))):
        (folder / name).mkdir(parents=True)
        (folder / name / "1").write_bytes(lines(*numbers))
    assert stage.run(folder).events == 5


def test_our_own_data_directory_is_left_out(stage: Stage, folder: Path) -> None:
    stage.data = folder / "data"
    stage.data.mkdir()
    (stage.data / "table.bin").write_bytes(b"not events")
    (folder / "events").write_bytes(lines(0, 3))
    progress = stage.run(folder)
    assert (progress.events, progress.dead_letters) == (3, 0)


def test_a_truncated_gzip_gives_what_it_has(stage: Stage, folder: Path) -> None:
    whole = gzip.compress(lines(0, 2000))
    (folder / "cut.gz").write_bytes(whole[: len(whole) // 2])
    progress = stage.run(folder)
    assert 500 < progress.events < 1500
    assert "truncated_gzip" in stage.causes()
    [letter] = [row for row in stage.rows(topics.DEAD_LETTERS) if row["cause"] == "truncated_gzip"]
    assert letter["source"] == (folder / "cut.gz").as_uri()
    assert letter["payload_size"] > 100_000


def test_a_wrong_checksum_loses_no_event(stage: Stage, folder: Path) -> None:
    data = bytearray(gzip.compress(lines(0, 50)))
    data[-6] ^= 255
    (folder / "bad.gz").write_bytes(data)
    assert stage.run(folder).events == 50
    assert stage.causes() == ["corrupt_gzip"]


def test_an_announced_object_is_not_fetched(stage: Stage, folder: Path) -> None:
    s3 = {"bucket": {"name": "mail"}, "object": {"key": "2026/10/a+b.gz", "size": 5}}
    record = {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "awsRegion": "eu-west-1", "s3": s3}
    (folder / "notification.json").write_text(json.dumps({"Records": [record]}))
    assert stage.run(folder).events == 0
    [letter] = stage.rows(topics.DEAD_LETTERS)
    assert letter["cause"] == "object_not_fetched"
    assert "s3://mail/2026/10/a b.gz" in letter["detail"]


def test_a_path_that_does_not_exist(stage: Stage, folder: Path) -> None:
    with pytest.raises(SourceError, match="missing: No such file"):
        stage.run(folder / "missing")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(stage: Stage, folder: Path) -> None:
    (folder / "locked").write_bytes(lines(0, 1))
    (folder / "locked").chmod(0)
    with pytest.raises(SourceError, match="locked: Permission denied"):
        stage.run(folder)


def test_a_file_that_cannot_be_read_stops_the_replay(
    stage: Stage, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a").write_bytes(lines(0, 5))
    (folder / "locked").write_bytes(lines(5, 9))
    opened = Path.open

    def refuse(path: Path, *args: Any, **more: Any) -> Any:
        if path.name == "locked":
            raise PermissionError(13, "Permission denied")
        return opened(path, *args, **more)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SourceError, match="locked: Permission denied"):
        stage.run(folder)


def test_a_record_of_ten_megabytes(stage: Stage, folder: Path) -> None:
    (folder / "big").write_bytes(ses(1) + ses(2, padding=10 << 20) + ses(3))
    progress = stage.run(folder)
    assert progress.events + progress.dead_letters == 3
    rows = stage.rows(topics.EVENTS)
    assert {row["message_id"][8:16] for row in rows} >= {"00000001", "00000003"}
    letters = stage.rows(topics.DEAD_LETTERS)
    assert len(rows) + len(letters) == 3
    assert all(len(row["payload"]) <= 64 << 10 < row["payload_size"] for row in letters)


def test_a_bomb_costs_no_memory(stage: Stage, folder: Path) -> None:
    compressor = zlib.compressobj(9, wbits=31)
    line = lines(0, 1)
    with (folder / "bomb.gz").open("wb") as file:
        file.write(compressor.compress(line))
        for _ in range(200):
            file.write(compressor.compress(b" " * (1 << 20)))
        file.write(compressor.compress(b"\n" + line) + compressor.flush())
    tracemalloc.start()
    try:
        progress = stage.run(folder)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert progress.events + progress.dead_letters >= 2
    assert peak < 64 << 20


def test_an_interrupted_replay_resumes_and_a_finished_one_begins_again(stage: Stage, folder: Path) -> None:
    for number in range(6):
        (folder / f"{number}").write_bytes(lines(number * 10, number * 10 + 10))
    stop = threading.Event()
    bridge = Bridge(Policy(2), stage.memory)
    replay = stage.replay(folder)
    replay._on_progress = lambda progress: stop.set() if progress.units_done == 3 else None
    replay.run(bridge, stop)
    bridge.flush(10)
    bridge.close()
    assert replay.progress.units_done == 3
    [checkpoint] = stage.data.iterdir()
    with checkpoint.open("ab") as file:
        file.write(b"0123torn")

    (folder / "1").write_bytes(lines(500, 511))
    again = stage.run(folder)
    assert (again.skipped, again.units_done, again.events) == (2, 6, 41)
    assert list(stage.data.iterdir()) == []
    assert len({row["message_id"] for row in stage.rows(topics.EVENTS)}) == 71
    assert stage.run(folder).events == 61


def test_a_unit_that_was_not_safe_is_read_again(stage: Stage, folder: Path) -> None:
    for number in range(4):
        (folder / f"{number}").write_bytes(lines(number * 10, number * 10 + 10))
    stage.memory.automatic = False
    bridge = Bridge(Policy(1), stage.memory)
    replay = stage.replay(folder)
    replay.run(bridge, threading.Event())
    bridge.close()  # as if killed: Kafka acknowledged nothing
    stage.memory.automatic = True
    again = stage.run(folder)
    assert (again.skipped, again.events) == (0, 40)


def test_checkpoints_of_other_sources_are_their_own(tmp_path: Path) -> None:
    one, other = Checkpoint(tmp_path, ["a", "b"]), Checkpoint(tmp_path, ["a"])
    one.add("unit")
    one.close()
    other.close()
    assert "unit" in Checkpoint(tmp_path, ["b", "a"])
    assert "unit" not in Checkpoint(tmp_path, ["a"])


def test_every_prefix_of_a_checkpoint_can_be_resumed(tmp_path: Path) -> None:
    first = Checkpoint(tmp_path, ["a"])
    units = [f"unit {number}" for number in range(3)]
    for unit in units:
        first.add(unit)
    first.close()
    whole = first.path.read_bytes()
    for length in range(len(whole) + 1):
        first.path.write_bytes(whole[:length])
        resumed = Checkpoint(tmp_path, ["a"])
        assert [unit for unit in units if unit in resumed] == units[: length // 33]
        resumed.add("more")
        resumed.close()
        third = Checkpoint(tmp_path, ["a"])
        assert len(third) == length // 33 + 1
        assert "more" in third
