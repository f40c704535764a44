"""What every channel that speaks HTTP makes of receivers that misbehave."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import logging
import ssl
import time
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from connectors.notify.channels import channel_of
from connectors.notify.page import NotDelivered

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.sockets
ROUTING_KEY = "0123456789abcdef0123456789abcdef"
SIGNING_KEY = "a signing secret of more than 24 bytes".replace(" ", "-")
TOKEN = "xoxb-secret"
BASIC = base64.b64encode(b"prometheus:very-secret").decode()
SECRETS = (ROUTING_KEY, SIGNING_KEY, TOKEN, "T000/B000/very-secret", "prometheus:very-secret", BASIC)


every_kind = pytest.mark.parametrize(
    "sending", ["alertmanager", "pagerduty", "slack", "slack bot", "webhook"], indirect=True
)


@pytest.fixture
def sending(request: Any, receiver: Any, make_place: Any, make_page: Any) -> Any:
    """Sends a page through a channel that gives a receiver a little time; its secrets are known above."""
    at = {
        "alertmanager": make_place("alertmanager", url=receiver.url, key="prometheus:very-secret"),
        "pagerduty": make_place("pagerduty", url=receiver.url, key=ROUTING_KEY),
        "slack": make_place("slack", url=f"{receiver.url}/services/T000/B000/very-secret"),
        "slack bot": make_place("slack", url=receiver.url, key=TOKEN, to=("C123",)),
        "webhook": make_place("webhook", url=receiver.url, key=SIGNING_KEY),
    }[getattr(request, "param", "webhook")]

    def send(timeout_s: float = 20.0) -> str:
        channel = channel_of(make_place(**{**vars(at), "timeout_s": timeout_s}))
        try:
            return channel.send(make_page())
        finally:
            channel.close()

    return send


@pytest.fixture
def refused(sending: Any, caplog: pytest.LogCaptureFixture) -> Any:
    """Sends; gives the error, in which no secret may be found, however it is shown."""

    def send(timeout_s: float = 20.0) -> NotDelivered:
        with caplog.at_level(logging.DEBUG), pytest.raises(NotDelivered) as caught:
            sending(timeout_s)
        error = caught.value
        shown = "".join(traceback.format_exception(error)) + repr(error) + error.reason + caplog.text
        assert [secret for secret in SECRETS if secret in shown] == []
        return error

    return send


@every_kind
def test_a_refusal_of_every_kind_is_for_good(refused: Any, receiver: Any) -> None:
    receiver.fails(401, body=b"who?")
    assert refused().for_good
    receiver.fails(503, {"Retry-After": "7"})
    assert refused().retry_after_s == 7


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408, 425, 429])
def test_what_may_pass_is_worth_another_try(refused: Any, receiver: Any, status: int) -> None:
    receiver.fails(status)
    error = refused()
    assert (error.for_good, error.retry_after_s) == (False, None)
    assert f"HTTP {status}" in error.reason


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 413])
def test_a_refusal_is_for_good(refused: Any, receiver: Any, status: int) -> None:
    receiver.fails(status, body=b"no\nsuch\x00 thing")
    error = refused()
    assert error.for_good
    assert error.reason.endswith(": no such thing")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "17"}, 17.0),
        ({"Retry-After": "0"}, 0.0),
        # The receiver's clock is years behind ours: its two times make the distance.
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:40 GMT", "Date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 40.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:40 GMT", "Date": "Wed, 21 Oct 2015 08:00:00 GMT"}, 0.0),
        ({"Retry-After": "999999999"}, 3600.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
    ],
)
def test_retry_after_is_heeded(refused: Any, receiver: Any, headers: dict[str, str], seconds: float) -> None:
    def answer(handler: Any) -> None:
        handler.send_response_only(429)  # without a Date of today
        for name, text in {**headers, "Content-Length": "0"}.items():
            handler.send_header(name, text)
        handler.end_headers()

    receiver.faults.append(answer)
    assert refused().retry_after_s == seconds


@every_kind
def test_a_redirect_is_not_followed(refused: Any, receiver: Any, new_receiver: Any) -> None:
    elsewhere = new_receiver()
    try:
        for status in (301, 302, 307, 308):
            receiver.fails(status, {"Location": elsewhere.url})
            assert refused().for_good
        assert elsewhere.requests == []
    finally:
        elsewhere.close()


def test_silence_ends_at_the_deadline(refused: Any, receiver: Any) -> None:
    receiver.hangs()
    error = refused(1.5)
    assert (error.for_good, error.retry_after_s, error.unknown) == (False, None, True)
    assert "within 1.5 s" in error.reason


@pytest.mark.parametrize(
    "head",
    [b"", b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n"],
    ids=["before the status", "in the headers", "in the body"],
)
def test_an_answer_that_drips_gets_no_more_time(refused: Any, receiver: Any, head: bytes) -> None:
    receiver.drips(head)
    started = time.monotonic()
    error = refused(0.4)
    assert not error.for_good
    # 60,000 drips would take the better part of an hour.
    assert time.monotonic() - started < 30


def test_an_endless_answer_is_read_no_further_than_it_matters(
    sending: Any, refused: Any, receiver: Any
) -> None:
    receiver.floods(500)
    error = refused()
    assert not error.for_good
    assert len(error.reason) < 400


@pytest.mark.parametrize(
    "after",
    [b"", b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nok"],
    ids=["at once", "in the status", "in the body"],
)
@every_kind
def test_nobody_knows_when_it_hangs_up(refused: Any, receiver: Any, after: bytes) -> None:
    receiver.hangs_up(after)
    error = refused()
    assert (error.for_good, error.retry_after_s, error.unknown) == (False, None, True)
    assert len(receiver.requests) == 1


def test_nobody_listens(refused: Any, receiver: Any) -> None:
    receiver.close()
    error = refused()
    assert (error.for_good, error.unknown) == (False, False)
    assert "Connection refused" in error.reason or "Connect call failed" in error.reason


@every_kind
def test_what_a_receiver_repeats_is_not_shown(refused: Any, receiver: Any) -> None:
    def echo(handler: Any) -> None:
        request = receiver.requests[-1]
        sent = [request.path, request.headers.get("authorization", ""), request.body.decode()[:100]]
        handler.answer((403, {}, f"bad credentials: {' '.join(sent)}".encode()))

    receiver.faults.append(echo)
    assert "bad credentials" in refused().reason


def test_a_certificate_that_nobody_signed_is_refused(
    new_receiver: Any, make_place: Any, make_page: Any, tmp_path: Path
) -> None:
    receiver = new_receiver(_self_signed(tmp_path))
    try:
        channel = channel_of(make_place("pagerduty", url=receiver.url, key=ROUTING_KEY))
        with pytest.raises(NotDelivered, match="certificate") as caught:
            channel.send(make_page())
        assert (caught.value.for_good, caught.value.unknown) == (False, False)
        assert receiver.requests == []
    finally:
        receiver.close()


def _self_signed(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    today = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context
