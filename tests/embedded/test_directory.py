from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from connectors.embedded import directory as module
from connectors.embedded.children import cap
from connectors.embedded.directory import DataDirectory, Endpoints
from connectors.errors import InstanceError

if TYPE_CHECKING:
    from pathlib import Path

ENDPOINTS = Endpoints(1, 1, "127.0.0.1:1", "127.0.0.1:2", "secret")


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    first, second = DataDirectory(tmp_path), DataDirectory(tmp_path)
    with first.hold():
        assert second.held()
        with pytest.raises(InstanceError, match="in use"), second.hold():
            pass
    assert not second.held()
    with second.hold():
        pass


def test_endpoints_count_only_while_their_writer_holds_the_directory(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    with directory.hold():
        assert directory.running() is None
        directory.publish(ENDPOINTS)
        assert directory.running() == ENDPOINTS
    assert directory.running() is None


def test_secrets_are_for_the_owner_alone(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path / "data")
    with directory.hold():
        directory.publish(ENDPOINTS)
        directory.pii_key()
    modes = {
        name: stat.S_IMODE((tmp_path / name).stat().st_mode)
        for name in ("data", "data/instance.json", "data/pii.key")
    }
    assert modes == {"data": 0o700, "data/instance.json": 0o600, "data/pii.key": 0o600}


def test_two_instances_of_one_machine_hash_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = tmp_path / "machine-id"
    machine.write_text("0123456789abcdef0123456789abcdef\n")
    monkeypatch.setattr(module, "_MACHINE_ID", machine)
    keys = {_key(tmp_path / name) for name in ("a", "b")}
    assert len(keys) == 1
    assert "0123456789abcdef" not in keys.pop()


def test_without_a_machine_id_the_key_is_random_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MACHINE_ID", tmp_path / "none")
    first, second = _key(tmp_path / "a"), _key(tmp_path / "b")
    assert first != second
    assert _key(tmp_path / "a") == first


def test_a_file_in_its_place_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InstanceError, match="cannot be written"):
        DataDirectory(tmp_path / "file").prepare()


def test_a_log_keeps_its_newer_half(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    with log.open("ab") as writer:
        writer.write(b"a" * 600 + b"b" * 600)
        writer.flush()
        cap(log, limit=1000)
        writer.write(b"c")
    assert log.read_bytes() == b"b" * 500 + b"c"


def _key(path: Path) -> str:
    directory = DataDirectory(path)
    directory.prepare()
    return directory.pii_key()
