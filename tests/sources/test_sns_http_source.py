"""The SNS HTTPS endpoint, beside a host that serves signing certificates over TLS."""

from __future__ import annotations

import json
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from connectors.settings import Http
from connectors.sources.http import HttpSource

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.sockets

TOPIC = "arn:aws:sns:us-east-1:123456789012:ses"


class CertificateHost:
    """What SNS's host is to us: serves certificates and takes confirmations, over TLS, and counts."""

    def __init__(self, files: dict[str, bytes], context: ssl.SSLContext) -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                body = files.get(self.path.split("?")[0])
                if self.path.startswith("/elsewhere"):
                    self.send_response(302)
                    self.send_header("Location", "/good.pem")
                else:
                    self.send_response(200 if body is not None else 404)
                missing = 100 * self.path.startswith("/short")
                self.send_header("Content-Length", str(len(body or b"") + missing))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.host = f"127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def certificate_host(
    signer: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[CertificateHost]:
    good = signer.certificate().public_bytes(Encoding.PEM)
    expired = signer.certificate(starts_in=-2, ends_in=-1).public_bytes(Encoding.PEM)
    (tmp_path / "certificate.pem").write_bytes(good)
    (tmp_path / "key.pem").write_bytes(signer.key_pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    files = {
        "/good.pem": good,
        "/expired.pem": expired,
        "/large.pem": b"x" * 100_000,
        "/none.pem": b"none",
        "/short.pem": good[:-100],
        "/": b"confirmed",
    }
    host = CertificateHost(files, context)
    yield host
    host.close()


@pytest.fixture
def sns(running: Any, new_intake: Any, mailroom: Any, certificate_host: CertificateHost) -> str:
    settings = Http(bind="127.0.0.1:0", sns_topics=(TOPIC,), sns_certificate_hosts=(certificate_host.host,))
    source = HttpSource(settings, new_intake, mailroom)
    running(source)
    return f"http://{source.address(5)}/sns"


async def tell(url: str, message: dict[str, Any]) -> tuple[int, Any]:
    headers = {"Content-Type": "text/plain; charset=UTF-8", "x-amz-sns-message-type": message["Type"]}
    return await post(url, json.dumps(message).encode(), headers)


async def post(url: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=headers) as response:
        return response.status, json.loads(await response.read())


@pytest.mark.parametrize("version", ["1", "2"])
async def test_a_signed_notification_is_taken_and_its_certificate_fetched_once(  # noqa: PLR0917 - fixtures
    sns: str,
    signer: Any,
    notification: Any,
    certificate_host: CertificateHost,
    kafka: Any,
    ses_event: Any,
    version: str,
) -> None:
    url = f"https://{certificate_host.host}/good.pem"
    message = signer.sign(notification(ses_event("m-1")), version) | {"SigningCertURL": url}
    for _ in range(2):
        assert await tell(sns, message) == (200, {})
    assert certificate_host.asked == ["/good.pem"]
    assert [event["message_id"] for event in kafka.events] == ["m-1", "m-1"]
    assert len({event["arrival_id"] for event in kafka.events}) == 1


async def test_another_topic_is_refused_before_anything_is_fetched(
    sns: str, signer: Any, notification: Any, certificate_host: CertificateHost, kafka: Any
) -> None:
    url = f"https://{certificate_host.host}/good.pem"
    message = signer.sign(notification("m", TopicArn=TOPIC + "2")) | {"SigningCertURL": url}
    assert (await tell(sns, message))[0] == 403
    assert not certificate_host.asked
    assert not kafka.dead_letters


@pytest.mark.parametrize(
    ("path", "change", "status"),
    [
        ("/good.pem", {"Message": "other"}, 403),
        ("/expired.pem", {}, 403),
        ("/none.pem", {}, 403),
        ("/absent.pem", {}, 503),
        ("/large.pem", {}, 503),
        ("/elsewhere.pem", {}, 503),
        ("/short.pem", {}, 503),
        ("/good.pem?x", {}, 403),
    ],
)
async def test_what_sns_did_not_sign_is_refused(  # noqa: PLR0917 - fixtures
    sns: str,
    signer: Any,
    notification: Any,
    certificate_host: CertificateHost,
    kafka: Any,
    path: str,
    change: dict[str, Any],
    status: int,
) -> None:
    message = signer.sign(notification("m")) | {"SigningCertURL": f"https://{certificate_host.host}{path}"}
    assert (await tell(sns, message | change))[0] == status
    assert not kafka.events
    assert not kafka.dead_letters


async def test_a_certificate_of_another_host_is_not_fetched(
    sns: str, signer: Any, notification: Any, certificate_host: CertificateHost
) -> None:
    other = certificate_host.host.replace("127.0.0.1", "localhost")
    message = signer.sign(notification("m")) | {"SigningCertURL": f"https://{other}/good.pem"}
    assert (await tell(sns, message))[0] == 403
    assert not certificate_host.asked


async def test_a_subscription_to_our_topic_is_confirmed(
    sns: str, signer: Any, notification: Any, certificate_host: CertificateHost
) -> None:
    host = certificate_host.host
    message = notification(
        "confirm", Type="SubscriptionConfirmation", Token="t", SubscribeURL=f"https://{host}/?Token=t"
    )
    signed = signer.sign(message) | {"SigningCertURL": f"https://{host}/good.pem"}
    assert (await tell(sns, signed))[0] == 200
    assert certificate_host.asked == ["/good.pem", "/?Token=t"]


async def test_a_subscription_is_confirmed_only_at_sns(
    sns: str, signer: Any, notification: Any, certificate_host: CertificateHost
) -> None:
    message = notification(
        "confirm", Type="SubscriptionConfirmation", Token="t", SubscribeURL="https://evil.example/?Token=t"
    )
    signed = signer.sign(message) | {"SigningCertURL": f"https://{certificate_host.host}/good.pem"}
    assert (await tell(sns, signed))[0] == 403
    assert certificate_host.asked == ["/good.pem"]


async def test_the_end_of_a_subscription_is_acknowledged(
    sns: str, signer: Any, notification: Any, certificate_host: CertificateHost, kafka: Any
) -> None:
    host = certificate_host.host
    message = notification("bye", Type="UnsubscribeConfirmation", Token="t", SubscribeURL=f"https://{host}/")
    signed = signer.sign(message) | {"SigningCertURL": f"https://{host}/good.pem"}
    assert (await tell(sns, signed))[0] == 200
    assert certificate_host.asked == ["/good.pem"]
    assert not kafka.dead_letters


@pytest.mark.parametrize("body", [b"", b"[]", b"x", b"{}", b'{"TopicArn":["a"]}', b"[" * 100_000])
async def test_what_is_no_sns_message_is_refused(sns: str, body: bytes) -> None:
    status, _ = await post(sns, body, {})
    assert status in {400, 403}
