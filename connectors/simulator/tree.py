"""A directory of files of every shape that `replay` reads, and what is true of them."""

from __future__ import annotations

import gzip
import re
from random import Random
from typing import IO, TYPE_CHECKING, Final

import msgspec

from connectors.simulator import broken, wire, world
from connectors.simulator.inbox import inbox
from connectors.simulator.payloads import iso

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from connectors.simulator.payloads import Event
    from connectors.simulator.replies import Mail
    from connectors.simulator.traffic import Traffic
    from connectors.simulator.truth import Truth

_OBJECT_EVENTS: Final = 20_000
"""In a Firehose object, about 25 MB."""
_SINGLE_FILES: Final = 150
"""Files of one message each, for each kind, at the most: they are for variety, not for volume."""
_REQUEST_EVENTS: Final = 100
_BROKEN_EVERY: Final = 400
_ANSWERED_EVENTS: Final = 20_000
"""Of the first events some messages are answered by mail: those of a million need not be kept in memory."""
_FROM: Final = re.compile(rb"^(>*From )", re.MULTILINE)


class Tree:
    """Writes the events of a traffic as files, some of them twice, and broken ones among them."""

    def __init__(self, root: Path, traffic: Traffic) -> None:
        self.truth: Truth = traffic.truth
        self._home = root
        # What is true of them stands beside the events, so that replaying them reads nothing else.
        self._root = root / "events"
        self._traffic = traffic
        self._rng = Random(traffic.truth.seed + 1)  # noqa: S311 - a simulation
        self._files = 0
        self._request: list[bytes] = []

    def write(self, progress: Callable[[int], None] = lambda _: None) -> Truth:
        """Write everything into `events`, `truth.json` beside it last.

        Args:
            progress: told the number of events written, now and then.

        Raises:
            OSError: when it cannot be written.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        self._controls()
        file: IO[bytes] | gzip.GzipFile | None = None
        last: Event | None = None
        answered: list[Event] = []
        for number, event in enumerate(self._traffic):
            last = event
            if number < _ANSWERED_EVENTS:
                answered.append(event)
            if number % _OBJECT_EVENTS == 0:
                self._close(file)
                file = self._object(event)
                progress(number)
            if file is not None:
                self._one(number, event, file)
        self._close(file)
        if last is not None:
            self._flush_request(last)
            self._cut_gzip(last)
        self._mails(inbox(answered, self.truth, self._traffic.now_ms))
        (self._home / "truth.json").write_bytes(
            msgspec.json.format(msgspec.json.encode(self.truth.as_json()))
        )
        return self.truth

    def _one(self, number: int, event: Event, file: IO[bytes] | gzip.GzipFile) -> None:
        line = wire.bare(event)
        # Every event is in a Firehose object, but for one in eight, which comes by another path alone.
        if number % 8 != 5 or not self._single(number, event):  # noqa: PLR2004
            file.write(line)
            self.truth.copies += 1
        if number % 13 == 0:
            file.write(line)
            self.truth.copies += 1
        if number % 9 == 0:
            self._request.append(line)
            self.truth.copies += 1
            if len(self._request) == _REQUEST_EVENTS:
                self._flush_request(event)
        if number % 11 == 0 and (text := wire.notification(event, self._rng)):
            self._extra("notifications", number, text)
        if number % _BROKEN_EVERY == 17:  # noqa: PLR2004
            kind = list(broken.KINDS)[number // _BROKEN_EVERY % len(broken.KINDS)]
            file.write(broken.KINDS[kind](event))
            self.truth.broken[kind] += 1

    def _single(self, number: int, event: Event) -> bool:
        """Write an event as the body of one queue message, in turn of each kind.

        False when there are enough.
        """
        kind, index = number // 8 % 3, number // 24
        if index >= _SINGLE_FILES:
            return False
        name, text = (
            ("sns", wire.sns(event, self._rng)),
            ("sns-raw", wire.bare(event)),
            ("eventbridge", wire.eventbridge(event, self._rng)),
        )[kind]
        self._extra(name, number, text)
        return True

    def _extra(self, folder: str, number: int, text: bytes) -> None:
        if folder == "notifications" and number >= _SINGLE_FILES * 100:
            return
        path = self._root / "queue" / folder / f"{number:08d}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
        self.truth.copies += 1

    def _object(self, event: Event) -> IO[bytes] | gzip.GzipFile:
        """A new Firehose object; every other one compressed."""
        self._files += 1
        path = self._root / wire.object_key("firehose/", "ses-events", event.arrival_ms, self._rng)
        path.parent.mkdir(parents=True, exist_ok=True)
        if self._files % 2:
            return gzip.open(path.with_name(path.name + ".gz"), "wb", compresslevel=3)
        return path.open("wb")

    def _close(self, file: IO[bytes] | gzip.GzipFile | None) -> None:
        if file is not None:
            file.close()

    def _flush_request(self, event: Event) -> None:
        """What Firehose posts to an HTTP endpoint, kept as a file.

        And the same records glued without line feeds.
        """
        if not self._request:
            return
        folder = self._root / "http"
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{event.arrival_ms}-{self._rng.getrandbits(32):08x}"
        (folder / f"{name}.json").write_bytes(
            wire.firehose_request(self._request, event.arrival_ms, self._rng)
        )
        (folder / f"{name}.glued").write_bytes(b"".join(line.rstrip(b"\n") for line in self._request))
        self.truth.copies += len(self._request)
        self._request = []

    def _mails(self, mails: Sequence[Mail]) -> None:
        """Some as files, some in a mailbox, some in both; a few in the notification of SES that brings them."""
        folder = self._root / "mail"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "inbox.mbox").open("wb") as mailbox:
            for number, mail in enumerate(mails):
                if number % 7 == 2:  # noqa: PLR2004 - so many of each, as below
                    text = wire.received(mail, "", "")
                    (folder / f"{number:05d}.json").write_bytes(wire.envelope(text, mail.time_ms, self._rng))
                    self.truth.mail_copies += 1
                    continue
                if number % 3:
                    (folder / f"{number:05d}.eml").write_bytes(mail.raw)
                    self.truth.mail_copies += 1
                if number % 3 < 2:  # noqa: PLR2004
                    mailbox.write(_in_mbox(mail))
                    self.truth.mail_copies += 1

    def _cut_gzip(self, event: Event) -> None:
        """A file whose upload broke off. It holds no whole record, so that the truth stays countable."""
        packed = gzip.compress(wire.bare(event))
        (self._root / "firehose" / "upload.gz").write_bytes(packed[:60])
        self.truth.broken[broken.TRUNCATED_GZIP] += 1

    def _controls(self) -> None:
        """Messages about the plumbing: neither events nor wrong."""
        folder = self._root / "queue" / "control"
        folder.mkdir(parents=True, exist_ok=True)
        time = iso(1_760_000_000_000)
        test = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": time, "Bucket": "ses-events"}
        (folder / "s3-test.json").write_bytes(msgspec.json.encode(test | {"RequestId": "1", "HostId": "2"}))
        validated = "Successfully validated SNS topic for Amazon SES event publishing."
        (folder / "topic-validated.json").write_bytes(wire.envelope(validated, 1_760_000_000_000, self._rng))
        subscribed = {
            "notificationType": "AmazonSnsSubscriptionSucceeded",
            "message": f"You have successfully subscribed your Amazon SNS topic '{wire.TOPIC}' to receive "
            f"'Bounce' notifications from Amazon SES for identity '{world.CAMPAIGNS[0].from_domain}'.",
        }
        (folder / "subscribed.json").write_bytes(msgspec.json.encode(subscribed))


def _in_mbox(mail: Mail) -> bytes:
    """As an mbox of the kind `mboxrd` has it."""
    text = _FROM.sub(rb">\1", mail.raw.replace(b"\r\n", b"\n"))
    return (
        b"From "
        + (mail.envelope_from or "MAILER-DAEMON").encode()
        + b" Mon Jan  1 00:00:00 2024\n"
        + text
        + b"\n"
    )
