"""A client of Gmail's Postmaster Tools API, version 2, for a Google service account.

    GET  v2/domains                           scope postmaster.domain
    POST v2/domains/DOMAIN/domainStats:query  scope postmaster.traffic.readonly
    GET  v2/domains/DOMAIN/complianceStatus   scope postmaster.traffic.readonly

The reference is at https://developers.google.com/workspace/gmail/postmaster/reference/rest/v2. `batchQuery` would
save requests, but refuses all domains when one of them is refused.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec
from google.auth import exceptions
from google.oauth2 import service_account

from connectors.errors import SettingsError, SourceError
from connectors.postmaster import wire
from connectors.postmaster.http import Answer, Http, Patience, transport_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from msgspec import Raw

    from connectors.postmaster.metrics import Metric
    from connectors.settings import Postmaster

TRAFFIC: Final = "https://www.googleapis.com/auth/postmaster.traffic.readonly"
DOMAINS: Final = "https://www.googleapis.com/auth/postmaster.domain"
"""Not read-only, but there is none narrower that may list domains: asked for only where domains must be listed."""

_OK: Final = 200
_UNAUTHORIZED: Final = 401
_BUSY: Final = frozenset({408, 429, 500, 502, 503, 504})
_MOST_PAGES: Final = 1000
_CONSOLE: Final = "https://console.cloud.google.com/apis/library/gmailpostmastertools.googleapis.com"
_Decoded = TypeVar("_Decoded")


class RefusedError(Exception):
    """Google does not answer one question; others it may."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        """Of HTTP; 200 when there was an answer that cannot be read."""


class Api:
    """The API, for one thread."""

    def __init__(
        self,
        settings: Postmaster,
        *,
        patience: Patience = Patience(),  # noqa: B008 - frozen
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        """Read the key file; nothing is sent yet.

        Args:
            settings: the key file is named there.
            patience: how often Google is asked again.
            pause: waits so many seconds.

        Raises:
            SettingsError: there is no key file, it is not a service account's, or the endpoint is no URL.
        """
        if urlsplit(settings.endpoint).scheme not in {"http", "https"}:
            raise SettingsError("postmaster.endpoint is not a URL: leave it out, for Google's own")
        self._endpoint = settings.endpoint.rstrip("/")
        self._scopes = (TRAFFIC,) if settings.domains else (TRAFFIC, DOMAINS)
        self._delegated = bool(settings.subject)
        self._credentials = _credentials(settings, self._scopes)
        self._patience = patience
        self._pause = pause
        self._http = Http()

    @property
    def account(self) -> str:
        """The service account's address: what must be a user of the domains in Postmaster Tools."""
        return str(self._credentials.service_account_email)

    def domains(self) -> list[str]:
        """The verified domains that the account may see, in order.

        Raises:
            SourceError: Google cannot be asked, or refuses.
        """
        found: set[str] = set()
        token = ""
        try:
            for _ in range(_MOST_PAGES):
                page = {"pageSize": wire.PAGE_SIZE} | ({"pageToken": token} if token else {})
                answer = self._get(f"v2/domains?{urlencode(page)}", wire.Domains)
                found |= {each.name.removeprefix("domains/") for each in answer.domains if each.usable}
                token = answer.nextPageToken
                if not token:
                    break
        except RefusedError as error:
            raise SourceError(
                f"Postmaster Tools does not list the domains of {self.account} ({error}): name them in "
                "postmaster.domains"
            ) from error
        return sorted(found)

    def stats(self, domain: str, metrics: Sequence[Metric], days: wire.Days) -> list[Raw]:
        """`DomainStat`s of a domain, of all pages; to be read by `wire.figures` or `wire.identifiers`.

        Raises:
            RefusedError: this cannot be had.
            SourceError: nothing can be had.
        """
        path = f"v2/domains/{quote(domain, safe='')}/domainStats:query"
        found: list[Raw] = []
        token = ""
        for _ in range(_MOST_PAGES):
            body = msgspec.json.encode(wire.query(domain, metrics, days, token))
            answer = _decoded(self._ask("POST", path, body), wire.Stats)
            found += answer.domainStats
            token = answer.nextPageToken
            if not token:
                return found
        raise RefusedError(_OK, f"its pages do not end after {_MOST_PAGES}")

    def compliance(self, domain: str) -> wire.Compliance:
        """Whether a domain meets Gmail's requirements for senders, as of now; raises as `stats` does."""
        return self._get(f"v2/domains/{quote(domain, safe='')}/complianceStatus", wire.Compliance)

    def _get(self, path: str, kind: type[_Decoded]) -> _Decoded:
        return _decoded(self._ask("GET", path), kind)

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        tried = 0
        renewed = False
        while True:
            tried += 1
            answer, trouble = self._try(method, path, body)
            if answer and answer.status == _OK:
                return answer.data
            if answer and answer.status == _UNAUTHORIZED and not renewed:
                # A token may be revoked before it expires. That the new one is refused as well is final.
                self._credentials.token = None
                renewed = True
                continue
            wait = self._patience.wait_s(tried, answer)
            if answer and (answer.status not in _BUSY or wait is None):
                raise self._refusal(answer)
            if wait is None:
                raise SourceError(
                    f"{urlsplit(self._endpoint).hostname} or Google's token endpoint does not answer ({trouble}): "
                    "check the network and try again"
                )
            self._pause(wait)

    def _try(self, method: str, path: str, body: bytes | None) -> tuple[Answer | None, str]:
        """The answer, or why there is none."""
        try:
            # Not `before_request`: that would also ask another service, in a thread of its own.
            if not self._credentials.valid:
                self._renew()
            headers = {"Authorization": f"Bearer {self._credentials.token}", "Accept": "application/json"}
            if body is not None:
                headers["Content-Type"] = "application/json"
            return self._http(f"{self._endpoint}/{path}", method, body, headers), ""
        except exceptions.TransportError as error:
            return None, str(error)

    def _renew(self) -> None:
        """Get a token, by a JWT that the account's key signs (RFC 7523).

        Raises:
            google.auth.exceptions.TransportError: there may be one later.
            SourceError: there will be none.
        """
        try:
            self._credentials.refresh(self._http)
        except exceptions.TransportError:
            raise
        except (exceptions.GoogleAuthError, KeyError, TypeError, ValueError) as error:
            said = " ".join(str(error.args[0] if error.args else error).split())[:300]
            if isinstance(error, exceptions.GoogleAuthError) and error.retryable:
                raise transport_error(said) from error
            cure = f", and that postmaster.subject delegates {' '.join(self._scopes)} to it" * self._delegated
            raise SourceError(
                f"Google gives {self.account} no token ({said}): check that the key in postmaster.credentials is "
                f"in force{cure}"
            ) from error

    def _refusal(self, answer: Answer) -> Exception:
        try:
            problem = msgspec.json.decode(answer.data, type=wire.Problem)
        except msgspec.MsgspecError:
            problem = wire.Problem()
        if "SERVICE_DISABLED" in problem.reasons:
            return SourceError(
                f"the Postmaster Tools API is not enabled in the Google Cloud project of {self.account}: enable it "
                f"at {_CONSOLE}"
            )
        if answer.status == _UNAUTHORIZED or "ACCESS_TOKEN_SCOPE_INSUFFICIENT" in problem.reasons:
            return SourceError(
                f"Postmaster Tools refuses the token of {self.account} ({problem.message or answer.status}): it "
                f"wants the scope {' and '.join(self._scopes)}"
            )
        return RefusedError(answer.status, problem.message or f"HTTP status {answer.status}")


def _decoded(data: bytes, kind: type[_Decoded]) -> _Decoded:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise RefusedError(_OK, f"the answer cannot be read: {error}") from error


def _credentials(settings: Postmaster, scopes: Sequence[str]) -> Any:
    """The service account; typed as Any, for google-auth's methods are not typed."""
    path = Path(settings.credentials).expanduser()
    try:
        info = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise SettingsError(
            f"postmaster.credentials: cannot read {path}: {(error.strerror or str(error)).lower()}"
        ) from None
    except msgspec.MsgspecError:
        raise SettingsError(
            f"postmaster.credentials: {path} is not the JSON key file of a service account"
        ) from None
    if info.get("type") != "service_account":
        raise SettingsError(
            f"postmaster.credentials: {path} is of type {info.get('type')!r}: make a key of a service account"
        )
    account: Any = service_account.Credentials
    try:
        return account.from_service_account_info(info, scopes=list(scopes), subject=settings.subject or None)
    except (exceptions.GoogleAuthError, ValueError) as error:
        raise SettingsError(
            f"postmaster.credentials: {path} has no usable key: download a new one"
        ) from error
