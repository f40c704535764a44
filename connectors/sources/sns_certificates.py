"""Fetches from SNS's own hosts: signing certificates, kept while valid, and subscription confirmations."""

from __future__ import annotations

import ssl
from collections import OrderedDict
from datetime import UTC, datetime
from http.client import HTTPException
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any, Final
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, HTTPSHandler, build_opener

from cryptography.x509 import load_pem_x509_certificate

from connectors.sources.sns_signature import (
    BadSignature,
    certificate_url,
    is_certificate_url,
    is_sns_url,
    verify,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from cryptography.x509 import Certificate

_KEPT: Final = 16
"""Certificates in the cache; SNS uses one a region at a time."""
_SIZE_LIMIT: Final = 64 * 1024
_SOCKET_TIMEOUT_S: Final = 5.0
_TOTAL_TIMEOUT_S: Final = 15.0
"""A host that drips bytes would keep the socket's own timeout from ever firing."""


class SnsUnavailable(Exception):  # noqa: N818 - named by what it says
    """SNS's host did not give what was asked of it now; it may later."""


class SnsHosts:
    """Speaks to SNS's hosts, and to no other, however a message words its URLs. Thread-safe."""

    def __init__(
        self, hosts: Collection[str] = (), now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._hosts = frozenset(hosts)
        self._now = now
        self._certificates: OrderedDict[str, Certificate] = OrderedDict()
        self._lock = Lock()
        self._opener = build_opener(HTTPSHandler(context=ssl.create_default_context()), _NoRedirects())

    def check(self, message: Mapping[str, Any]) -> None:
        """Verify an SNS envelope's signature.

        Raises:
            BadSignature: when SNS did not sign it so.
            SnsUnavailable: when the certificate cannot be had now.
        """
        url = certificate_url(message)
        if not is_certificate_url(url, self._hosts):
            raise BadSignature("the SigningCertURL is not SNS's")
        verify(message, self._certificate(url), self._now())

    def confirm(self, subscribe_url: str) -> None:
        """Confirm a subscription by visiting its SubscribeURL.

        Raises:
            BadSignature: when the URL is not SNS's.
            SnsUnavailable: when SNS does not confirm.
        """
        if not is_sns_url(subscribe_url, self._hosts):
            raise BadSignature("the SubscribeURL is not SNS's")
        self._get(subscribe_url)

    def _certificate(self, url: str) -> Certificate:
        with self._lock:
            if (kept := self._certificates.get(url)) is not None:
                self._certificates.move_to_end(url)
                return kept
            pem = self._get(url)
            try:
                certificate = load_pem_x509_certificate(pem)
            except ValueError:
                raise BadSignature("what is at the SigningCertURL is no certificate") from None
            self._certificates[url] = certificate
            if len(self._certificates) > _KEPT:
                self._certificates.popitem(last=False)
            return certificate

    def _get(self, url: str) -> bytes:
        # The query of a SubscribeURL holds its token, which belongs in no log.
        named, deadline = url.partition("?")[0], monotonic() + _TOTAL_TIMEOUT_S
        body = bytearray()
        try:
            with self._opener.open(url, timeout=_SOCKET_TIMEOUT_S) as response:
                while chunk := response.read1(16 * 1024):
                    body += chunk
                    if len(body) > _SIZE_LIMIT:
                        raise SnsUnavailable(f"{named} gives more than {_SIZE_LIMIT} bytes")
                    if monotonic() > deadline:
                        raise SnsUnavailable(f"{named} took longer than {_TOTAL_TIMEOUT_S:g} s")
                if response.length:
                    raise SnsUnavailable(f"{named} ended {response.length} bytes too early")
        except HTTPError as error:
            error.close()
            raise SnsUnavailable(f"{named} answers {error.code}") from None
        except (OSError, HTTPException) as error:
            raise SnsUnavailable(f"{named} cannot be fetched: {error}") from error
        return bytes(body)


class _NoRedirects(HTTPRedirectHandler):
    """A redirect would lead from a trusted host to any other."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow none: the 3xx stays an `HTTPError`."""
