"""Google on this machine: a token endpoint that verifies JWTs, and Postmaster Tools 2, strict about requests."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from connectors.settings import Postmaster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ACCOUNT = "reader@project.iam.gserviceaccount.com"
TRAFFIC = "https://www.googleapis.com/auth/postmaster.traffic.readonly"
DOMAINS = "https://www.googleapis.com/auth/postmaster.domain"
FILTERS = {
    "FEEDBACK_LOOP_ID": r"",
    "FEEDBACK_LOOP_SPAM_RATE": r'feedback_loop_id = "(?:[^"\\]|\\.)+"',
    "SPAM_RATE": r"",
    "AUTH_SUCCESS_RATE": r'auth_type = "(spf|dkim|dmarc)"',
    "TLS_ENCRYPTION_MESSAGE_COUNT": r'traffic_direction = "(in|out)bound"',
    "TLS_ENCRYPTION_RATE": r'traffic_direction = "(in|out)bound"',
    "DELIVERY_ERROR_COUNT": r'(error_type = "(reject|temp_fail)"( AND error_reason = "\w+")?)?',
    "DELIVERY_ERROR_RATE": r'(error_type = "(reject|temp_fail)"( AND error_reason = "\w+")?)?',
}
BODY = {"parent", "metricDefinitions", "timeQuery", "aggregationGranularity", "pageSize", "pageToken"}


class Google:
    """What it knows (`stats`, `domains`, …), what it was asked (`calls`), and how it misbehaves (`awry`)."""

    def __init__(self, public: rsa.RSAPublicKey) -> None:
        self.public = public
        self.domains: list[dict[str, Any]] = []
        self.stats: dict[tuple[str, str, str], dict[date, dict[str, Any]]] = {}
        self.compliance: dict[str, dict[str, Any]] = {}
        self.tokens: dict[str, str] = {}
        self.claims: list[dict[str, Any]] = []
        self.calls: list[tuple[str, str, dict[str, Any]]] = []
        self.awry: list[tuple[str, int, dict[str, str], bytes]] = []
        self.page_size = 200
        self.url = ""

    def say(
        self, domain: str, metric: str, values: dict[date, Any], filter_: str = "", kind: str = "floatValue"
    ) -> None:
        self.stats[domain, metric, filter_] = {day: {kind: value} for day, value in values.items()}

    def loops(self, domain: str, values: dict[str, dict[date, float]]) -> None:
        """Spam rates by identifier, and the list of identifiers of each day."""
        days = {day for each in values.values() for day in each}
        listed = {day: {"values": sorted(name for name in values if day in values[name])} for day in days}
        self.say(domain, "FEEDBACK_LOOP_ID", listed, kind="stringList")
        for name, rates in values.items():
            escaped = name.replace("\\", "\\\\").replace('"', '\\"')
            self.say(domain, "FEEDBACK_LOOP_SPAM_RATE", rates, f'feedback_loop_id = "{escaped}"')

    def goes_awry(
        self, where: str, status: int, body: Any = None, headers: dict[str, str] | None = None
    ) -> None:
        """The next request to a path that has `where` in it gets this instead."""
        data = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        self.awry.append((where, status, headers or {}, data))

    def asked(self, where: str) -> int:
        return sum(where in path for _, path, _ in self.calls)

    def answer(
        self, method: str, target: str, headers: Any, body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        path = unquote(urlsplit(target).path)
        self.calls.append((method, path, dict(headers)))
        for each in self.awry:
            if each[0] in path:
                self.awry.remove(each)
                return each[1:]
        if path == "/token":
            return self._token(parse_qs(body.decode()))
        return self._postmaster(method, target, headers, body)

    def _postmaster(
        self, method: str, target: str, headers: Any, body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        path = unquote(urlsplit(target).path)
        scope = self.tokens.get(headers.get("Authorization", "").removeprefix("Bearer "))
        if scope is None:
            return refusal(401, "Request had invalid authentication credentials.")
        if path == "/v2/domains" and method == "GET":
            listed = self._list(parse_qs(urlsplit(target).query))
            narrow = refusal(403, "insufficient scopes", "ACCESS_TOKEN_SCOPE_INSUFFICIENT")
            return listed if DOMAINS in scope.split() else narrow
        match = re.fullmatch(r"/v2/domains/([^/]+)/(domainStats:query|complianceStatus)", path)
        if match is None or TRAFFIC not in scope.split():
            return refusal(404, f"no such method: {method} {path}")
        domain = match[1]
        if not any(each["name"] == f"domains/{domain}" for each in self.domains):
            return refusal(403, "The caller does not have permission")
        if match[2] == "complianceStatus":
            return found({"name": path[4:], **self.compliance.get(domain, {})})
        return self._query(domain, json.loads(body))

    def _token(self, form: dict[str, list[str]]) -> tuple[int, dict[str, str], bytes]:
        """RFC 7523, section 2.1: the assertion must be signed by the account's key, for us, and in force."""
        head, claims, signature = form["assertion"][0].split(".")
        said = json.loads(unpadded(claims))
        try:
            self.public.verify(
                unpadded(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256()
            )
        except InvalidSignature:
            return 400, {}, b'{"error": "invalid_grant", "error_description": "Invalid JWT Signature."}'
        right = (
            form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
            and json.loads(unpadded(head))["alg"] == "RS256"
            and said["iss"] == ACCOUNT
            and said["aud"] == "https://oauth2.googleapis.com/token"
            and said["iat"] - 60 <= time.time() < said["exp"] <= said["iat"] + 3600
        )
        if not right:
            return 400, {}, b'{"error": "invalid_grant"}'
        self.claims.append(said)
        token = f"token-{len(self.claims)}"
        self.tokens[token] = said["scope"]
        return found({"access_token": token, "expires_in": 3599, "token_type": "Bearer"})

    def _list(self, asked: dict[str, list[str]]) -> tuple[int, dict[str, str], bytes]:
        size = min(int(asked["pageSize"][0]), self.page_size)
        return found(self._page("domains", self.domains, size, asked.get("pageToken", [""])[0]))

    def _query(self, domain: str, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        if body.keys() - BODY or body["parent"] != f"domains/{domain}" or body["pageSize"] > 200:
            return refusal(400, "Invalid JSON payload received.")
        assert body["aggregationGranularity"] == "DAILY"
        (span,) = body["timeQuery"]["dateRanges"]["dateRanges"]
        first, last = (date(**span[name]) for name in ("start", "end"))
        rows = []
        for wanted in body["metricDefinitions"]:
            metric, condition = wanted["baseMetric"]["standardMetric"], wanted.get("filter", "")
            if not re.fullmatch(FILTERS[metric], condition):
                return refusal(400, f"Invalid filter for {metric}")
            for day, value in sorted(self.stats.get((domain, metric, condition), {}).items()):
                if first <= day <= last:
                    stamp = {"year": day.year, "month": day.month, "day": day.day}
                    rows.append({"name": "…", "metric": wanted["name"], "date": stamp, "value": value})
        return found(
            self._page("domainStats", rows, min(body["pageSize"], self.page_size), body.get("pageToken", ""))
        )

    def _page(self, name: str, rows: list[Any], size: int, token: str) -> dict[str, Any]:
        start = int(token or 0)
        more = {"nextPageToken": str(start + size)} if start + size < len(rows) else {}
        # As protobuf's JSON has it: an empty list is left out.
        return ({name: rows[start : start + size]} if rows else {}) | more


def found(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, json.dumps(body).encode()


def refusal(status: int, message: str, reason: str = "") -> tuple[int, dict[str, str], bytes]:
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}] if reason else []
    return (
        status,
        {},
        json.dumps({"error": {"code": status, "message": message, "details": details}}).encode(),
    )


def unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def google(key: rsa.RSAPrivateKey) -> Iterator[Google]:
    """Answers at `google.url` until the test ends."""
    knows = Google(key.public_key())

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, headers, data = knows.answer(self.command, self.path, self.headers, body)
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(data))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = handle_one  # noqa: N815 - the library's names

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    knows.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield knows
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def credentials(google: Google, key: rsa.RSAPrivateKey, tmp_path: Path) -> Path:
    """The account's key file, as Google gives it out."""
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    info = {
        "type": "service_account",
        "project_id": "project",
        "private_key_id": "k1",
        "private_key": pem.decode(),
        "client_email": ACCOUNT,
        "client_id": "1",
        "token_uri": f"{google.url}/token",
    }
    path = tmp_path / "key.json"
    path.write_text(json.dumps(info))
    return path


@pytest.fixture
def settings(google: Google, credentials: Path) -> Callable[..., Postmaster]:
    """`settings(domains=("a.example",))`."""

    def make(**chosen: Any) -> Postmaster:
        return Postmaster(**({"credentials": str(credentials), "endpoint": google.url} | chosen))

    return make


@pytest.fixture
def today() -> date:
    return date(2026, 11, 22)


@pytest.fixture
def ago(today: date) -> Callable[[int], date]:
    return lambda days: today - timedelta(days=days)
