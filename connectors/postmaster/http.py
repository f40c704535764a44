"""HTTP as google-auth wants it, by the standard library (which heeds HTTPS_PROXY), and how long to wait for Google."""

from __future__ import annotations

import urllib.error
import urllib.request
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Final, cast

from google.auth import exceptions, transport

if TYPE_CHECKING:
    from collections.abc import Mapping
    from email.message import Message

TIMEOUT_S: Final = 30.0
_LONGEST: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whatever the status."""

    status: int
    headers: Message
    data: bytes


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Not followed: the token would go along, wherever that is."""


class Http(transport.Request):
    """Sends a request. Never repeats one."""

    def __init__(self) -> None:
        self._opener = urllib.request.build_opener(_NoRedirects)

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_: Any,
    ) -> Answer:
        """Send it.

        Raises:
            google.auth.exceptions.TransportError: no answer came, or not all of it.
        """
        request = urllib.request.Request(url, body, dict(headers or {}), method=method)  # noqa: S310 - checked
        try:
            with self._opener.open(request, timeout=timeout or TIMEOUT_S) as response:
                return Answer(response.status, response.headers, response.read(_LONGEST))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, _read(error))
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise transport_error(str(reason) or type(reason).__name__) from error


def transport_error(reason: str) -> exceptions.TransportError:
    """That there is no answer, as google-auth says it."""
    kind: Any = exceptions.TransportError  # whose constructor is not typed
    return cast("exceptions.TransportError", kind(reason))


@dataclass(frozen=True, slots=True)
class Patience:
    """How a request is tried again when Google is busy: waits that double, or as long as Google says."""

    tries: int = 5
    first_s: float = 1.0
    longest_s: float = 120.0
    """When Google wants a longer wait than this, there is none: it is left to the next fetch."""

    def wait_s(self, tried: int, answer: Answer | None) -> float | None:
        """Seconds before the next try; None when there is to be none.

        Args:
            tried: how often so far.
            answer: to the last try, if there was one.
        """
        wanted = retry_after(answer) if answer else None
        if tried >= self.tries or (wanted is not None and wanted > self.longest_s):
            return None
        return float(min(self.longest_s, self.first_s * 2 ** (tried - 1))) if wanted is None else wanted


def retry_after(answer: Answer) -> float | None:
    """Seconds that an answer asks to wait (RFC 9110, section 10.2.3); None when it does not say."""
    text = (answer.headers.get("Retry-After") or "").strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        # A date is told by the server's clock, so its distance is, too.
        until, sent = (parsedate_to_datetime(each) for each in (text, answer.headers.get("Date") or ""))
        return max(0.0, (until - sent).total_seconds())
    except (TypeError, ValueError):
        return None


def _read(error: urllib.error.HTTPError) -> bytes:
    try:
        return error.read(_LONGEST)
    except (OSError, HTTPException):
        return b""
