"""The door: how other processes query the ClickHouse that one process of an embedded instance holds.

HTTP on the loopback interface, `POST /` with the SQL as body and `X-ClickHouse-Format`; reading only (see
`connectors.clickhouse.readonly`), behind a random bearer token.
"""

from __future__ import annotations

import hmac
import http.client
import logging
import secrets
import threading
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

from connectors.clickhouse.client import DATABASE
from connectors.clickhouse.readonly import Reader
from connectors.errors import ClickHouseError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOG: Final = logging.getLogger(__name__)
_HOST: Final = "127.0.0.1"
_LONGEST_SQL: Final = 1024 * 1024
_AT_ONCE: Final = 8
_READ: Final = 256 * 1024
_FORMAT: Final = "X-ClickHouse-Format"


@dataclass(frozen=True, slots=True)
class Door:
    """An open door."""

    address: str
    """`host:port`."""
    token: str
    _server: ThreadingHTTPServer
    _thread: threading.Thread

    def stop(self) -> None:
        """Close it; queries that run are cut off when the process ends."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def serve(path: Path, database: str = DATABASE) -> Door:
    """Open a door to the chdb files that this process holds.

    Raises:
        ClickHouseError: the files cannot be opened, or have no such database.
    """
    reader = Reader(path, database)
    token = secrets.token_urlsafe(32)
    slots = threading.BoundedSemaphore(_AT_ONCE)

    class Handler(_Handler):
        def do_POST(self) -> None:
            if not hmac.compare_digest(self.headers.get("Authorization", ""), f"Bearer {token}"):
                self.refuse(HTTPStatus.UNAUTHORIZED, "the door wants its token")
                return
            with slots:
                self.answer(reader)

    server = ThreadingHTTPServer((_HOST, 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="clickhouse-door", daemon=True)
    thread.start()
    return Door(f"{_HOST}:{server.server_address[1]}", token, server, thread)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Answers are many small writes at first: without it they wait for the client's delayed ACKs.
    disable_nagle_algorithm = True

    def answer(self, reader: Reader) -> None:
        """Run the body; the answer is chunked, and cut off without its end when the query fails half-way."""
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 < length <= _LONGEST_SQL:
            self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the SQL is empty or longer than 1 MiB")
            return
        sql = self.rfile.read(length).decode(errors="replace")
        pieces = reader.read(sql, self.headers.get(_FORMAT, "TabSeparated"))
        try:
            first = next(pieces, b"")
        except ClickHouseError as error:
            self.refuse(HTTPStatus.BAD_REQUEST, str(error))
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            self._chunk(first)
            for piece in pieces:
                self._chunk(piece)
            self.wfile.write(b"0\r\n\r\n")
        except (ClickHouseError, OSError) as error:
            LOG.warning("a query broke off: %s", error)
            self.close_connection = True

    def refuse(self, status: HTTPStatus, text: str) -> None:
        """Answer with a sentence."""
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def _chunk(self, data: bytes) -> None:
        if data:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """To our log, not to standard error."""
        LOG.debug(format, *args)


def query(address: str, token: str, sql: str, fmt: str = "TabSeparated") -> Iterator[bytes]:
    """Ask a door; the result in pieces.

    Raises:
        ClickHouseError: nobody answers there, or the query is refused; also from the iterator.
    """
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=600)
    try:
        connection.request(
            "POST",
            "/",
            sql.encode(),
            {"Authorization": f"Bearer {token}", _FORMAT: fmt, "Connection": "close"},
        )
        response = connection.getresponse()
        if response.status != HTTPStatus.OK:
            raise ClickHouseError(response.read().decode(errors="replace"))
        while piece := response.read1(_READ):
            yield piece
    except (http.client.HTTPException, OSError) as error:
        raise ClickHouseError(
            f"the instance's ClickHouse at {address} broke off ({error or type(error).__name__}):"
            " is it still running?"
        ) from error
    finally:
        connection.close()
