"""`Custody`: SQS messages in work. Hidden from others until safe, deleted only then."""

from __future__ import annotations

import logging
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Self

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mypy_boto3_sqs import SQSClient

_BATCH: Final = 10
"""Entries in a batch request at the most (SQS quota)."""
_DELETE_DELAY_S: Final = 0.2
"""How long a message that is safe waits for company to be deleted with."""
_DELETE_ATTEMPTS: Final = 4
"""On top of boto's own; after them the message returns, and is recognised as a duplicate."""
_RENEW_AT: Final = 0.5
"""Share of the visibility timeout after which it is renewed: time is left to try again."""
_RENEW_AGAIN_AT: Final = 0.1
"""Likewise, after a renewal that failed."""
_LONGEST_S: Final = 12 * 3600 - 60
"""SQS hides a message for 12 hours after it was received, then renewing fails."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Held:
    """A message in work."""

    message_id: str
    handle: str
    """Receipt handle of this receipt of it."""
    since: float
    renew_at: float
    safe_at: float = 0.0
    attempts: int = 0
    """Deletions that failed."""
    due: bool = False
    """Whether it is safe and waits for its deletion to be sent."""


class Custody:
    """Messages of one queue from receipt to deletion.

    One thread calls `tick`; it renews visibility and hands deletions to a pool. `safe` may be called by any
    thread and returns at once. What is neither safe nor released stays hidden while `tick` is called.
    """

    def __init__(
        self,
        client: SQSClient,
        url: str,
        visibility_s: int,
        deleters: int = 2,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._client = client
        self._url = url
        self._visibility_s = visibility_s
        self._clock = clock
        self._held: dict[str, Held] = {}
        self._due: deque[Held] = deque()
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._pool = ThreadPoolExecutor(deleters, thread_name_prefix="sqs-delete")
        self._deleting: set[Future[None]] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __len__(self) -> int:
        """Messages in work."""
        return len(self._held)

    def hold(self, message_id: str, handle: str) -> Held:
        """Take a message that was just received into custody."""
        now = self._clock()
        held = Held(message_id, handle, now, now + self._visibility_s * _RENEW_AT)
        with self._lock:
            self._held[handle] = held
        return held

    def safe(self, held: Held) -> None:
        """Everything the message stands for is safe: delete it soon."""
        held.safe_at = self._clock()
        with self._lock:
            held.due = True
            self._due.append(held)

    def release(self, held: Held) -> None:
        """Let the message return by itself when its visibility timeout ends: it could not be used now."""
        self._forget((held,))

    def put_off(self, later: Sequence[tuple[Held, float]]) -> None:
        """Let messages (1 to 10) return after so many seconds each: they are not to be used now."""
        self._forget(held for held, _ in later)
        entries: Any = [
            {"Id": str(at), "ReceiptHandle": held.handle, "VisibilityTimeout": round(delay)}
            for at, (held, delay) in enumerate(later)
        ]
        self._change(entries)

    def give_back(self, handles: Sequence[str]) -> None:
        """Make messages (1 to 10 receipt handles, not in custody) visible again at once."""
        entries: Any = [
            {"Id": str(at), "ReceiptHandle": handle, "VisibilityTimeout": 0}
            for at, handle in enumerate(handles)
        ]
        self._change(entries)

    def _change(self, entries: Any) -> None:
        try:
            self._client.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)
        except (ClientError, BotoCoreError) as error:
            _log.info("%s: messages return only after their visibility timeout: %s", self._url, error)

    def wait_for_room(self, most: int, timeout: float) -> bool:
        """Wait until fewer than `most` messages are in work; `timeout` in seconds."""
        with self._room:
            return self._room.wait_for(lambda: len(self._held) < most, timeout)

    def tick(self, *, all_due: bool = False) -> None:
        """Delete what is due (`all_due`: without waiting for company) and renew what would become visible."""
        now = self._clock()
        self._deleting = {future for future in self._deleting if not future.done()}
        while batch := self._take_due(now, all_due=all_due):
            self._deleting.add(self._pool.submit(self._delete, batch))
        self._renew(now)

    def _take_due(self, now: float, *, all_due: bool) -> list[Held]:
        with self._lock:
            if not self._due:
                return []
            if len(self._due) < _BATCH and not all_due and now - self._due[0].safe_at < _DELETE_DELAY_S:
                return []
            return [self._due.popleft() for _ in range(min(_BATCH, len(self._due)))]

    def _delete(self, batch: Sequence[Held]) -> None:
        """Send one DeleteMessageBatch; what fails is due again, a few times."""
        entries: Any = [{"Id": str(at), "ReceiptHandle": held.handle} for at, held in enumerate(batch)]
        try:
            answer = self._client.delete_message_batch(QueueUrl=self._url, Entries=entries)
        except (ClientError, BotoCoreError) as error:
            _log.warning("%s: deleting %d messages failed: %s", self._url, len(batch), error)
            failed = set(range(len(batch)))
        else:
            failed = {int(entry["Id"]) for entry in answer.get("Failed", [])}
        gone = []
        for at, held in enumerate(batch):
            held.attempts += at in failed
            if at in failed and held.attempts < _DELETE_ATTEMPTS:
                self.safe(held)
                continue
            if at in failed:
                _log.warning("%s: message %s is not deleted and will come again", self._url, held.message_id)
            gone.append(held)
        self._forget(gone)

    def _renew(self, now: float) -> None:
        with self._lock:
            late = [held for held in self._held.values() if held.renew_at <= now]
        expired = [held for held in late if now - held.since + self._visibility_s > _LONGEST_S]
        self._forget(expired)
        wanted = iter([held for held in late if held not in expired] if expired else late)
        while batch := list(islice(wanted, _BATCH)):
            self._renew_batch(batch, now)

    def _renew_batch(self, batch: Sequence[Held], now: float) -> None:
        entries: Any = [
            {"Id": str(at), "ReceiptHandle": held.handle, "VisibilityTimeout": self._visibility_s}
            for at, held in enumerate(batch)
        ]
        try:
            answer = self._client.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)
        except (ClientError, BotoCoreError) as error:
            _log.warning("%s: %d messages in work are not kept hidden: %s", self._url, len(batch), error)
            for held in batch:
                held.renew_at = now + self._visibility_s * _RENEW_AGAIN_AT
            return
        failed = {int(entry["Id"]): entry for entry in answer.get("Failed", [])}
        for at, held in enumerate(batch):
            held.renew_at = now + self._visibility_s * _RENEW_AT
            if at in failed and not held.due:
                # Still in work here; another reader may get it too, which its arrival ids make harmless.
                _log.info("%s: message %s is not kept hidden: %s", self._url, held.message_id, failed[at])

    def _forget(self, gone: Iterable[Held]) -> None:
        with self._room:
            for held in gone:
                self._held.pop(held.handle, None)
            self._room.notify_all()
