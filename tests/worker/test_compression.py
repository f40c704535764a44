"""aiokafka has no option for the level of LZ4, and its own costs more than the counting; this pins how it is set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiokafka.codec import lz4_encode

from pipelines.worker.app import LZ4_LEVEL, create_app
from pipelines.worker.config import WorkerConfig

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_worker_compresses_at_its_level(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lz4_encode, "__defaults__", lz4_encode.__defaults__)
    text = b"".join(b"campaign-%d" % (number * 7919 % 1000) for number in range(20_000))
    create_app(WorkerConfig(brokers="127.0.0.1:1", partitions=1, data=tmp_path), memory=None)
    assert lz4_encode(text) == lz4_encode(text, LZ4_LEVEL) != lz4_encode(text, 9)
