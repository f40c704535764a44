from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

import connectors.cli.wiring  # noqa: F401 - urllib3 opens a socket when it is first imported
from connectors.cli.main import COMMANDS, main

if TYPE_CHECKING:
    from pathlib import Path


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit code and the one sentence on standard error."""
    code = exits(*arguments)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("ses-streams: ")
    assert captured.err.count("\n") == 1
    return code, captured.err


def exits(*arguments: str) -> int:
    before, sys.argv = sys.argv, ["ses-streams", *arguments]
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        sys.argv = before
    return int(ended.value.code or 0)


@pytest.fixture(autouse=True)
def _no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("SES_STREAMS_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for name, _, summary in COMMANDS:
        assert exits(name, "--help") == 0
        assert summary in " ".join(capsys.readouterr().out.split())


def test_the_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    assert exits("--version") == 0
    assert capsys.readouterr().out.startswith("ses-streams 0.")


def test_a_misspelt_setting(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text("[kafka]\nbroker = 'x'\n")
    code, sentence = fails(capsys, "up", "--config", "s.toml")
    assert code == 2
    assert "broker" in sentence


def test_a_kafka_without_a_clickhouse(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SES_STREAMS_KAFKA__BROKERS", "kafka:9092")
    code, sentence = fails(capsys, "up")
    assert code == 2
    assert "clickhouse.dsn is not" in sentence


@pytest.mark.parametrize("command", ["up", "demo"])
def test_production_settings_do_not_start_embedded_parts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("SES_STREAMS_CLICKHOUSE__DSN", "clickhouse://u:secret@h:8123/ses")
    code, sentence = fails(capsys, command)
    assert code == 2
    assert "secret" not in sentence


@pytest.mark.parametrize("command", ["sink", "migrate"])
def test_production_wants_a_clickhouse(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert exits(command) == 2
    assert "clickhouse.dsn is not set" in capsys.readouterr().err


def test_a_bridge_without_sources(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SES_STREAMS_PRIVACY__PII_KEY", "k")
    assert exits("bridge") == 2
    assert "there is nothing to read" in capsys.readouterr().err


def test_a_bridge_without_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert exits("bridge") == 2
    assert "privacy.pii_key is not set" in capsys.readouterr().err


@pytest.mark.sockets
def test_no_broker(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SES_STREAMS_PRIVACY__PII_KEY", "k")
    monkeypatch.setenv("SES_STREAMS_BRIDGE__HTTP__BIND", "127.0.0.1:0")
    monkeypatch.setenv("SES_STREAMS_KAFKA__BROKERS", "127.0.0.1:1")
    monkeypatch.setattr("connectors.kafka.CONNECT_S", 0.2)
    assert exits("bridge") == 4
    assert "no Kafka broker answers at 127.0.0.1:1" in capsys.readouterr().err


@pytest.mark.sockets
def test_a_worker_without_a_broker(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SES_STREAMS_KAFKA__BROKERS", "127.0.0.1:1")
    monkeypatch.setattr("connectors.kafka.CONNECT_S", 0.2)
    assert exits("worker") == 4
    assert "no Kafka broker answers at 127.0.0.1:1" in capsys.readouterr().err


@pytest.mark.sockets
def test_a_clickhouse_that_is_away(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SES_STREAMS_CLICKHOUSE__DSN", "clickhouse://user:secret@127.0.0.1:1/ses")
    code, sentence = fails(capsys, "sql", "SELECT 1")
    assert code == 5
    assert "127.0.0.1:1 does not answer" in sentence
    assert "secret" not in sentence


@pytest.mark.parametrize("source", ["nowhere", "ftp://host/file"])
def test_a_source_that_is_none(capsys: pytest.CaptureFixture[str], source: str) -> None:
    code, sentence = fails(capsys, "replay", source, "--once")
    assert code == 3
    assert source in sentence


def test_standard_input_without_an_instance(capsys: pytest.CaptureFixture[str]) -> None:
    code, sentence = fails(capsys, "replay", "--once", "-")
    assert code == 3
    assert "start `ses-streams up`" in sentence


def test_a_simulation_into_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, sentence = fails(capsys, "simulate", "--out", "file")
    assert code == 6
    assert "not a directory (file/events)" in sentence


def test_no_data_yet(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, sentence = fails(capsys, "sql", "SELECT 1", "--data", str(tmp_path / "none"))
    assert code == 5
    assert "there is no data" in sentence
    assert not (tmp_path / "none").exists()


def test_a_data_directory_that_cannot_be(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, sentence = fails(capsys, "up", "--data", str(tmp_path / "file" / "data"))
    assert code == 6
    assert "choose another --data" in sentence


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert exits("replay", "nowhere", "--debug") == 3
    assert "Traceback" in capsys.readouterr().err


def test_simulate_writes_files_and_their_truth(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert exits("simulate", "--out", str(tmp_path / "tree"), "--events", "500") == 0
    truth = json.loads((tmp_path / "tree" / "truth.json").read_text())
    assert f"{truth['events']} events" in capsys.readouterr().out
    assert truth["events"] >= 500


def test_simulate_wants_one_place(capsys: pytest.CaptureFixture[str]) -> None:
    assert fails(capsys, "simulate")[0] == 2


@pytest.mark.sockets
def test_simulate_to_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    assert exits("simulate", "--http", "http://127.0.0.1:1", "--events", "10") == 3
    assert "is `ses-streams up` running?" in capsys.readouterr().err
