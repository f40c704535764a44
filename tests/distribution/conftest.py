"""A world for forwarders: one partition of rows, a mailbox, a fallback; SES v2 and mails on this machine."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from contextlib import closing
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from connectors.attachments.store import Stored, StoreError, StoreRefuses
from connectors.distribution.drafts import Drafter
from connectors.distribution.forwarder import Forwarder, Patience
from connectors.distribution.ledger import Ledger
from connectors.distribution.ports import Later
from connectors.distribution.settings import Distribution
from pipelines.intake.providers import Directory
from pipelines.mail.addresses import Pseudonyms
from pipelines.mail.policy import Limits, MailPolicy
from schemas.mail import InboundMail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pipelines.mail.outcome import Content
    from schemas.forwards import MailForward

NOW = 1_795_000_000.0
SETTINGS = Distribution(
    enabled=True,
    recipients=("captures@iot.example",),
    sender="Captures <captures@us.example>",
    allowed_domains=("a.example",),
    fallback_topic="arn:aws:sns:eu-west-1:111122223333:undistributed",
)
PHOTO = b"\xff\xd8 a photo"


def raw_mail(text: str = "Motion.\n[[to: ann@a.example]]\n", *, photo: bytes = PHOTO, **fields: str) -> bytes:
    """A device's mail, with a photo."""
    mail = EmailMessage()
    headers = {"From": "cam7@devices.example", "To": "captures@iot.example", "Subject": "Capture"}
    for name, value in (headers | fields).items():
        mail[name.replace("_", "-")] = value
    mail.set_content(text)
    if photo:
        mail.add_attachment(photo, "image", "jpeg", filename="hall.jpg")
    return mail.as_bytes()


def mail_row(mail_id: bytes = b"\1" * 16, **changes: Any) -> InboundMail:
    """As the bridge writes it."""
    verdicts = {
        "spf": "PASS",
        "dkim": "PASS",
        "dmarc": "PASS",
        "spam": "PASS",
        "virus": "PASS",
        "dmarc_policy": "",
    }
    row = InboundMail(
        mail_id=mail_id,
        received_time=round(NOW * 1000) - 5000,
        kind="other",
        kind_reason="",
        message_id="",
        ses_id="o3vrnil0e2ic28trm7dfhrc2v0clambda4nbp0g1",
        account="",
        region="eu-west-1",
        tenant="",
        from_address="",
        from_domain="devices.example",
        envelope_from="",
        envelope_domain="devices.example",
        recipients=[{"address": "captures@iot.example", "domain": "iot.example"}],
        subject="Capture",
        base_subject="capture",
        date=0,
        in_reply_to=[],
        references=[],
        conversations=[],
        verdicts=verdicts,  # type: ignore[typeddict-item]
        authentication_results=[],
        relay="",
        originator_org="",
        attachments=[],
        feedback=[],
        unsubscribes=[],
        automatic=False,
        size=100,
        parts=2,
        object=f"s3://mails/{mail_id.hex()}",
        defects=[],
        path="s3",
        arrival_id=0,
    )
    row.update(changes)  # type: ignore[typeddict-item]
    return row


def mail_policy() -> MailPolicy:
    """How addresses are kept: plainly, to be seen in tests."""
    return MailPolicy(directory=Directory(), pii="plain")


class Crash(BaseException):
    """The process is killed."""


