"""`DirectoryStore`: contents as files, `DIR/ab/cd/HASH`.

A file is written aside, synced and renamed, so under a hash there is a whole content or nothing, whatever is killed.
Its time of modification is when it was last put. Putting and sweeping exclude each other by `DIR/lock` (flock(2)),
which the kernel drops with its holder: what was put again is never swept away by somebody who had looked before.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from pathlib import Path
from tempfile import mkstemp
from typing import TYPE_CHECKING, Final

from connectors.attachments.store import DAY_S, Stored, StoreError, StoreRefuses, path_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipelines.mail.outcome import Content

_CHUNK: Final = 1024 * 1024
_ABANDONED_S: Final = 3600
"""A file that is being written is not touched for longer only if its writer was killed."""
_ASIDE: Final = "writing"
_TWO: Final = "[0-9a-f][0-9a-f]"


class DirectoryStore:
    """See `AttachmentStore`."""

    def __init__(self, path: Path, days: int, clock: Callable[[], float] = time.time) -> None:
        """Create it.

        Args:
            path: the directory.
            days: how long a content stays after it was last put.
            clock: seconds since the epoch.

        Raises:
            StoreError: it cannot be created or written to.
        """
        self.path = path.absolute()
        self.days = days
        self._clock = clock
        self._aside = self.path / _ASIDE
        with self._told("written to"):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._aside.mkdir(mode=0o700, exist_ok=True)
            (self.path / "lock").touch(mode=0o600)

    def put(self, content: Content) -> str:
        """Write it, unless it is there: then its time is now."""
        place = self.path / path_of(content.sha256)
        if hashlib.sha256(content.content).hexdigest() != content.sha256:
            raise ValueError(f"the content of {content.name!r} is not of the hash {content.sha256}")
        with self._told("written to"):
            if not self._renewed(place, len(content.content)):
                self._write(place, content.content)
        return place.as_uri()

    def find(self, sha256: str) -> Stored | None:
        """By its file."""
        place = self.path / path_of(sha256)
        with self._told("read"), contextlib.suppress(FileNotFoundError):
            status = place.stat()
            return Stored(place.as_uri(), status.st_size, round(status.st_mtime * 1000))
        return None

    def read(self, sha256: str) -> Iterator[bytes]:
        """Its file, a megabyte at a time."""
        found = hashlib.sha256()
        with self._told("read"):
            try:
                file = (self.path / path_of(sha256)).open("rb")
            except FileNotFoundError:
                raise StoreRefuses(f"there is no content {sha256} in {self.path}") from None
            with file:
                while chunk := file.read(_CHUNK):
                    found.update(chunk)
                    yield chunk
        if found.hexdigest() != sha256:
            raise StoreRefuses(f"the file of {sha256} in {self.path} is damaged: restore it, or remove it")

    def link(self, sha256: str, expires_s: int, name: str = "") -> str:  # noqa: ARG002
        """Nobody elsewhere can read a directory of ours."""
        raise StoreRefuses(
            f"attachments in a directory have no links: {self.path / path_of(sha256)} is the file; set"
            " inbound.attachments to s3://BUCKET/PREFIX for links"
        )

    def link_holds_s(self, expires_s: int) -> int:  # noqa: ARG002
        """None does."""
        raise StoreRefuses(
            "attachments in a directory have no links: set inbound.attachments to s3://BUCKET/PREFIX"
        )

    def warnings(self) -> list[str]:
        """None: what is too old is swept by us."""
        return []

    def close(self) -> None:
        """Nothing to let go of."""

    def sweep(self) -> int:
        """Remove what was last put longer ago than the retention; how many contents that were.

        Raises:
            StoreError: the directory cannot be read or written to.
        """
        with self._told("swept"):
            self._sweep_abandoned()
            limit = self._clock() - self.days * DAY_S
            return sum(self._removed(place, limit) for place in self.path.glob(f"{_TWO}/{_TWO}/*"))

    def _removed(self, place: Path, limit: float) -> bool:
        if not _older(place, limit):
            return False
        with self._locked(fcntl.LOCK_EX):
            # Looked at again: it may have been put since.
            if not _older(place, limit):
                return False
            place.unlink(missing_ok=True)
        return True

    def _sweep_abandoned(self) -> None:
        limit = self._clock() - _ABANDONED_S
        for place in self._aside.iterdir():
            if _older(place, limit):
                place.unlink(missing_ok=True)

    def _renewed(self, place: Path, size: int) -> bool:
        now = self._clock()
        with contextlib.suppress(FileNotFoundError), self._locked(fcntl.LOCK_SH):
            if place.stat().st_size == size:
                os.utime(place, (now, now))
                return True
        return False

    def _write(self, place: Path, content: bytes) -> None:
        now = self._clock()
        for folder in (place.parent.parent, place.parent):
            folder.mkdir(mode=0o700, exist_ok=True)
        # Of mode 0600 by itself.
        file, name = mkstemp(dir=self._aside, prefix=place.name[:16])
        try:
            with os.fdopen(file, "wb") as out:
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
            os.utime(name, (now, now))
            with self._locked(fcntl.LOCK_SH):
                Path(name).replace(place)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        # All three: who made the upper ones may not have synced them yet.
        for folder in (place.parent, place.parent.parent, self.path):
            _sync(folder)

    @contextlib.contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        file = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, how)
            yield
        finally:
            os.close(file)

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise StoreError(
                f"the attachment directory {self.path} cannot be {what}: {reason}; free space or set its permissions"
            ) from error


def _older(place: Path, limit: float) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return place.stat().st_mtime < limit
    return False


def _sync(folder: Path) -> None:
    """Make renames in a folder durable."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
