"""A bridge whose acks the test holds, and a key that signs as SNS does."""

from __future__ import annotations

import base64
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from connectors.bridge import Bridge, Policy
from connectors.errors import BrokerError
from connectors.inbound.mailroom import Mailroom
from connectors.inbound.settings import Inbound, policy_of
from connectors.sources.sns_signature import string_to_sign
from pipelines.intake.intake import Intake
from pipelines.intake.policy import NormalisePolicy
from schemas import topics
from schemas.blocks import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class HeldKafka:
    """A producer that stores blocks at once, and acks them only while it is open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Callable[[], None]] = []
        self._stored: list[tuple[str, bytes]] = []
        self._open = True
        self._broken = False

    def send(self, topic: str, _: int, block: bytes, sent: Any, failed: Any) -> None:
        if self._broken:
            raise BrokerError("Kafka is gone")
        with self._lock:
            self._stored.append((topic, block))
            offset = len(self._stored)
            if not self._open:
                self._waiting.append(lambda: sent(offset))
                return
        sent(offset)

    def close(self) -> None:
        self.hold()

    def hold(self) -> None:
        with self._lock:
            self._open = False

    def ack(self) -> None:
        with self._lock:
            self._open = True
            waiting, self._waiting = self._waiting, []
        for sent in waiting:
            sent()

    def break_down(self) -> None:
        self._broken = True

    def rows(self, topic: str) -> list[dict[str, Any]]:
        with self._lock:
            return [row for at, block in self._stored if at == topic for row in decode(block)]

    @property
    def events(self) -> list[dict[str, Any]]:
        return self.rows(topics.EVENTS)

    @property
    def dead_letters(self) -> list[dict[str, Any]]:
        return self.rows(topics.DEAD_LETTERS)


class Running:
    """A source in a thread of its own, until the test ends."""

    def __init__(self, source: Any, bridge: Bridge) -> None:
        self.source = source
        self.error: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(bridge,))
        self._thread.start()

    def _run(self, bridge: Bridge) -> None:
        try:
            self.source.run(bridge, self._stop)
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    def stop(self) -> BaseException | None:
        self._stop.set()
        return self.ended()

    def ended(self, timeout: float = 20) -> BaseException | None:
        self._thread.join(timeout)
        assert not self._thread.is_alive(), "the source does not end"
        return self.error


@pytest.fixture
def kafka() -> HeldKafka:
    return HeldKafka()


@pytest.fixture
def bridge(kafka: HeldKafka) -> Iterator[Bridge]:
    made = Bridge(Policy(partitions=2, linger_s=0.005), kafka)
    yield made
    kafka.ack()
    made.close()


@pytest.fixture
def new_intake() -> Callable[[], Intake]:
    return lambda: Intake(NormalisePolicy(pii="plain"))


@pytest.fixture
def mailroom() -> Mailroom:
    return Mailroom(policy_of(Inbound(), NormalisePolicy(pii="plain")))


@pytest.fixture
def running(bridge: Bridge, kafka: HeldKafka) -> Iterator[Callable[[Any], Running]]:
    started: list[Running] = []

    def start(source: Any) -> Running:
        started.append(Running(source, bridge))
        return started[-1]

    yield start
    kafka.ack()
    for one in started:
        one.stop()


@pytest.fixture
def until() -> Callable[..., Any]:
    def poll(condition: Callable[[], Any], timeout: float = 15) -> Any:
        deadline = time.monotonic() + timeout
        while not (result := condition()):
            assert time.monotonic() < deadline, "it did not come true in time"
            time.sleep(0.01)
        return result

    return poll


@pytest.fixture
def ses_event() -> Callable[[str], str]:
    """JSON of a Delivery event, as SES publishes it."""

    def make(message_id: str) -> str:
        event = {
            "eventType": "Delivery",
            "mail": {
                "timestamp": "2026-11-01T10:00:00.000Z",
                "messageId": message_id,
                "source": "news@shop.example",
                "sendingAccountId": "123456789012",
                "destination": ["reader@mail.example"],
                "tags": {"ses:configuration-set": ["main"], "ses:from-domain": ["shop.example"]},
            },
            "delivery": {
                "timestamp": "2026-11-01T10:00:01.500Z",
                "processingTimeMillis": 1500,
                "recipients": ["reader@mail.example"],
                "smtpResponse": "250 ok",
                "reportingMTA": "a1.smtp-out.amazonses.com",
            },
        }
        return json.dumps(event) + "\n"

    return make


class Signer:
    """A key with a self-signed certificate for 127.0.0.1, that signs as SNS does."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def certificate(self, *, starts_in: int = -1, ends_in: int = 1) -> x509.Certificate:
        """Days from now."""
        from ipaddress import ip_address

        now = datetime.now(UTC)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.test")])
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(days=starts_in))
            .not_valid_after(now + timedelta(days=ends_in))
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
            )
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=True,
                    key_cert_sign=True,
                    crl_sign=True,
                    content_commitment=False,
                    key_encipherment=True,
                    data_encipherment=False,
                    key_agreement=False,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
            .sign(self.key, SHA256())
        )

    def sign(self, message: dict[str, Any], version: str = "1") -> dict[str, Any]:
        digest = SHA1() if version == "1" else SHA256()
        signature = self.key.sign(string_to_sign(message), padding.PKCS1v15(), digest)
        return message | {"SignatureVersion": version, "Signature": base64.b64encode(signature).decode()}

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.fixture(scope="session")
def signer() -> Signer:
    return Signer()


@pytest.fixture
def notification() -> Callable[..., dict[str, Any]]:
    def make(message: str, **more: Any) -> dict[str, Any]:
        return {
            "Type": "Notification",
            "MessageId": "7c0e3d3c-0000-4000-8000-000000000001",
            "TopicArn": "arn:aws:sns:us-east-1:123456789012:ses",
            "Message": message,
            "Timestamp": "2026-11-01T10:00:02.000Z",
        } | more

    return make
