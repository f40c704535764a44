"""`Landing`: whether blocks that Kafka has are in ClickHouse yet, told by what the sink has committed."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from connectors.errors import UserError
from schemas.topics import SINK_GROUP

if TYPE_CHECKING:
    from collections.abc import Callable

    from connectors.kafka import Offsets

POLL_S: Final = 0.2
"""Between two questions: a source waits that much longer than it had to, and Kafka is asked five times a
second."""
PATIENCE_S: Final = 15.0
"""How long Kafka may fail to answer: a coordinator moves in a few seconds, a broker that is gone stays
away."""


class Landing(Protocol):
    """Watches blocks until they have landed; the bridge owns it. Callbacks come in a thread of its own."""

    def watch(
        self,
        topic: str,
        partition: int,
        offset: int,
        landed: Callable[[], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """Call `landed` once the sink has committed beyond an offset; `failed` if nobody can tell."""

    def close(self) -> None:
        """Stop watching; what waits is never called."""


class Commits(Protocol):
    """What the sink has committed; see `connectors.kafka.Positions`."""

    def committed(self, group: str, topic: str) -> Offsets:
        """The offset that a group will read next in each partition."""

    def close(self) -> None:
        """Disconnect."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    offset: int
    landed: Callable[[], None]
    failed: Callable[[Exception], None]


class CommittedLanding:
    """Asks Kafka for the committed offsets of the sink's group, only while something waits."""

    def __init__(self, commits: Commits, poll_s: float = POLL_S, patience_s: float = PATIENCE_S) -> None:
        self._commits = commits
        self._poll_s = poll_s
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._waiting: dict[str, dict[int, deque[_Waiting]]] = {}
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="bridge-landing", daemon=True)
        self._thread.start()

    def watch(
        self,
        topic: str,
        partition: int,
        offset: int,
        landed: Callable[[], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """Call `landed` once the sink has committed beyond an offset; `failed` if nobody can tell."""
        with self._changed:
            queue = self._waiting.setdefault(topic, {}).setdefault(partition, deque())
            queue.append(_Waiting(offset, landed, failed))
            self._changed.notify()

    def close(self) -> None:
        """Stop watching; what waits is never called."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        self._commits.close()

    def _run(self) -> None:
        answered = time.monotonic()
        while topics := self._wait():
            try:
                offsets = {topic: self._commits.committed(SINK_GROUP, topic) for topic in topics}
            except UserError as error:
                if time.monotonic() - answered > self._patience_s:
                    self._give_up(error)
                    answered = time.monotonic()
            except Exception as error:  # noqa: BLE001 - whatever it is, nobody would see it in this thread
                self._give_up(error)
            else:
                answered = time.monotonic()
                for topic, committed in offsets.items():
                    self._release(topic, committed)
            with self._changed:
                self._changed.wait_for(lambda: self._closed, self._poll_s)

    def _wait(self) -> list[str]:
        """Topics with something waiting; empty once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting)
            return [] if self._closed else list(self._waiting)

    def _release(self, topic: str, committed: Offsets) -> None:
        ready: list[_Waiting] = []
        with self._changed:
            queues = self._waiting[topic]
            for partition in list(queues):
                queue = queues[partition]
                # Blocks of a partition are acknowledged, and so watched, in the order of their offsets.
                while queue and queue[0].offset < committed.get(partition, 0):
                    ready.append(queue.popleft())
                if not queue:
                    del queues[partition]
            if not queues:
                del self._waiting[topic]
        for each in ready:
            each.landed()

    def _give_up(self, error: Exception) -> None:
        with self._changed:
            waiting = [
                each for queues in self._waiting.values() for queue in queues.values() for each in queue
            ]
            self._waiting.clear()
        for each in waiting:
            each.failed(error)
