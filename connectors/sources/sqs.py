"""An SQS queue as a source: long polls, and deletes only what is safe."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from functools import partial
from time import monotonic, time
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from connectors.aws import LONG_POLL_S, Access, is_denied, is_missing, source_error, sqs_client
from connectors.errors import SourceError, UserError
from connectors.inbound.fetching import Buckets
from connectors.inbound.lobby import Lobby
from connectors.inbound.settings import Inbound
from connectors.sources.numbers import Numbers
from connectors.sources.reading import Desk
from connectors.sources.sns_certificates import SnsHosts
from connectors.sources.sqs_clerk import Clerk, Errand, Office
from connectors.sources.sqs_custody import Custody
from connectors.sources.sqs_messages import KnownPlaces, Message, MessageReader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

    from connectors.bridge import Entrance
    from connectors.inbound.lobby import Numbers as LobbyNumbers
    from connectors.inbound.mailroom import Mailroom
    from connectors.settings import SqsQueue
    from pipelines.intake.intake import Intake

_BATCH: Final = 10
"""Messages of one receive at the most (SQS quota)."""
_IN_WORK: Final = 5_000
"""Messages received and not yet safe at the most: far below SQS's 120,000, enough for a slow landing."""
_TICK_S: Final = 0.1
_DRAIN_S: Final = 10.0
"""How long a stopping source waits for what is in work; what is left becomes visible again by itself."""
_REFUSALS: Final = 5
"""Refusals in a row (no permission, no queue) that a queue may give before its source fails: policies and
credentials take a while to spread when they are changed."""
_LONGEST_PAUSE_S: Final = 30.0

DEFAULT: Final = Inbound()

_log = logging.getLogger(__name__)


class SqsSource:
    """Reads one queue with several pollers.

    A message is hidden from other readers while it is in work, and deleted once its receipt is released. One
    that cannot be used now (its object cannot be read) returns after its visibility timeout; after five
    receipts it is a dead letter.

    Events are submitted by the pollers. Mails wait in a lobby for a reader, by tenant; what a tenant sends beyond its
    share of the lobby returns to the queue for a while.
    """

    def __init__(
        self,
        queue: SqsQueue,
        new_intake: Callable[[], Intake],
        mailroom: Mailroom,
        *,
        inbound: Inbound = DEFAULT,
        certificate_hosts: Sequence[str] = (),
        wait_s: int = LONG_POLL_S,
        drain_s: float = _DRAIN_S,
    ) -> None:
        self.name = f"sqs {queue.url}"
        self._queue = queue
        self._new_intake = new_intake
        self._mailroom = mailroom
        self._inbound = inbound
        self._lobby: Lobby[Errand] | None = None
        self._hosts = SnsHosts(certificate_hosts) if queue.verify_signatures else None
        self._wait_s = wait_s
        self._drain_s = drain_s
        self._failure: UserError | None = None
        self._failed = threading.Event()
        self._answered = threading.Event()
        self.numbers = Numbers()

    def run(self, bridge: Entrance, stop: threading.Event) -> None:
        """Poll until `stop` is set, then finish what is in work, within a deadline.

        Raises:
            SourceError: when the queue is not there, may not be read, or cannot be reached at the start.
            UserError: when the bridge is broken.
        """
        queue = self._queue
        access = Access(queue.region or region_of(queue.url), queue.role_arn, queue.endpoint_url)
        client = sqs_client(access, connections=2 * queue.pollers + 2)
        deleters = max(2, queue.pollers)
        with Custody(client, queue.url, queue.visibility_s, deleters) as custody:
            clerks = self._clerks(access, custody, bridge, stop)
            readers, pollers_clerks = clerks[queue.pollers :], clerks[: queue.pollers]
            lobby = self._lobby = Lobby(
                [partial(self._finish, clerk) for clerk in readers],
                self._inbound.in_hand,
                self._inbound.memory_mb * 1024 * 1024,
                name=self.name,
            )
            work = _Work(client, custody, lobby, stop)
            pollers = [_Poller(self, work, clerk) for clerk in pollers_clerks]
            for poller in pollers:
                poller.start()
            try:
                while not stop.wait(_TICK_S) and not self.failed:
                    custody.tick()
                    self.numbers.in_work = len(custody)
                    bridge.check()
                if self._failure is not None:
                    raise self._failure
                self._drain(work, pollers, bridge)
            finally:
                self._failed.set()
                lobby.close()

    def _clerks(
        self, access: Access, custody: Custody, bridge: Entrance, stop: threading.Event
    ) -> list[Clerk]:
        """One for each poller, then one for each reader."""
        count = self._queue.pollers + self._inbound.readers
        office = Office(self.name, custody, self.numbers, stop)
        buckets, known = Buckets(access, connections=count), KnownPlaces()
        desks = [Desk(self._new_intake(), self._mailroom, bridge, stop) for _ in range(count)]
        return [Clerk(office, MessageReader(desk, buckets, self._hosts, known)) for desk in desks]

    def _finish(self, clerk: Clerk, errand: Errand) -> None:
        """What a reader does; nothing may come out of it."""
        if self.failed:
            return
        try:
            clerk.finish(errand)
        except UserError as error:
            self.fail(error)
        except Exception as error:  # noqa: BLE001 - a reader must not die unseen
            _log.exception("%s", self.name)
            self.fail(SourceError(f"{self.name} failed on a message: {error!r}"))

    @property
    def lobby_numbers(self) -> LobbyNumbers | None:
        """Of the mails that wait, by tenant; None before it runs."""
        return self._lobby.numbers if self._lobby else None

    def _drain(self, work: _Work, pollers: Sequence[_Poller], bridge: Entrance) -> None:
        custody = work.custody
        deadline = monotonic() + self._drain_s
        while monotonic() < deadline and any(poller.busy for poller in pollers):
            bridge.check()
            custody.tick(all_due=True)
            threading.Event().wait(_TICK_S / 5)
        left_behind = [errand.held for errand in work.lobby.close()]
        for start in range(0, len(left_behind), _BATCH):
            custody.put_off([(held, 0.0) for held in left_behind[start : start + _BATCH]])
        while monotonic() < deadline and (len(custody) or work.lobby.busy):
            bridge.check()
            custody.tick(all_due=True)
            threading.Event().wait(_TICK_S / 5)
        if left := len(custody):
            _log.info("%s: %d messages in work return after their visibility timeout", self.name, left)

    def fail(self, error: UserError) -> None:
        """A poller cannot go on: `run` raises this."""
        self._failure = self._failure or error
        self._failed.set()

    def refused(self, error: Exception, attempt: int) -> UserError | None:
        """What to raise for a failed receive, if it is time to.

        Args:
            error: from boto3.
            attempt: failed receives of this poller in a row, this one included.
        """
        hopeless = is_missing(error) or is_denied(error)
        if not self._answered.is_set() or (hopeless and attempt >= _REFUSALS):
            return source_error(error, f"queue {self._queue.url}")
        return None

    def receive(self, client: SQSClient) -> list[MessageTypeDef]:
        """One long poll."""
        answer = client.receive_message(
            QueueUrl=self._queue.url,
            MaxNumberOfMessages=_BATCH,
            WaitTimeSeconds=self._wait_s,
            VisibilityTimeout=self._queue.visibility_s,
            MessageSystemAttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
        )
        self._answered.set()
        messages = answer.get("Messages", [])
        if messages:
            sent = min(int(each.get("Attributes", {}).get("SentTimestamp", 0)) for each in messages)
            self.numbers.take(len(messages), time() - sent / 1000)
        return messages

    @property
    def failed(self) -> bool:
        """Whether a poller cannot go on, or `run` has ended."""
        return self._failed.is_set()

    @property
    def url(self) -> str:
        """Of the queue."""
        return self._queue.url


