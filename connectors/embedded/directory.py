"""The data directory of an embedded instance: who holds it, where its parts answer, its key.

    DIR/                0700
      lock              held (flock(2)) by the one process that runs an instance here, or has chdb open
      instance.json     0600: addresses, process ids and the door's token of the running instance
      pii.key           0600: key of the address hash, made at the first start
      clickhouse/       chdb's files
      logs/             what the parts write

Whether an instance runs is what the lock says, for the kernel drops it when its holder dies;
`instance.json` may be stale.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import hmac
import os
import secrets
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from connectors.errors import InstanceError

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT: Final = Path("ses-streams-data")
_MACHINE_ID: Final = Path("/etc/machine-id")
_APPLICATION: Final = b"ses-streams: recipient addresses"
_POLL_S: Final = 0.05


class Endpoints(Struct, frozen=True):
    """Where a running instance answers; the content of `instance.json`."""

    pid: int
    """Of the supervisor."""
    generation: int
    """Counts up whenever the parts were started anew; clients then connect again."""
    broker: str
    door: str
    """`host:port` of the door to ClickHouse."""
    token: str
    """What the door wants to hear."""
    http: str = ""
    """URL of the HTTP endpoint; empty: none."""
    pids: dict[str, int] = {}
    """Process ids of the parts by name."""


class DataDirectory:
    """One directory; creates it when it is used."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.clickhouse: Final = self.path / "clickhouse"
        self.logs: Final = self.path / "logs"
        self._state: Final = self.path / "instance.json"

    @property
    def dsn(self) -> str:
        """Of the ClickHouse in it."""
        return f"chdb:///{self.clickhouse}"

    def prepare(self) -> None:
        """Create it.

        Raises:
            InstanceError: when it is not a directory we can write to, or its disk is full.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.logs.mkdir(mode=0o700, exist_ok=True)
            _write(self.path / ".probe", b"x" * 4096)
            (self.path / ".probe").unlink()
        except OSError as error:
            raise unusable(self.path, error) from None

    @contextmanager
    def hold(self, wait_s: float = 0.0) -> Iterator[None]:
        """Be the one that runs here.

        Raises:
            InstanceError: when another process is, still after `wait_s`.
        """
        self.prepare()
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            deadline = time.monotonic() + wait_s
            while not _try_lock(descriptor):
                if time.monotonic() >= deadline:
                    raise InstanceError(
                        f"{self.path} is in use by another ses-streams: stop that one, or choose "
                        "another --data"
                    )
                time.sleep(_POLL_S)
            yield
        finally:
            os.close(descriptor)

    def running(self) -> Endpoints | None:
        """The instance that runs here and answers; None when none does, or when it is just starting."""
        try:
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            if _try_lock(descriptor):
                return None
        finally:
            os.close(descriptor)
        with suppress(OSError, msgspec.DecodeError):
            return msgspec.json.decode(self._state.read_bytes(), type=Endpoints)
        return None

    def held(self) -> bool:
        """Whether some process holds it, be it up or just starting."""
        try:
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            return not _try_lock(descriptor)
        finally:
            os.close(descriptor)

    def publish(self, endpoints: Endpoints) -> None:
        """Say where the instance answers, for other commands."""
        try:
            _write(self._state, msgspec.json.format(msgspec.json.encode(endpoints)))
        except OSError as error:
            raise unusable(self.path, error) from None

    def withdraw(self) -> None:
        """Nothing answers any more."""
        self._state.unlink(missing_ok=True)

    def pii_key(self) -> str:
        """The key of the address hash; made when there is none yet."""
        path = self.path / "pii.key"
        try:
            if key := path.read_text("ascii").strip():
                return key
        except FileNotFoundError:
            pass
        except OSError as error:
            raise unusable(path, error) from None
        key = _new_key()
        try:
            _write(path, key.encode())
        except OSError as error:
            raise unusable(self.path, error) from None
        return key


def unusable(path: Path, error: OSError) -> InstanceError:
    """One sentence about a directory that cannot be used."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return InstanceError(f"the disk of {path} is full: free some space, or choose another --data")
    reason = (error.strerror or str(error)).lower()
    return InstanceError(
        f"{path} cannot be written ({reason}): choose another --data, or change its permissions"
    )


def _new_key() -> str:
    """Derived from the machine's id, so that two instances of one machine hash an address alike; else random.

    The id itself is confidential (machine-id(5)), hence an HMAC of it.
    """
    try:
        machine = _MACHINE_ID.read_bytes().strip()
    except OSError:
        machine = b""
    if machine and machine != b"uninitialized":
        return hmac.new(machine, _APPLICATION, hashlib.sha256).hexdigest()
    return secrets.token_hex(32)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _write(path: Path, data: bytes) -> None:
    """Replace a file whole, readable by us alone."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
