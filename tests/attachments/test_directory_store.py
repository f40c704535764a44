"""Attachments in a directory: whole or not there, whatever is killed; and swept when nothing has them any more."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from connectors.attachments.directory import DirectoryStore
from connectors.attachments.opening import open_store
from connectors.attachments.s3 import S3Store
from connectors.attachments.store import StoreError, StoreRefuses
from connectors.attachments.sweeper import Sweeper
from connectors.inbound.settings import Inbound
from connectors.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

DAY = 86_400


def file_of(directory: DirectoryStore, sha256: str) -> Path:
    return directory.path / sha256[:2] / sha256[2:4] / sha256


def age(directory: DirectoryStore, sha256: str, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(file_of(directory, sha256), (then, then))


def test_files_are_for_us_alone(directory: DirectoryStore, content: Any) -> None:
    photo = content(b"photo")
    directory.put(photo)
    place = file_of(directory, photo.sha256)
    assert place.read_bytes() == b"photo"
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    for folder in (place.parent, place.parent.parent, directory.path, directory.path / "writing"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list((directory.path / "writing").iterdir()) == []


_WRITER = """
import hashlib, os, sys, time
from pathlib import Path
from connectors.attachments.directory import DirectoryStore
from pipelines.mail.outcome import Content
data = b"x" * 1_000_000
os.fsync = lambda file: (print("written", flush=True), time.sleep(600))
DirectoryStore(Path(sys.argv[1]), 90).put(Content(hashlib.sha256(data).hexdigest(), "", "", data))
"""


def test_killed_while_it_writes_nothing_is_found_under_the_hash(
    directory: DirectoryStore, content: Any
) -> None:
    large = content(b"x" * 1_000_000)
    command = [sys.executable, "-P", "-c", _WRITER, str(directory.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        process.kill()
    assert directory.find(large.sha256) is None
    assert len(list((directory.path / "writing").iterdir())) == 1
    directory.put(large)
    assert b"".join(directory.read(large.sha256)) == large.content
    directory.sweep()
    assert len(list((directory.path / "writing").iterdir())) == 1  # it might still be written
    later = DirectoryStore(directory.path, 90, clock=lambda: time.time() + 4000)
    later.sweep()
    assert list((directory.path / "writing").iterdir()) == []
    assert directory.find(large.sha256) is not None


def test_what_nothing_has_had_for_the_retention_is_removed(directory: DirectoryStore, content: Any) -> None:
    old, again, young = (content(data) for data in (b"old", b"again", b"young"))
    for each, days in ((old, 91), (again, 91), (young, 89)):
        directory.put(each)
        age(directory, each.sha256, days)
    directory.put(again)
    assert directory.sweep() == 1
    assert directory.find(old.sha256) is None
    assert directory.find(again.sha256) is not None
    assert directory.find(young.sha256) is not None


def test_what_is_put_while_it_is_swept_is_there(directory: DirectoryStore, content: Any) -> None:
    photo = content(b"photo")
    stop = threading.Event()

    def sweep() -> None:
        while not stop.is_set():
            directory.sweep()

    sweeping = threading.Thread(target=sweep)
    sweeping.start()
    try:
        for _ in range(150):
            directory.put(photo)
            assert file_of(directory, photo.sha256).read_bytes() == b"photo"
            age(directory, photo.sha256, 91)
    finally:
        stop.set()
        sweeping.join()


def test_a_file_of_another_length_is_written_anew(directory: DirectoryStore, content: Any) -> None:
    photo = content(b"photo")
    directory.put(photo)
    file_of(directory, photo.sha256).write_bytes(b"ph")
    with pytest.raises(StoreRefuses, match="damaged"):
        b"".join(directory.read(photo.sha256))
    directory.put(photo)
    assert b"".join(directory.read(photo.sha256)) == b"photo"


def test_a_directory_makes_no_links_but_says_where_the_file_is(
    directory: DirectoryStore, content: Any
) -> None:
    photo = content(b"photo")
    with pytest.raises(StoreRefuses, match=photo.sha256):
        directory.link(photo.sha256, 60)
    with pytest.raises(StoreRefuses, match="s3://BUCKET"):
        directory.link_holds_s(60)


def test_a_place_that_is_none_is_one_sentence(tmp_path: Path, content: Any) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written to"):
        DirectoryStore(tmp_path / "file" / "attachments", 90)
    store = DirectoryStore(tmp_path / "gone", 90)
    (tmp_path / "gone" / "writing").rmdir()
    with pytest.raises(StoreError, match="cannot be written to"):
        store.put(content(b"x"))


def test_the_sweeper_goes_on_until_it_is_told_to_stop(directory: DirectoryStore, content: Any) -> None:
    photo, stop = content(b"photo"), threading.Event()
    directory.put(photo)
    age(directory, photo.sha256, 91)
    sweeper = Sweeper(directory, every_s=0.01)
    thread = threading.Thread(target=sweeper.run, args=(stop,))
    thread.start()
    deadline = time.monotonic() + 60
    while not sweeper.removed and time.monotonic() < deadline:
        time.sleep(0.01)
    stop.set()
    thread.join()
    assert sweeper.removed == 1
    assert directory.find(photo.sha256) is None


def test_settings_choose_the_store(tmp_path: Path) -> None:
    def chosen(place: str, data: Path | None) -> Any:
        return open_store(Settings(inbound=Inbound(attachments=place, attachment_days=7)), data)

    assert chosen("", None) is None
    embedded = chosen("", tmp_path)
    assert (embedded.path, embedded.days) == (tmp_path / "attachments", 7)
    assert chosen(str(tmp_path / "else"), tmp_path).path == tmp_path / "else"
    assert isinstance(chosen("s3://bucket/prefix", tmp_path), S3Store)
