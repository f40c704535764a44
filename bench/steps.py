"""The worker's steps as `create_app` wires them, on topics that take everything and keep nothing: no Kafka.

For benchmarks of what the steps themselves cost: reading, counting, remembering, and encoding what would be sent.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pipelines.worker import app as wiring
from pipelines.worker.config import WorkerConfig


class Void:
    """A topic or changelog."""

    def __init__(self, name: str) -> None:
        self.name = name

    def get_topic_name(self) -> str:
        return self.name

    async def send(self, **_: Any) -> Any:
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


class Steps:
    """Call as `await steps.count(messages)`."""

    def __init__(self, partitions: int, **facts: Any) -> None:
        self._found: dict[str, Any] = {}
        before = {name: getattr(wiring, name) for name in ("_topic", "_attach")}
        wiring._topic = lambda *told: Void(told[2])  # noqa: SLF001
        wiring._attach = lambda *told: self._found.update({told[1]: told[3]})  # noqa: SLF001
        try:
            config = WorkerConfig(brokers="none:1", partitions=partitions, data=Path("unused"), **facts)
            self.app = wiring.create_app(config, memory=None)
        finally:
            vars(wiring).update(before)
        for table in self.app.tables.values():
            table.changelog_topic = Void(f"{table.name}-changelog")
        self.count = self._found["count"]
        self.rate = self._found["rate"]


def message(topic: str, partition: int, offset: int, value: bytes) -> Any:
    """A Faust event, as far as steps read one."""
    return SimpleNamespace(
        message=SimpleNamespace(topic=topic, partition=partition, offset=offset, timestamp=0.0, value=value)
    )
