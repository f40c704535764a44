"""`Checkpoint`: which units of an interrupted replay are safe, so that running it again skips them.

A file in the data directory for each set of SOURCES: lines of 32 hexadecimal digits, each the identity of one
unit, appended when the unit is safe. A line torn by a crash is dropped, and its unit is then read again,
which is harmless.
"""

from __future__ import annotations

import os
import re
import threading
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from connectors.errors import InstanceError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_LINE: Final = re.compile(rb"[0-9a-f]{32}\n")
_LINE_BYTES: Final = 33


class Checkpoint:
    """The units of one replay that are safe. Thread-safe: units become safe in the bridge's threads."""

    def __init__(self, folder: Path, sources: Iterable[str]) -> None:
        """Read what an interrupted replay of the same sources left.

        Raises:
            InstanceError: when the folder cannot be read or written.
        """
        key = digest("\n".join(sorted(set(sources)))).decode()
        self.path = folder / f"replay-{key}.checkpoint"
        self._lock = threading.Lock()
        self._file: int | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._safe = self._read()
        except OSError as error:
            raise self._error(error) from error

    def __contains__(self, identity: str) -> bool:
        return digest(identity) in self._safe

    def __len__(self) -> int:
        return len(self._safe)

    def add(self, identity: str) -> None:
        """A unit is safe in full.

        Raises:
            InstanceError: when that cannot be written.
        """
        line = digest(identity)
        with self._lock:
            try:
                if self._file is None:
                    self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                os.write(self._file, line + b"\n")
            except OSError as error:
                raise self._error(error) from error
            self._safe.add(line)

    def clear(self) -> None:
        """The replay is finished: the next one of these sources reads everything again."""
        self.close()
        with self._lock:
            self._safe.clear()
            try:
                self.path.unlink(missing_ok=True)
            except OSError as error:
                raise self._error(error) from error

    def close(self) -> None:
        """Close the file; adding opens it again."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _read(self) -> set[bytes]:
        """The whole lines; the file is cut behind them, so that appended ones stand by themselves."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return set()
        whole = 0
        while _LINE.fullmatch(data, whole, whole + _LINE_BYTES):
            whole += _LINE_BYTES
        if whole < len(data):
            os.truncate(self.path, whole)
        return set(data[:whole].split())

    def _error(self, error: OSError) -> InstanceError:
        return InstanceError(f"cannot keep the replay's checkpoint {self.path}: {error.strerror}")


def digest(text: str) -> bytes:
    """32 hexadecimal digits of a text; file names that are not UTF-8 included."""
    return blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest().encode()
