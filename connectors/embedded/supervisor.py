"""One for all: when any part of an instance dies, all are stopped and a new generation starts.

The broker forgets and ClickHouse remembers (docs/architecture.md, "What is recomputed, what is
remembered"), so there is one way to recover, and it is the way to start:

    start the broker and the other processes (they load while it starts)
    sink: create the topics, open ClickHouse, migrate, repair, open its door; ready
    worker: read its memory from ClickHouse; ready
    bridge: begin to read sources; ready
    notify: starts now, for nobody waits for it
    … until a part dies, or somebody wants to stop
    stop the bridge, which drains; then worker, notify, sink, broker

A broker that has grown too large is replaced without stopping the bridge, which keeps its place in what it
reads:

    the bridge holds its sources back and drains
    stop worker, notify, sink, broker; start broker, sink, worker and notify as above
    the bridge is told where they are, and lets its sources go on
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final, Protocol

from connectors.embedded import broker
from connectors.embedded.children import Child, cap
from connectors.embedded.directory import DataDirectory, Endpoints
from connectors.errors import InstanceError, SettingsError, SourceError, UserError

if TYPE_CHECKING:
    from connectors.settings import Settings

BROKER_LIMIT: Final = 1_500_000_000
"""Resident bytes of the broker beyond which it is replaced.

It keeps every record it has got, for it cannot trim.
"""
_READY_S: Final = 120.0
"""A part that is neither ready by then nor says anything hangs: repairing a large instance takes tens of seconds."""
_SETTLED_S: Final = 10.0
"""A generation that has been up that long did not fail rapidly."""
_RAPID_FAILURES: Final = 6
_BACKOFF_S: Final = (0.0, 0.2, 0.5, 1.0, 2.0, 4.0)
_DRAIN_S: Final = 8.0
_TERM_S: Final = 5.0
_BEHIND_BRIDGE: Final = ("worker", "notify", "sink", "broker")
"""What is stopped after the bridge, in this order."""
_TICK_S: Final = 0.05
_HOUSEKEEPING_S: Final = 2.0
_HOPELESS: Final = {kind.exit_code: kind for kind in (UserError, SettingsError, SourceError, InstanceError)}
"""What trying again does not cure.

A broker or a ClickHouse that does not answer is what a new generation is for.
"""


class Listener(Protocol):
    """Who runs an instance and wants to know of it. Called from the supervisor's loop: return soon."""

    def up(self, endpoints: Endpoints) -> None:
        """A generation answers."""

    def report(self, part: str, report: dict[str, Any]) -> None:
        """A part says something."""

    def notice(self, sentence: str) -> None:
        """Something a person may want to know: a part died, a new generation starts."""

    def tick(self) -> None:
        """Some 20 times a second while an instance is up."""


class Stop(Enum):
    """What was asked for."""

    NO = auto()
    ORDERLY = auto()
    NOW = auto()


class _PartDied(Exception):  # noqa: N818 - an event, not a mistake
    def __init__(self, part: str, reason: str) -> None:
        super().__init__(reason)
        self.part = part


@dataclass(frozen=True, slots=True)
class Plan:
    """What an instance is to do."""

    directory: DataDirectory
    settings: Settings
    """As the user gave them; the broker's address and ClickHouse's are filled in here."""
    part: tuple[str, ...]
    """The program that is a part of ours; its name and how to report are appended (see `Child`)."""
    tasks: dict[str, Any] = field(default_factory=dict)
    """What else the parts are told: what to replay; whether alarms are delivered (`notify`; not set: they are)."""
    broker_limit: int = BROKER_LIMIT


