"""What strangers wrote is text on a terminal, and nothing that it would obey."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime

import pytest

from connectors.cli import dead_letters
from connectors.cli.context import at_least_one, say
from connectors.cli.main import parser
from connectors.clickhouse.dead_letters import Listed
from connectors.reports.printable import printable_lines

HOSTILE = "\x1b]0;title\x07 \x9b31m\u202e ok"
HARMLESS = "\ufffd]0;title\ufffd \ufffd31m\ufffd ok"


def test_lines_that_we_made_stay_lines() -> None:
    assert (
        printable_lines(f"a  b\n{HOSTILE}\n\u2514\u2500 \u2709\n")
        == f"a  b\n{HARMLESS}\n\u2514\u2500 \u2709\n"
    )


def test_what_is_said_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    say(HOSTILE)
    assert capsys.readouterr().err == f"{HARMLESS}\n"


def test_dead_letters_are_listed_harmlessly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    letter = Listed("0" * 32, datetime(2026, 11, 22, tzinfo=UTC), "unwrap", "not_json", HOSTILE, HOSTILE, 1)
    monkeypatch.setattr(dead_letters, "target_of", lambda _: nullcontext(""))
    for found, told in (([letter], HARMLESS), ([], "there are none of that stage and cause")):
        monkeypatch.setattr(
            "connectors.clickhouse.dead_letters.list_letters", lambda *_, found=found, **__: found
        )
        args = parser().parse_args(["dead-letters", "list", "--stage", "unwrap"])
        assert args.run(args) == 0
        captured = capsys.readouterr()
        assert told in captured.out + captured.err
        assert "\x1b" not in captured.out


@pytest.mark.parametrize("text", ["0", "-1"])
def test_less_than_one_is_asked_of_nobody(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["report", "--campaigns", text])
    assert "is not 1 or more" in capsys.readouterr().err
    assert at_least_one("1") == 1
