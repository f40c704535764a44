"""`alarms`: what a person is told of rules, and when an order cannot be given."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

import connectors.cli.wiring  # noqa: F401 - urllib3 opens a socket when it is first imported
from connectors.alarms.orders import span_ms
from connectors.cli.main import main
from connectors.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def said(said_by: Any) -> Any:
    """Runs the command: its exit code, standard output and standard error."""
    return said_by("alarms")


def test_check_prints_what_is_in_force(said: Any) -> None:
    code, out, error = said("check")
    lines = {line.split()[0]: line for line in out.splitlines() if not line.startswith(" ")}
    assert code == 0
    assert "12 rules are in force" in error
    assert "account, tenant, campaign" in lines["complaint_rate"]
    for cell in ("0.1 %", "0.3 %", "1 in 365 d", "336 h", "48 h", "12 h"):
        assert f"  {cell}" in lines["complaint_rate"]
    assert "baseline_drift of hard_bounce_rate" in lines["hard_bounce_drift"]
    assert "for nothing" in out
    assert "dead_letters 50" in out


@pytest.mark.parametrize("named", ["in the settings", "as an argument"])
def test_check_of_a_file(said: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, named: str) -> None:
    (tmp_path / "mine.toml").write_text(
        '[[rule]]\nname = "vip"\nsignal = "complaint_rate"\ndimensions = ["campaign"]\nvalues = ["vip-*"]\n'
        'except = ["vip-test"]\nnotice = 0.0005\n[[rule]]\nname = "pipeline"\nseverity = "critical"\n'
    )
    if named == "in the settings":
        monkeypatch.setenv("SES_STREAMS_ALARMS__RULES", "mine.toml")
    code, out, error = said("check", *(["mine.toml"] if named == "as an argument" else []))
    assert code == 0
    lines = out.splitlines()
    assert lines[1].startswith("vip ")
    assert lines[1].endswith("mine.toml:1")
    assert "0.05 %" in lines[1]
    assert lines[2:4] == ["    values: vip-*", "    except: vip-test"]
    assert lines[4].split()[:6] == ["pipeline", "pipeline", "pipeline", "-", "-", "yes"]
    assert "mine.toml: 13 rules are in force" in error


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[[rule]]\nname = 'x'\n", "bad.toml, line 2: there is no rule x"),
        ('[[rule]]\nname = "complaint_rate"\ndimensions = ["tag:ring"]', "line 3: nothing is counted for"),
        ("[[rule", "bad.toml, line 1: this is no TOML"),
        (None, "cannot read the alarm rules bad.toml"),
    ],
)
def test_an_invalid_file_is_one_sentence_and_exit_code_2(
    said: Any, tmp_path: Path, content: str | None, sentence: str
) -> None:
    if content is not None:
        (tmp_path / "bad.toml").write_text(content)
    code, out, error = said("check", "bad.toml")
    assert (code, out) == (2, "")
    assert error.count("\n") == 1
    assert error.startswith("ses-streams: ")
    assert sentence in error


@pytest.mark.sockets
def test_nothing_starts_on_an_invalid_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "bad.toml").write_text("[[rule]]\nname = 'x'\n")
    monkeypatch.setenv("SES_STREAMS_ALARMS__RULES", "bad.toml")
    monkeypatch.setattr(sys, "argv", ["ses-streams", "up", "--http", "127.0.0.1:1"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "bad.toml, line 2: there is no rule x" in capsys.readouterr().err


@pytest.mark.parametrize("action", [["list"], ["show", "k"]])
def test_without_data_there_is_nothing_to_list(said: Any, action: list[str]) -> None:
    code, _, error = said(*action)
    assert code == 5
    assert "there is no data" in error


def test_an_order_wants_an_instance_that_runs(said: Any) -> None:
    code, _, error = said("ack", "complaint_rate:campaign:spring")
    assert code == 6
    assert "start `ses-streams up`" in error


@pytest.mark.parametrize(
    ("text", "hours"), [("30m", 0.5), ("4h", 4), ("2d12h", 60), ("1w", 168), ("1.5h", 1.5), ("1 H", 1)]
)
def test_spans_of_time(text: str, hours: float) -> None:
    assert span_ms(text) == hours * 3_600_000


@pytest.mark.parametrize("text", ["", "4", "h", "-4h", "0h", "4 hours", "400d", "1h1", "9" * 400 + "h"])
def test_what_is_no_span_of_time_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="30m, 4h, 2d or 1w"):
        span_ms(text)


def test_a_span_that_is_none_is_said_before_anything_is_asked(said: Any) -> None:
    code, _, error = said("silence", "complaint_rate:campaign:spring", "--for", "long")
    assert code == 2
    assert "'long' is no span of time" in error
