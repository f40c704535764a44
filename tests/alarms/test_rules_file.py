"""A rules file that changes while its rules are in force."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pipelines.alarms.rules import RulesError, defaults
from pipelines.alarms.rules_file import Changed, Refused, RulesFile

if TYPE_CHECKING:
    from pathlib import Path

GOOD = '[[rule]]\nname = "complaint_rate"\nwarning = 0.002\n'
BAD = '[[rule]]\nname = "complaint_rate"\nwarning = 2\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "alarms.toml"
    found.write_text(GOOD)
    return found


def replace(path: Path, text: str) -> None:
    """As editors and ConfigMaps do: another file of the name."""
    draft = path.with_suffix(".new")
    draft.write_text(text)
    draft.replace(path)


def test_without_a_file_the_programs_own_rules_stay() -> None:
    file = RulesFile(None)
    assert file.rules == defaults()
    assert (file.look(), RulesFile("").look()) == (None, None)


def test_a_change_is_taken_over_once(path: Path) -> None:
    file = RulesFile(path)
    assert file.rules.by_name["complaint_rate"].warning == 0.002
    assert file.look() is None
    replace(path, GOOD.replace("0.002", "0.0025"))
    found = file.look()
    assert isinstance(found, Changed)
    assert file.rules is found.rules
    assert found.rules.by_name["complaint_rate"].warning == 0.0025
    assert file.look() is None


def test_an_invalid_file_leaves_the_old_rules_in_force_and_is_told_once(path: Path) -> None:
    file = RulesFile(path)
    before = file.rules
    replace(path, BAD)
    found = file.look()
    assert isinstance(found, Refused)
    assert found.sentence == file.refused
    assert f"{path}, line 3: warning is" in found.sentence
    assert "stay in force" in found.sentence
    assert (file.look(), file.rules) == (None, before)
    replace(path, GOOD)
    assert isinstance(file.look(), Changed), "that it is cured is told as well"
    assert (file.refused, file.rules) == ("", before)


def test_a_file_that_goes_leaves_its_rules_in_force(path: Path) -> None:
    file = RulesFile(path)
    path.unlink()
    found = file.look()
    assert isinstance(found, Refused)
    assert "no such file" in found.sentence
    assert file.look() is None
    assert file.rules.by_name["complaint_rate"].warning == 0.002
    path.write_text(GOOD.replace("0.002", "0.0015"))
    assert isinstance(file.look(), Changed)


def test_a_file_that_is_written_anew_with_the_same_is_no_change(path: Path) -> None:
    file = RulesFile(path)
    replace(path, f"# the same\n{GOOD}")
    assert file.look() is None
    os.utime(path, ns=(1, 1))
    assert file.look() is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot read the alarm rules"),
        (BAD.encode(), "line 3: warning is"),
        (b"[[rule]]\n\xff", "line 2: this is not UTF-8"),
        (b'[[rule]]\nname="complaint_rate"\ndimensions=["tag:x"]', "line 3: nothing is counted for"),
        (b'[[rule]]\nname="complaint_rate"\nslow_hours=4000', "line 3: slow_hours (4000) is more"),
    ],
)
def test_at_the_start_it_has_to_be_right(path: Path, content: bytes | None, said: str) -> None:
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(RulesError) as caught:
        RulesFile(path, ("account", "campaign"), 14)
    assert said in str(caught.value)


def test_a_byte_order_mark_is_harmless(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert RulesFile(path).rules.by_name["complaint_rate"].warning == 0.002