class Supervisor:
    """Runs an instance in the foreground. The data directory's lock is the caller's to hold.

    Call `run` from a thread that lives as long as the process: on Linux the parts die with it.
    """

    def __init__(self, plan: Plan, listener: Listener) -> None:
        self._plan = plan
        self._listener = listener
        self._children: list[Child] = []
        self._stop = Stop.NO
        self._generation = 0
        self._failures = 0
        self._drained = self._recycling = False

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop: what fails from then on fails because of that."""
        return self._stop is not Stop.NO

    def stop(self) -> None:
        """Stop: in good order the first time, at once the second. Safe in a signal handler."""
        self._stop = Stop.ORDERLY if self._stop is Stop.NO else Stop.NOW

    def run(self) -> None:
        """Run generations until `stop`.

        Raises:
            UserError: when a part says that a person has to do something, or parts keep dying.
        """
        try:
            while self._stop is Stop.NO:
                started = time.monotonic()
                try:
                    self._watch(self._start())
                except _PartDied as death:
                    self._bury(death, time.monotonic() - started)
            self._stop_parts(_DRAIN_S)
        finally:
            self._kill()
            self._plan.directory.withdraw()

    def _start(self) -> Endpoints:
        """Steps of the module's docstring, up to ready."""
        bridge = self._spawn("bridge", list(self._plan.part))
        config = self._start_behind_bridge()
        bridge.tell(config)
        http = self._ready(bridge).get("http", "")
        self._start_notify(config)
        return self._publish(config, http)

    def _start_notify(self, config: dict[str, Any]) -> None:
        if self._plan.tasks.get("notify", True):
            self._spawn("notify", list(self._plan.part)).tell(config)

    def _start_behind_bridge(self) -> dict[str, Any]:
        """Broker, sink and worker; the configuration of the bridge before them."""
        self._generation += 1
        self._drained = self._recycling = False
        port = broker.free_port()
        server = self._spawn("broker", broker.command(port), ours=False)
        sink, worker = (self._spawn(name, list(self._plan.part)) for name in ("sink", "worker"))
        if not broker.wait_for(port, server.process):
            raise _PartDied("broker", "does not answer")
        config: dict[str, Any] = {
            "settings": self._plan.settings,
            "directory": str(self._plan.directory.path),
            "broker": f"{broker.HOST}:{port}",
            "tasks": self._plan.tasks,
        }
        sink.tell(config)
        door = self._ready(sink)
        self._listener.report("sink", door)
        config |= {"door": door["door"], "token": door["token"]}
        worker.tell(config)
        # What lands while the worker reads its memory it would take for counted already.
        self._ready(worker)
        return config

    def _publish(self, config: dict[str, Any], http: str) -> Endpoints:
        endpoints = Endpoints(
            pid=os.getpid(),
            generation=self._generation,
            broker=config["broker"],
            door=config["door"],
            token=config["token"],
            http=http,
            pids={child.name: child.process.pid for child in self._children},
        )
        self._plan.directory.publish(endpoints)
        self._listener.up(endpoints)
        return endpoints

    def _spawn(self, name: str, argv: list[str], *, ours: bool = True) -> Child:
        child = Child(name, self._plan.directory.logs / f"{name}.log", argv, ours=ours)
        self._children.append(child)
        return child

    def _ready(self, child: Child) -> dict[str, Any]:
        """Wait for a part's `ready`, or for the end of any; as long as it says that it goes on."""
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline:
            ready = None
            for report in child.heard():
                if report.get("kind") == "ready":
                    ready = report
                else:
                    self._take(child, report)
                    deadline = time.monotonic() + _READY_S
            if ready is not None:
                return ready
            if self._stop is not Stop.NO:
                raise _PartDied(child.name, "stopped while it started")
            self._look()
            time.sleep(_TICK_S / 2)
        raise _PartDied(child.name, f"was not ready, and said nothing, for {_READY_S:.0f} s")

    def _watch(self, endpoints: Endpoints) -> None:
        """Until somebody wants to stop."""
        began = housekeeping = time.monotonic()
        while self._stop is Stop.NO:
            for child in self._children:
                for report in child.heard():
                    self._take(child, report)
            self._look()
            self._listener.tick()
            now = time.monotonic()
            if now - began > _SETTLED_S:
                self._failures = 0
            if now - housekeeping > _HOUSEKEEPING_S:
                housekeeping = now
                for child in self._children:
                    cap(child.log)
                self._recycle_if_full(endpoints)
            if self._recycling and self._drained:
                endpoints = self._replace_behind_bridge(endpoints)
                housekeeping = time.monotonic()
            time.sleep(_TICK_S)

    def _recycle_if_full(self, endpoints: Endpoints) -> None:
        """Ask the bridge to hold its sources back and to drain, however long that takes."""
        limit = self._plan.broker_limit
        if not self._recycling and broker.resident_bytes(endpoints.pids["broker"]) > limit:
            self._listener.notice("the embedded broker is full: everything drains, then a new one starts")
            self._recycling = True
            self._bridge().tell({"recycle": True})

    def _replace_behind_bridge(self, endpoints: Endpoints) -> Endpoints:
        """All but the bridge anew: it has drained, and keeps its sources waiting until it is told where to.

        It is not heard meanwhile, so that whoever listens finds ClickHouse when it says that it is done.
        """
        self._plan.directory.withdraw()
        for name in _BEHIND_BRIDGE:
            self._stop_part(name, _TERM_S)
        if self._stop is not Stop.NO:
            return endpoints
        config = self._start_behind_bridge()
        told = {name: config[name] for name in ("broker", "door", "token")}
        self._bridge().tell({"recycle": False, **told})
        self._ready(self._bridge())
        self._start_notify(config)
        return self._publish(config, endpoints.http)

    def _bridge(self) -> Child:
        return next(child for child in self._children if child.name == "bridge")

    def _look(self) -> None:
        """Raise for a part that has ended. A broker's death is named first: the others then die of it."""
        for child in sorted(self._children, key=lambda child: child.name != "broker"):
            if not child.alive:
                for report in child.heard():
                    self._take(child, report)
                raise _PartDied(child.name, _how(child))

    def _take(self, child: Child, report: dict[str, Any]) -> None:
        if report.get("kind") == "error" and report.get("code") in _HOPELESS:
            raise _HOPELESS[report["code"]](report["sentence"])
        if report.get("kind") == "drained":
            self._drained = True
        self._listener.report(child.name, report)

    def _bury(self, death: _PartDied, lived_s: float) -> None:
        """Stop what is left; give up when this happens again and again."""
        self._plan.directory.withdraw()
        if self._stop is not Stop.NO:
            return
        tails = {child.name: child.tail() for child in self._children}
        for child in self._children:
            # What a part has said of work that is safe now the next one will not say again.
            for report in child.heard():
                if report.get("kind") == "progress":
                    self._listener.report(child.name, report)
        self._kill()
        self._failures += 1
        if self._failures >= _RAPID_FAILURES:
            raise InstanceError(
                f"the {death.part} keeps dying ({death}; its log ends: {tails.get(death.part) or 'empty'}): "
                f"see {self._plan.directory.logs / death.part}.log"
            )
        self._listener.notice(f"the {death.part} {death} after {lived_s:.0f} s: starting again")
        time.sleep(_BACKOFF_S[min(self._failures, len(_BACKOFF_S)) - 1])

    def _stop_parts(self, drain_s: float) -> None:
        """In good order: the bridge drains, then nobody is asked while somebody upstream still writes."""
        self._plan.directory.withdraw()
        self._stop_part("bridge", drain_s)
        for name in _BEHIND_BRIDGE:
            self._stop_part(name, _TERM_S)

    def _stop_part(self, name: str, patience_s: float) -> None:
        """Ask it to stop, and kill it when it does not. One that has not been started is left alone."""
        for child in [child for child in self._children if child.name == name]:
            if name == "sink":
                child.tell({"drained": self._drained})
            child.ask_to_stop()
            self._wait(child, patience_s)
            child.kill()
            self._children.remove(child)

    def _wait(self, child: Child, patience_s: float) -> None:
        deadline = time.monotonic() + patience_s
        while child.alive and time.monotonic() < deadline and self._stop is not Stop.NOW:
            self._hear(child)
            child.wait(_TICK_S)
        self._hear(child)

    def _hear(self, child: Child) -> None:
        for report in child.heard():
            if report.get("kind") == "drained":
                self._drained = True
            elif report.get("kind") != "error":
                self._listener.report(child.name, report)

    def _kill(self) -> None:
        for child in self._children:
            child.kill()
        self._children = []


def _how(child: Child) -> str:
    code = child.process.returncode
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
