"""Real mails, where they are at hand: `SAMPLES_DIR` names a folder of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from mail_making import read

from schemas.avro import newest
from schemas.blocks import BlockBuilder

SAMPLES = os.environ.get("SAMPLES_DIR", "")
CAUSES = {"empty_mail", "not_a_mail"}


@pytest.mark.timeout(120)
@pytest.mark.skipif(not SAMPLES, reason="SAMPLES_DIR is not set")
def test_every_sample_is_read_or_refused_with_its_cause() -> None:
    builder = BlockBuilder(newest("inbound_mail"))
    count = 0
    for path in sorted(Path(SAMPLES).rglob("*")):
        if not path.is_file():
            continue
        found = read(path.read_bytes())
        builder.add(found.mail)
        builder.take()
        if path.suffix == ".eml":
            count += 1
            assert (
                path.name,
                [letter["cause"] for letter in found.dead_letters if letter["cause"] == "internal_error"],
            ) == (path.name, [])
            assert found.mail["parts"] > 0
        elif found.parsed is None:
            assert {letter["cause"] for letter in found.dead_letters} <= CAUSES
    assert count > 0
