"""Children that do not outlive their parent, even when it is killed with SIGKILL.

On Linux the kernel sends the child SIGKILL when its parent dies (prctl(2), PR_SET_PDEATHSIG). Elsewhere the
child
holds the read end of a pipe whose write end only the parent has: end of file means that the parent is gone.

Run as a script it becomes a program that knows nothing of this: `lifeline.py PARENT_PID PROGRAM ARGUMENT…`.
It imports nothing of ours, so that it starts in milliseconds.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Thread
from typing import Final, NoReturn

_PR_SET_PDEATHSIG: Final = 1
_ORPHANED: Final = 70
"""Exit code of a child whose parent was gone before it could tie itself to it."""
_LINUX: Final = sys.platform == "linux"


def wrap(argv: list[str]) -> list[str]:
    """The command that runs a program tied to this process. Its standard input must be a pipe of ours."""
    return [sys.executable, "-I", "-S", str(Path(__file__)), str(os.getpid()), *argv]


def tie_to(parent: int) -> None:
    """Die with the process `parent`, from now on.

    On Linux this follows the *thread* that started us: a supervisor starts its children from one that lives
    as long as itself. Elsewhere the caller watches its standard input, see `watch`.
    """
    if _LINUX:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        # It died between fork and prctl: no signal will come any more.
        os._exit(_ORPHANED)


def watch(stream: int, child: subprocess.Popen[bytes] | None = None) -> None:
    """Read a file descriptor to its end, in the background; then kill `child` and leave."""

    def wait() -> None:
        while os.read(stream, 4096):
            pass
        if child is not None:
            child.kill()
        os._exit(_ORPHANED)

    Thread(target=wait, name="lifeline", daemon=True).start()


def _main() -> NoReturn:
    parent, argv = int(sys.argv[1]), sys.argv[2:]
    tie_to(parent)
    if _LINUX:
        os.execv(argv[0], argv)  # noqa: S606 - the program and its arguments come from our parent
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    watch(0, child)
    sys.exit(child.wait())


if __name__ == "__main__":
    _main()
