"""The HTTP endpoint as a source: Firehose delivers to `/firehose`, SNS to `/sns`."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from typing import TYPE_CHECKING, Final

from aiohttp import web

from connectors.errors import SettingsError, SourceError
from connectors.sources.firehose_http import FirehoseEndpoint
from connectors.sources.http_handover import Handover, answer
from connectors.sources.sns_certificates import SnsHosts
from connectors.sources.sns_http import SnsEndpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from connectors.bridge import Entrance
    from connectors.inbound.mailroom import Mailroom
    from connectors.settings import Http
    from pipelines.intake.intake import Intake

_TICK_S: Final = 0.1
_DRAIN_S: Final = 5.0
"""How long a stopping endpoint lets requests in work be answered; then they get a 503 and come again."""
_CLOSE_S: Final = 2.0
"""How long it then waits for those answers to be sent."""
_PORTS: Final = 65_536


class HttpSource:
    """Serves until stopped. A request is answered 200 once what it brought is safe, else 4xx or 5xx."""

    def __init__(
        self,
        settings: Http,
        new_intake: Callable[[], Intake],
        mailroom: Mailroom,
        *,
        firehose: FirehoseEndpoint | None = None,
        sns: SnsEndpoint | None = None,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.name = f"http {settings.bind}"
        self._host, self._port = parse_bind(settings.bind)
        self._tls = _tls(settings)
        self._firehose = firehose or FirehoseEndpoint(settings.firehose_access_key, clock_ms)
        self._sns = sns or SnsEndpoint(
            settings.sns_topics, SnsHosts(settings.sns_certificate_hosts), clock_ms
        )
        self._new_intake = new_intake
        self._mailroom = mailroom
        self._bound = threading.Event()
        self._address = ""

    def address(self, timeout: float) -> str:
        """`host:port` it listens on, as soon as it does; empty if it does not within `timeout` seconds."""
        self._bound.wait(timeout)
        return self._address

    def run(self, bridge: Entrance, stop: threading.Event) -> None:
        """Serve until `stop` is set.

        Raises:
            SourceError: when the address cannot be listened on.
            UserError: when the bridge is broken.
        """
        asyncio.run(self._serve(bridge, stop))

    async def _serve(self, bridge: Entrance, stop: threading.Event) -> None:
        handover = Handover(bridge, self._new_intake, self._mailroom)
        runner = web.AppRunner(
            self._application(handover),
            access_log=None,
            handle_signals=False,
            # The endpoints inflate by themselves, within limits.
            auto_decompress=False,
            shutdown_timeout=_CLOSE_S,
        )
        await runner.setup()
        try:
            site = await self._listen(runner)
            while not stop.is_set():
                _check(bridge, handover)
                await asyncio.sleep(_TICK_S)
            await site.stop()
            await handover.idle(_DRAIN_S)
        finally:
            handover.close()
            await runner.cleanup()

    async def _listen(self, runner: web.AppRunner) -> web.TCPSite:
        site = web.TCPSite(runner, self._host or None, self._port, ssl_context=self._tls)
        try:
            await site.start()
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SourceError(
                f"cannot listen on {self._host}:{self._port} ({reason}): choose another bridge.http.bind"
            ) from error
        host, port = runner.addresses[0][:2]
        self._address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._bound.set()
        return site

    def _application(self, handover: Handover) -> web.Application:
        async def firehose(request: web.Request) -> web.Response:
            return await self._firehose.handle(request, handover)

        async def sns(request: web.Request) -> web.Response:
            return await self._sns.handle(request, handover)

        async def health(_: web.Request) -> web.Response:
            return answer(200, {"status": "ok"})

        application = web.Application()
        application.router.add_post("/firehose", firehose)
        application.router.add_post("/sns", sns)
        application.router.add_get("/healthz", health)
        return application


def parse_bind(bind: str) -> tuple[str, int]:
    """Host and port of `host:port`, `[::1]:port` or `:port`; port 0 lets the system choose.

    Raises:
        SettingsError: when it is none of these.
    """
    host, colon, port = bind.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) >= _PORTS:
        raise SettingsError(f'bridge.http.bind: "{bind}" is not host:port, such as "0.0.0.0:8080"')
    if ":" in host and not bracketed:
        raise SettingsError(f'bridge.http.bind: write "[{host}]:{port}" for an IPv6 address')
    return host.removeprefix("[").removesuffix("]"), int(port)


def _check(bridge: Entrance, handover: Handover) -> None:
    if handover.failure is not None:
        raise handover.failure
    bridge.check()


def _tls(settings: Http) -> ssl.SSLContext | None:
    if not settings.tls_certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        raise SettingsError(
            f"bridge.http.tls_certificate {settings.tls_certificate} and tls_key {settings.tls_key} "
            f"cannot be used: {error}"
        ) from None
    return context
