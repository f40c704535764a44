"""From a request to the bridge, and the wait until what it brought is safe."""

from __future__ import annotations

import asyncio
import json
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from aiohttp import web

from connectors.attachments.store import StoreError
from connectors.bridge import Receipt
from connectors.errors import UserError
from connectors.sources.reading import Desk
from connectors.sources.s3 import ObjectError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from connectors.bridge import Entrance
    from connectors.inbound.mailroom import Mailroom
    from pipelines.intake.intake import Intake

_WORKERS: Final = 4
"""Threads that parse and submit; a full bridge makes them wait, and with them the senders."""
_MEMORY: Final = 256 * 1024 * 1024
"""Bytes of bodies held at once; beyond it requests are told to come again."""
_REQUESTS: Final = 1024
"""Requests held at once."""
_READ_S: Final = 60.0
"""How long a body may take to arrive: connections that drip would use up the room of the others."""
_READ: Final = 256 * 1024
_GZIP: Final = 16 + zlib.MAX_WBITS


Submit: TypeAlias = "Callable[[Desk, Receipt], None]"


class Refused(Exception):  # noqa: N818 - named by what it says
    """The request is answered with an error. Never 413: Firehose drops the data of such a request."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(slots=True, eq=False)
class Room:
    """What one request may hold in memory, until it is answered."""

    handover: Handover
    size: int = 0

    def take(self, size: int) -> None:
        """Hold `size` bytes more.

        Raises:
            Refused: 503 when there is no room for them now.
        """
        if self.handover.memory + size > _MEMORY:
            raise Refused(503, "busy: send again later")
        self.handover.memory += size
        self.size += size


class Handover:
    """Gives what requests bring to the bridge; lives in the endpoint's event loop."""

    def __init__(self, bridge: Entrance, new_intake: Callable[[], Intake], mailroom: Mailroom) -> None:
        self._bridge = bridge
        self._new_intake = new_intake
        self._mailroom = mailroom
        self._of_thread = threading.local()
        """`desk`: an intake is not thread-safe."""
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="http-intake")
        self.memory = 0
        """Bytes of bodies held."""
        self._requests = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.closing = asyncio.Event()
        self.failure: UserError | None = None

    def close(self) -> None:
        """Take nothing more, and let those that wait go with a 503."""
        self.closing.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def idle(self, timeout_s: float) -> None:
        """Wait until no request is in work, `timeout_s` seconds at the most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()

    @contextmanager
    def admitted(self) -> Iterator[Room]:
        """One request more, if there is room for it.

        Raises:
            Refused: 503 when there is none.
        """
        if self.closing.is_set() or self._requests >= _REQUESTS:
            raise Refused(503, "busy: send again later")
        self._requests += 1
        self._idle.clear()
        room = Room(self)
        try:
            yield room
        finally:
            self._requests -= 1
            self.memory -= room.size
            if not self._requests:
                self._idle.set()

    async def give(self, submit: Submit, timeout_s: float) -> None:
        """Run `submit` in a thread, close the receipt, and wait until it is released.

        Raises:
            Refused: 503 when it is not safe within `timeout_s` seconds, or the bridge is broken.
        """
        loop = asyncio.get_running_loop()
        safe = asyncio.Event()

        def release() -> None:
            # The loop is closed when a receipt is released after the endpoint stopped: nobody waits then.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(safe.set)

        def work() -> None:
            receipt = Receipt(release)
            submit(self._desk(), receipt)
            receipt.close()

        if self.closing.is_set():
            raise Refused(503, "stopping: send again")
        try:
            async with asyncio.timeout(timeout_s):
                await self._until_closing(loop.run_in_executor(self._pool, work))
                await self._until_closing(asyncio.ensure_future(safe.wait()))
        except TimeoutError:
            raise Refused(503, "not stored in time: send again") from None
        except (StoreError, ObjectError) as error:
            raise Refused(503, f"cannot be read or stored now, send again later: {error}") from error
        except UserError as error:
            self.failure = self.failure or error
            raise Refused(503, "cannot store now: send again later") from error

    def _desk(self) -> Desk:
        desk: Desk | None = getattr(self._of_thread, "desk", None)
        if desk is None:
            # What was begun for a request comes to its end: only its answer is not waited for.
            desk = Desk(self._new_intake(), self._mailroom, self._bridge, threading.Event())
            self._of_thread.desk = desk
        return desk

    async def _until_closing(self, wanted: asyncio.Future[Any]) -> None:
        closing = asyncio.ensure_future(self.closing.wait())
        try:
            await asyncio.wait((wanted, closing), return_when=asyncio.FIRST_COMPLETED)
            if not wanted.done() or wanted.cancelled():
                raise Refused(503, "stopping: send again")
            wanted.result()
        finally:
            closing.cancel()
            wanted.cancel()


async def read_body(request: web.Request, limit: int, room: Room) -> bytes:
    """Read a body, inflated if it is gzip, holding no more than `limit` bytes of it.

    Raises:
        Refused: 400 when it is larger or not what it says, 503 when it is too slow or there is no room.
    """
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in {"", "identity", "gzip"}:
        raise Refused(400, f"Content-Encoding {encoding[:40]} is not understood: use gzip or none")
    inflater = zlib.decompressobj(_GZIP) if encoding == "gzip" else None
    body = bytearray()
    try:
        async with asyncio.timeout(_READ_S):
            async for chunk in request.content.iter_chunked(_READ):
                piece = inflater.decompress(chunk, limit + 1 - len(body)) if inflater else chunk
                room.take(len(piece))
                body += piece
                if len(body) > limit:
                    raise Refused(400, f"the body is larger than {limit} bytes")
    except zlib.error:
        raise Refused(400, "the body is not gzip") from None
    except TimeoutError:
        raise Refused(503, "the body came too slowly: send again") from None
    if inflater and (not inflater.eof or inflater.unused_data):
        raise Refused(400, "the body is not one whole gzip member")
    return bytes(body)


def answer(status: int, document: dict[str, Any]) -> web.Response:
    """A JSON answer with its length, and no other encoding (Firehose wants it so)."""
    return web.Response(
        status=status,
        body=json.dumps(document, separators=(",", ":")).encode(),
        content_type="application/json",
    )