class MemoryStore:
    """Contents in memory."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.down = False

    def put(self, content: Content) -> str:
        if self.down:
            raise StoreError("the store is down: start it")
        self.contents[content.sha256] = content.content
        return f"memory://{content.sha256}"

    def find(self, sha256: str) -> Stored | None:
        found = self.contents.get(sha256)
        return Stored(f"memory://{sha256}", len(found), 0) if found is not None else None

    def read(self, sha256: str) -> Iterator[bytes]:
        if sha256 not in self.contents:
            raise StoreRefuses("there is none")
        yield self.contents[sha256]

    def link(self, sha256: str, expires_s: int, name: str = "") -> str:
        return f"https://links.example/{sha256}?for={expires_s}&name={name}"

    def link_holds_s(self, expires_s: int) -> int:
        return expires_s

    def warnings(self) -> list[str]:
        return []

    def close(self) -> None:
        pass


class World:
    """What outlives forwarders. `moment` is called before and after each effect, with its name."""

    raw = staticmethod(raw_mail)
    policy = staticmethod(mail_policy)
    settings = SETTINGS
    photo = PHOTO
    Crash = Crash

    def __init__(self) -> None:
        self.now = NOW
        self.log: list[MailForward] = []
        self.mailbox: list[tuple[bytes, tuple[str, ...]]] = []
        self.told: list[Mapping[str, Any]] = []
        self.mails: dict[str, bytes] = {}
        self.store = MemoryStore()
        self.answers: list[Exception | tuple[Exception, str]] = []
        """Of SES, to the next requests; then it takes all. With a word: it raises, though it has taken the mail."""
        self.fallback_answers: list[Exception] = []
        self.moment: Callable[[str], None] = lambda _: None
        self.lives = 0

    def add(self, raw: bytes, **changes: Any) -> InboundMail:
        row = mail_row(hashlib.blake2b(str(len(self.mails)).encode(), digest_size=16).digest(), **changes)
        self.mails[row["object"]] = raw
        return row

    def life(self, settings: Distribution = SETTINGS, patience: Patience | None = None) -> Life:
        """A forwarder that knows the rows there are."""
        self.lives += 1
        return Life(self, settings, patience or Patience())

    def outcomes(self) -> list[str]:
        return [row["outcome"] for row in self.log]

    def last(self) -> MailForward:
        return self.log[-1]


class Life:
    """A forwarder, and its ports."""

    def __init__(self, world: World, settings: Distribution, patience: Patience) -> None:
        self.world = world
        self.ledger = Ledger()
        self._position = 0
        self.poll()
        self.forwarder = Forwarder(
            self.ledger,
            self,
            Drafter(settings, Limits(), self, world.store),
            sender=self,
            fallback=self,
            pseudonyms=Pseudonyms(mail_policy()),
            life=f"life{world.lives}",
            clock=lambda: world.now,
            monotonic=lambda: world.now,
            patience=patience,
            resend_unclear=settings.resend_unclear,
        )

    def record(self, row: MailForward) -> None:
        self.world.moment("before the row " + row["outcome"])
        self.world.log.append(row)
        self.world.moment("after the row " + row["outcome"])
        self.poll()

    def poll(self) -> None:
        while self._position < len(self.world.log):
            self.ledger.take(self.world.log[self._position], round(self.world.now * 1000))
            self._position += 1

    def read(self, uri: str) -> bytes:
        if uri not in self.world.mails:
            raise Later("S3 is away: wait")
        return self.world.mails[uri]

    def send(self, raw: bytes, recipients: Sequence[str]) -> str:
        self.world.moment("before SES")
        answer = self.world.answers.pop(0) if self.world.answers else None
        if isinstance(answer, Exception):
            raise answer
        self.world.mailbox.append((raw, tuple(recipients)))
        self.world.moment("after SES")
        if answer:
            raise answer[0]
        return f"ses-{len(self.world.mailbox)}"

    def tell(self, mail_id: bytes, message: Mapping[str, Any]) -> str:
        self.world.moment("before SNS")
        if self.world.fallback_answers:
            raise self.world.fallback_answers.pop(0)
        self.world.told.append(message)
        self.world.moment("after SNS")
        return f"sns-{len(self.world.told)}-{mail_id.hex()[:4]}"

    def run(self, *mails: InboundMail, seconds: float = 100_000, step_s: float = 10.0) -> None:
        """Take mails, and step while time passes, until all are settled."""
        for mail in mails:
            self.forwarder.take(mail)
        until = self.world.now + seconds
        while self.forwarder.waiting and self.world.now < until:
            self.poll()
            self.forwarder.step()
            if self.forwarder.waiting:
                self.world.now += step_s


@pytest.fixture
def world() -> World:
    return World()


class Ses:
    """SES v2's SendEmail, strictly; `answers`: a status, `hang`, or `cut`, and whether it takes the mail."""

    def __init__(self) -> None:
        self.mailbox: list[tuple[list[str], bytes]] = []
        self.answers: list[tuple[int | str, bool]] = []
        self.asked = 0
        self.go_on = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self.go_on.set()
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()

    def take(self, body: Any) -> str:
        """Refuses what SES would refuse."""
        if set(body) - {"FromEmailAddress", "Destination", "Content"} or set(body["Content"]) != {"Raw"}:
            return "BadRequestException"
        raw = base64.b64decode(body["Content"]["Raw"]["Data"], validate=True)
        to = body["Destination"]["ToAddresses"]
        sender = message_from_bytes(raw, policy=default)["From"]
        if "captures@us.example" not in sender or not 1 <= len(to) <= 50:
            return "MessageRejected"
        self.mailbox.append((to, raw))
        return ""

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        ses = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                ses.asked += 1
                what, taken = ses.answers.pop(0) if ses.answers else (200, True)
                code = ses.take(body) if taken and self.path == "/v2/email/outbound-emails" else ""
                if what == "hang":
                    ses.go_on.wait(60)
                if what in {"hang", "cut"}:
                    self.send_response(200)
                    self.send_header("Content-Length", "100")
                    self.end_headers()
                    self.wfile.write(b'{"Mess')
                    self.close_connection = True
                    return
                self.reply(400 if code else int(what), code)

            def reply(self, status: int, code: str) -> None:
                names = {
                    400: "BadRequestException",
                    403: "AccessDeniedException",
                    404: "NotFoundException",
                    429: "TooManyRequestsException",
                    500: "InternalServiceErrorException",
                    503: "ServiceUnavailable",
                }
                told = {"MessageId": f"m{len(ses.mailbox)}"} if status == 200 else {"message": "no"}
                data = json.dumps(told).encode()
                self.send_response(status)
                if found := code or names.get(status):
                    self.send_header("x-amzn-ErrorType", found)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


@pytest.fixture
def ses() -> Iterator[Ses]:
    with closing(Ses()) as served:
        yield served
