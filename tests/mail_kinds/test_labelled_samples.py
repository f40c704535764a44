"""Real mails, where there are any (`SAMPLES_DIR`): the sisimai set, whose file names say what each is.

`samples.tsv` has what each comes to: written down after reading the mails beside the set's own labels (status, reason).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines.mail.kinds import Kind

ROOT = Path(os.environ.get("SAMPLES_DIR", "/nonexistent")) / "sisimai-set-of-emails"
pytestmark = pytest.mark.skipif(not ROOT.is_dir(), reason="SAMPLES_DIR is not set")
ROWS = [
    line.split("\t")
    for line in Path(__file__).with_name("samples.tsv").read_text("utf-8").splitlines()
    if line and not line.startswith("#")
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_sample(tell: Callable[..., Kind], row: list[str]) -> None:
    name, expected, *recipients = row
    kind = tell((ROOT / name).read_bytes())
    assert kind.kind == expected
    assert [
        " ".join(
            (
                said["address"] or "-",
                said["action"] or "-",
                said["status"] or "-",
                f"{said['bounce_type'] or '-'}/{said['bounce_subtype'] or '-'}",
            )
        )
        for said in kind.feedback
    ] == recipients


def test_every_sample_has_a_row() -> None:
    assert {row[0] for row in ROWS} == {str(path.relative_to(ROOT)) for path in ROOT.rglob("*.eml")}
