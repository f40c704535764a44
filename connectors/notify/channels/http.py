"""HTTP as receivers of alarms need it: one try, a deadline over all of it, and what an answer means."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

import aiohttp

from connectors.notify.page import NotDelivered

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

CONNECT_S: Final = 5.0
LONGEST_WAIT_S: Final = 3600.0
"""No receiver makes a route wait longer than this between two tries."""
_LONGEST: Final = 64 * 1024
"""Bytes of an answer that are read; no receiver of ours has more to say."""
_EXCERPT: Final = 200
_AGAIN: Final = frozenset({408, 425, 429})
"""Of the 4xx those that may pass (RFC 9110, section 15.5.9; RFC 8470; RFC 6585)."""
_PERHAPS: Final = frozenset({408, 500, 502, 504})
"""Told by one who may have passed it on, or have failed after it was done."""
_AGENT: Final = "ses-streams"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whatever the status."""

    status: int
    headers: Mapping[str, str]
    """Case does not matter."""
    data: bytes
    """The beginning of it, where it is long."""


def post(url: str, body: bytes, headers: Mapping[str, str], *, to: str, timeout_s: float) -> Answer:
    """Send a request once; follow no redirect, for what is sent is meant for one place only.

    Heeds `HTTPS_PROXY`, `NO_PROXY` and `SSL_CERT_FILE`. Certificates are verified.

    Args:
        url: where; may be a secret, so no error shows it.
        body: JSON.
        headers: besides Content-Type.
        to: the receiver in a person's words.
        timeout_s: for all of it: a receiver that drips its answer gets no more time than one that is silent.

    Raises:
        NotDelivered: no answer came, or not all of it: nobody knows whether it was taken.
    """
    try:
        return asyncio.run(_post(url, body, headers, timeout_s))
    except aiohttp.ConnectionTimeoutError:
        reason, unknown = f"{to} cannot be reached within {min(CONNECT_S, timeout_s):g} s", False
    except TimeoutError:
        reason, unknown = f"{to} did not answer within {timeout_s:g} s", True
    except aiohttp.ClientSSLError:
        reason, unknown = f"{to} has no certificate that is trusted here", False
    except aiohttp.ClientConnectorError as error:
        reason, unknown = f"{to} cannot be reached ({_cause(error)})", False
    except aiohttp.ClientConnectionError as error:
        reason, unknown = f"{to} hung up ({_cause(error)})", True
    except (aiohttp.ClientError, OSError, ValueError) as error:
        reason, unknown = f"{to} gave no whole answer ({type(error).__name__})", True
    # Without the cause: the texts of these errors contain URLs.
    raise NotDelivered(reason, unknown=unknown)


async def _post(url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> Answer:
    limits = aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(CONNECT_S, timeout_s))
    # What is compressed could be longer than it looks.
    sent = {
        "Content-Type": "application/json",
        "User-Agent": _AGENT,
        "Accept-Encoding": "identity",
        **headers,
    }
    async with (
        aiohttp.ClientSession(timeout=limits, trust_env=True, auto_decompress=False) as session,
        session.post(url, data=body, headers=sent, allow_redirects=False) as response,
    ):
        data = b""
        while len(data) < _LONGEST and (chunk := await response.content.read(_LONGEST - len(data))):
            data += chunk
        return Answer(response.status, response.headers, data)


def _cause(error: BaseException) -> str:
    return getattr(getattr(error, "os_error", error), "strerror", None) or type(error).__name__


def taken(answer: Answer, to: str, now: datetime, secrets: Sequence[str]) -> None:
    """Check that a request was taken.

    Args:
        answer: to it.
        to: the receiver in a person's words.
        now: for a Retry-After that is a date, where the answer has no date itself.
        secrets: that the receiver may repeat, and nobody shall read.

    Raises:
        NotDelivered: it was not. A status that says it never will be is for good.
    """
    status = answer.status
    if 200 <= status < 300:  # noqa: PLR2004 - RFC 9110, section 15.3
        return
    if 300 <= status < 400:  # noqa: PLR2004 - section 15.4
        raise NotDelivered(
            f"{to} says that it is elsewhere (HTTP {status}): set the route's url to that place",
            for_good=True,
        )
    text = excerpt(answer.data, secrets)
    raise NotDelivered(
        f"{to} answers HTTP {status}{': ' + text if text else ''}",
        retry_after_s=retry_after(answer.headers, now),
        for_good=400 <= status < 500 and status not in _AGAIN,  # noqa: PLR2004 - section 15.5
        unknown=status in _PERHAPS,
    )


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds an answer asks to wait, by number or by date (RFC 9110, section 10.2.3); None: it does not say."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdecimal():
        return min(float(text), LONGEST_WAIT_S)
    try:
        until = parsedate_to_datetime(text)
        # A date is told by the receiver's clock, so its distance is, too.
        sent = parsedate_to_datetime(headers["Date"]) if "Date" in headers else now
        return min(max(0.0, (until - sent).total_seconds()), LONGEST_WAIT_S)
    except (TypeError, ValueError):
        return None


def excerpt(data: bytes, secrets: Sequence[str]) -> str:
    """The beginning of an answer in one line, without secrets."""
    text = data.decode("utf-8", "replace")
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return " ".join(re.sub(r"[\x00-\x1f\x7f]+", " ", text).split())[:_EXCERPT]
