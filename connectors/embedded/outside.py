"""What a part of an instance knows of the world: its configuration, when to stop, and where to report."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

import msgspec

from connectors.embedded import lifeline
from connectors.settings import Secret, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENCODER: Final = msgspec.json.Encoder(enc_hook=str)
_POLL_S: Final = 0.05


class Config(msgspec.Struct, frozen=True):
    """What the supervisor tells a part, once it is known."""

    settings: Settings
    directory: str
    broker: str
    tasks: dict[str, Any]
    door: str = ""
    token: str = ""

    def resolved(self) -> Settings:
        """The settings with this generation's broker in them."""
        kafka = msgspec.structs.replace(self.settings.kafka, brokers=self.broker)
        return msgspec.structs.replace(self.settings, kafka=kafka)


class Outside:
    """Ties this process to its supervisor and listens to it. Make one first thing in the main thread."""

    def __init__(self, parent: int, reports: int) -> None:
        """Tie.

        Args:
            parent: process id of the supervisor.
            reports: file descriptor for what we say to it.
        """
        lifeline.tie_to(parent)
        self._reports = reports
        self._lock = threading.Lock()
        self._told: dict[str, Any] = {}
        self._lines = _lines(sys.stdin.fileno())
        self.stop = threading.Event()
        """Set by SIGTERM, once the configuration has come; before, SIGTERM just ends us."""

    def configured(self) -> Config:
        """Wait for the configuration."""
        line = next(self._lines, None)
        if line is None:
            sys.exit(0)
        config = msgspec.json.decode(line, type=Config, dec_hook=_secret)
        signal.signal(signal.SIGTERM, lambda *_: self.stop.set())
        threading.Thread(target=self._listen, name="supervisor", daemon=True).start()
        return config

    def report(self, kind: str, **facts: Any) -> None:
        """Say something to the supervisor."""
        with self._lock:
            os.write(self._reports, _ENCODER.encode({"kind": kind, **facts}) + b"\n")

    @property
    def drained(self) -> bool:
        """Whether we have been told that everything upstream of us has come through."""
        return bool(self._told.get("drained"))

    @property
    def recycle(self) -> bool:
        """Whether everything behind the bridge is to be replaced."""
        return bool(self._told.get("recycle"))

    def moved(self, config: Config) -> Config | None:
        """Wait until it has been replaced, and where it is now; None when we are to stop before."""
        while self.recycle:
            if self.stop.wait(_POLL_S):
                return None
        told = self._told
        return msgspec.structs.replace(config, broker=told["broker"], door=told["door"], token=told["token"])

    def _listen(self) -> None:
        """Take what else it says; when it is gone, so are we (where the kernel does not see to that)."""
        for line in self._lines:
            self._told = self._told | msgspec.json.decode(line, type=dict[str, Any])
        if not self.stop.is_set():
            os._exit(0)


def _lines(descriptor: int) -> Iterator[bytes]:
    """Lines as they come. Not by `sys.stdin`.

    A thread that waits in it makes the interpreter abort at its end.
    """
    kept = b""
    while data := os.read(descriptor, 65536):
        *lines, kept = (kept + data).split(b"\n")
        yield from lines


def _secret(kind: type, value: Any) -> Any:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise TypeError(f"expected text, got {type(value).__name__}")
