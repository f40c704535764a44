"""One child process: its standard input gives it its configuration, a pipe of its own brings back reports."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec

from connectors.embedded import lifeline

if TYPE_CHECKING:
    from pathlib import Path

LOG_LIMIT: Final = 8 * 1024 * 1024
"""Bytes a log may reach before its older half goes; `up` runs for weeks."""
_TAIL: Final = 4000


class Child:
    """A started program. Never outlives this process."""

    def __init__(self, name: str, log: Path, argv: list[str], *, ours: bool = True) -> None:
        """Start it.

        Args:
            name: of the part.
            log: where what it prints goes.
            argv: the program.
            ours: whether it ties itself to us and reports, and so is told its name, our process id and the
            file descriptor for its reports; any other program knows nothing of us.
        """
        self.name = name
        self.log = log
        self._reports, write = os.pipe()
        os.set_blocking(self._reports, False)
        self._partial = b""
        command = [*argv, name, str(os.getpid()), str(write)] if ours else lifeline.wrap(argv)
        try:
            with log.open("ab") as output:
                self.process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    pass_fds=(write,) if ours else (),
                    start_new_session=True,  # Ctrl-C is for the supervisor, which stops its parts in order
                )
        finally:
            os.close(write)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process.poll() is None

    def tell(self, message: Any) -> None:
        """Send it a line of JSON; a dead child hears nothing."""
        if self.process.stdin is not None:
            with suppress(OSError, ValueError):
                self.process.stdin.write(msgspec.json.encode(message, enc_hook=str) + b"\n")
                self.process.stdin.flush()

    def heard(self) -> list[dict[str, Any]]:
        """The reports that have come since the last call."""
        while True:
            try:
                data = os.read(self._reports, 65536)
            except (BlockingIOError, OSError):
                break
            if not data:
                break
            self._partial += data
        *lines, self._partial = self._partial.split(b"\n")
        reports = []
        for line in lines:
            with suppress(msgspec.DecodeError):  # a child killed while it wrote
                reports.append(msgspec.json.decode(line, type=dict[str, Any]))
        return reports

    def ask_to_stop(self) -> None:
        """SIGTERM: end in good order."""
        with suppress(OSError):
            self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout_s: float) -> bool:
        """Whether it has ended within the time."""
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """End it now, and take it off the process table."""
        with suppress(OSError):
            self.process.kill()
        self.process.wait()
        if self.process.stdin is not None:
            with suppress(OSError):
                self.process.stdin.close()
        if self._reports >= 0:
            os.close(self._reports)
            self._reports = -1

    def tail(self) -> str:
        """The last line of its log that says something."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - _TAIL))
                text = file.read().decode(errors="replace")
        except OSError:
            return ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1][:300] if lines else ""


def cap(log: Path, limit: int = LOG_LIMIT) -> None:
    """Cut a log down to its newer half once it passes the limit.

    Its writer appends, so it goes on at the new end.
    """
    with suppress(OSError):
        if log.stat().st_size <= limit:
            return
        with log.open("r+b") as file:
            file.seek(-limit // 2, os.SEEK_END)
            newer = file.read()
            file.truncate(0)
            file.seek(0)
            file.write(newer)
