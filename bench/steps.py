"""The worker's steps as `create_app` wires them, on topics that take everything and keep nothing: no Kafka, no Faust loop.

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
    """A topic or changelog; counts the bytes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sent = 0
        self.kept: list[tuple[int, bytes]] | None = None
        """Set to a list, it gets (partition, value)."""

    def get_topic_name(self) -> str:
        return self.name

    async def send(self, *, partition: int, key: bytes | None = None, value: bytes | None = None) -> Any:
        self.sent += len(value or b"")
        if self.kept is not None and value is not None:
            self.kept.append((partition, value))
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


class Steps:
    """Call as `await steps.count(messages)`."""

    def __init__(self, partitions: int, **facts: Any) -> None:
        self.topics: dict[str, Void] = {}
        self._found: dict[str, Any] = {}
        before = {name: getattr(wiring, name) for name in ("_topic", "_attach")}
        wiring._topic = lambda app, config, name: self.topics.setdefault(name, Void(name))  # noqa: SLF001
        wiring._attach = lambda app, name, topic, step, *_: self._found.update({name: step})  # noqa: SLF001
        try:
            config = WorkerConfig(brokers="none:1", partitions=partitions, data=Path("unused"), **facts)
            self.app = wiring.create_app(config, memory=None)
        finally:
            vars(wiring).update(before)
        for table in self.app.tables.values():
            table.changelog_topic = self.topics.setdefault(table.name, Void(f"{table.name}-changelog"))
        self.count = self._found["count"]
        self.rate = self._found["rate"]


def message(topic: str, partition: int, offset: int, value: bytes) -> Any:
    """A Faust event, as far as steps read one."""
    return SimpleNamespace(
        message=SimpleNamespace(topic=topic, partition=partition, offset=offset, timestamp=0.0, value=value)
    )