@dataclass(frozen=True, slots=True)
class _Work:
    """What the pollers of a queue share."""

    client: SQSClient
    custody: Custody
    lobby: Lobby[Errand]
    stop: threading.Event


class _Poller(threading.Thread):
    """Receives and submits. A daemon: a long poll under way does not hold up the end of the process."""

    def __init__(self, source: SqsSource, work: _Work, clerk: Clerk) -> None:
        super().__init__(name=source.name, daemon=True)
        self._source = source
        self._client = work.client
        self._custody = work.custody
        self._lobby = work.lobby
        self._stop_asked = work.stop
        self._clerk = clerk
        self.busy = False
        """Whether it has messages that are neither all submitted nor given back."""

    def run(self) -> None:
        """Until stopped or failed."""
        attempt = 0
        while not self._over():
            if not self._custody.wait_for_room(_IN_WORK, _TICK_S):
                continue
            try:
                messages = self._source.receive(self._client)
                attempt = 0
                self._work(messages)
            except UserError as error:
                self._source.fail(error)
            except (ClientError, BotoCoreError) as error:
                attempt += 1
                self._pause(error, attempt)
            except Exception as error:  # noqa: BLE001 - a poller must not die unseen
                _log.exception("%s", self._source.name)
                self._source.fail(SourceError(f"{self._source.name} failed on a message: {error!r}"))
        self.busy = False

    def _over(self) -> bool:
        return self._stop_asked.is_set() or self._source.failed

    def _pause(self, error: Exception, attempt: int) -> None:
        if self._over():
            return
        if (refusal := self._source.refused(error, attempt)) is not None:
            self._source.fail(refusal)
            return
        _log.warning("%s: %s", self._source.name, error)
        self._stop_asked.wait(min(2.0 ** (attempt - 1), _LONGEST_PAUSE_S))

    def _work(self, received: Sequence[MessageTypeDef]) -> None:
        if not received:
            return
        self.busy = True
        if self._over():
            self._custody.give_back([message["ReceiptHandle"] for message in received])
            return
        taken = [
            (message, self._custody.hold(message["MessageId"], message["ReceiptHandle"]))
            for message in received
        ]
        later = [
            (held, delay)
            for message, held in taken
            if (delay := self._clerk.accept(Message.of(message, self._source.url), held, self._lobby))
        ]
        if later:
            self._custody.put_off(later)
        self.busy = False


def region_of(url: str) -> str:
    """Region in the URL of a queue, `https://sqs.REGION.amazonaws.com/…`; empty when there is none."""
    match (urlsplit(url).hostname or "").split("."):
        case ["sqs", region, "amazonaws", *_] | ["sqs-fips", region, "amazonaws", *_]:
            return region
        case [region, "queue", "amazonaws", *_]:
            return region
        case _:
            return ""
