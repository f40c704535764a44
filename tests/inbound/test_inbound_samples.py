"""A tree of real mails, where there is one (`SAMPLES_DIR`): each ends as a row, or is told, and none stops us."""

from __future__ import annotations

import os
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from connectors.bridge import Bridge, Receipt
from connectors.sources.reading import Desk, Paper, read_into
from pipelines.intake.provenance import Provenance

ROOT = Path(os.environ.get("SAMPLES_DIR", "/nonexistent"))
pytestmark = pytest.mark.skipif(not ROOT.is_dir(), reason="SAMPLES_DIR is not set")


def test_every_mail_of_the_tree_has_its_row(desk: Desk, bridge: Bridge, kafka: Any) -> None:
    mails, none = Counter[str](), []
    safe = threading.Event()
    receipt = Receipt(safe.set)
    for path in sorted(path for path in ROOT.rglob("*") if path.is_file()):
        paper = Paper(Provenance(path.as_uri(), 1, "file"), receipt)
        assert read_into(desk, [path.read_bytes()], paper)
        if path.suffix == ".eml" or path.name.startswith("mail_"):
            mails[path.suffix] += paper.tally.mails
            none += [] if paper.tally.mails else [path]
    receipt.close()
    bridge.flush(60)
    assert safe.wait(60)
    assert none == []
    assert len(kafka.mails) >= mails.total() > 100
    assert {letter["cause"] for letter in kafka.dead_letters if letter["cause"] == "internal_error"} == set()
