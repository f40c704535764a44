"""`Spool`: the bytes of one mail as they come, in memory as long as they are few."""

from __future__ import annotations

import mmap
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

IN_MEMORY: Final = 1024 * 1024
"""Bytes beyond which a mail is gathered in a file: many may be gathered at once, and some have 40 MB."""


class Spool:
    """Gathers a mail; beyond `limit` bytes one more, by which it is known to be too large, and the rest is counted.

    A context; its file, if it needs one, is gone at the end.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._file: IO[bytes] | None = None
        self._kept = 0
        self.size = 0
        """Bytes it was given."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget it."""
        self._pieces = []
        if self._file is not None:
            self._file.close()

    @property
    def full(self) -> bool:
        """Whether it is too large, so that no more of it matters."""
        return self._kept > self._limit

    def add(self, data: bytes) -> None:
        """More of it."""
        self.size += len(data)
        kept = data[: self._limit + 1 - self._kept]
        if not kept:
            return
        self._kept += len(kept)
        if self._file is None and self._kept > IN_MEMORY:
            self._file = TemporaryFile(prefix="ses-streams-mail-")  # noqa: SIM115 - closed with the spool
            for piece in self._pieces:
                self._file.write(piece)
            self._pieces = []
        if self._file is None:
            self._pieces.append(kept)
        else:
            self._file.write(kept)

    @contextmanager
    def raw(self) -> Iterator[bytes | mmap.mmap]:
        """Its bytes, as far as they are kept."""
        if self._file is None:
            whole = b"".join(self._pieces)
            self._pieces = [whole]
            yield whole
            return
        self._file.flush()
        mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            yield mapped
        finally:
            mapped.close()
