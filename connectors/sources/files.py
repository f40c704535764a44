"""Files and directories as units of a replay."""

from __future__ import annotations

import os
import stat
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from connectors.errors import SourceError
from connectors.sources.units import Unit
from pipelines.intake.provenance import Provenance

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CHUNK: Final = 256 * 1024
STDIN: Final = "-"


class Files:
    """Files, and directories with all that is below them: sorted, hidden ones left out, each once.

    Symbolic links are followed; a directory that was visited is not visited again, so loops end. A path that
    is named outright is read even when it is hidden. What is neither file nor directory is left out, unless
    it is named.
    """

    def __init__(self, paths: Sequence[str], leave_out: Sequence[Path] = ()) -> None:
        """Take paths (`-` is the standard input) and directories of our own, which are not replayed."""
        self._paths = paths
        self._left_out = {_identity(each.stat()) for each in leave_out if each.exists()}

    def units(self) -> Iterator[Unit]:
        """Every file.

        Raises:
            SourceError: when a path does not exist, or something below it cannot be listed.
        """
        visited = set(self._left_out)
        for path in self._paths:
            if path == STDIN:
                yield _standard_input()
            else:
                yield from self._below(Path(path).absolute(), visited, named=True)

    def _below(self, path: Path, visited: set[tuple[int, int]], *, named: bool = False) -> Iterator[Unit]:
        try:
            status = path.stat()
            if stat.S_ISDIR(status.st_mode):
                children = _children(path)
        except OSError as error:
            if not named and path.is_symlink() and not path.exists():
                return  # a link to nothing holds nothing
            raise SourceError(f"cannot read {path}: {error.strerror}") from None
        if _identity(status) in visited:
            return
        visited.add(_identity(status))
        if stat.S_ISDIR(status.st_mode):
            for child in children:
                yield from self._below(child, visited)
        elif stat.S_ISREG(status.st_mode) or named:
            yield _file(path, status)


def _children(folder: Path) -> list[Path]:
    """Raises OSError where it cannot be listed."""
    found = {each.name: each for each in sorted(folder.iterdir()) if not each.name.startswith(".")}
    if "cur" in found and "new" in found:
        found.pop("tmp", None)
    return list(found.values())


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _file(path: Path, status: os.stat_result) -> Unit:
    provenance = Provenance(uri=path.as_uri(), time=status.st_mtime_ns // 1_000_000, path="file")
    regular = stat.S_ISREG(status.st_mode)
    return Unit(
        provenance=provenance,
        size=status.st_size,
        identity=f"{provenance.uri}\n{status.st_size}\n{status.st_mtime_ns}" if regular else "",
        chunks=lambda: _read(path),
    )


def _read(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb", buffering=0) as file:
            while chunk := file.read(CHUNK):
                yield chunk
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}; nothing of it is marked as read") from None


def _standard_input() -> Unit:
    def chunks() -> Iterator[bytes]:
        while chunk := os.read(sys.stdin.fileno(), CHUNK):
            yield chunk

    return Unit(
        provenance=Provenance(uri="stdin:", time=int(time.time() * 1000), path="file"),
        size=0,
        identity="",
        chunks=chunks,
    )
