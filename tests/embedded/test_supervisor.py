from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread, Timer
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from connectors.embedded import supervisor
from connectors.embedded.directory import DataDirectory, Endpoints
from connectors.embedded.supervisor import Plan, Supervisor
from connectors.errors import InstanceError, SourceError
from connectors.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.embedded

STAND_IN = (sys.executable, str(Path(__file__).with_name("stand_in.py")))


class Watcher:
    """Acts on each generation that comes up."""

    def __init__(self, *acts: Callable[[Endpoints], None]) -> None:
        self.acts = list(acts)
        self.generations: list[Endpoints] = []
        self.notices: list[str] = []
        self.reports: list[tuple[str, dict[str, Any]]] = []
        self.on_notice: Callable[[str], None] = lambda _: None

    def up(self, endpoints: Endpoints) -> None:
        self.generations.append(endpoints)
        if self.acts:
            self.acts.pop(0)(endpoints)

    def report(self, part: str, report: dict[str, Any]) -> None:
        self.reports.append((part, report))

    def notice(self, sentence: str) -> None:
        self.notices.append(sentence)
        self.on_notice(sentence)

    def tick(self) -> None:
        pass


def make(path: Path, watcher: Watcher, **options: Any) -> Supervisor:
    directory = DataDirectory(path)
    directory.prepare()
    return Supervisor(Plan(directory, Settings(), STAND_IN, **options), watcher)


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("victim", ["broker", "sink", "worker", "bridge", "notify"])
def test_one_death_ends_all_and_a_new_generation_starts(tmp_path: Path, victim: str) -> None:
    watcher = Watcher()
    supervisor = make(tmp_path, watcher)
    watcher.acts = [
        lambda endpoints: os.kill(endpoints.pids[victim], signal.SIGKILL),
        lambda _: supervisor.stop(),
    ]
    supervisor.run()
    first, second = watcher.generations
    assert second.generation == first.generation + 1
    assert not set(first.pids.values()) & set(second.pids.values())
    assert all(gone(pid) for pid in [*first.pids.values(), *second.pids.values()])
    assert victim in watcher.notices[0]


def test_an_orderly_stop_tells_the_sink_that_all_has_come_through(tmp_path: Path) -> None:
    watcher = Watcher()
    supervisor = make(tmp_path, watcher)
    watcher.acts = [lambda _: supervisor.stop()]
    supervisor.run()
    assert (tmp_path / "clean").read_text() == "True"
    assert not (tmp_path / "instance.json").exists()


def test_a_full_broker_is_replaced_and_the_bridge_goes_on(tmp_path: Path) -> None:
    watcher = Watcher()
    supervisor = make(tmp_path, watcher, broker_limit=1)
    published: list[Endpoints | None] = []

    def look_and_stop(_: Endpoints) -> None:
        published.append(msgspec.json.decode((tmp_path / "instance.json").read_bytes(), type=Endpoints))
        supervisor.stop()

    watcher.acts = [lambda _: None, lambda _: None, look_and_stop]
    supervisor.run()
    first, second, third = watcher.generations
    assert first.pids["bridge"] == second.pids["bridge"] == third.pids["bridge"]
    for name in ("broker", "sink", "worker", "notify"):
        assert len({each.pids[name] for each in watcher.generations}) == 3
    assert [each.generation for each in watcher.generations] == [1, 2, 3]
    assert published == [third]
    assert (tmp_path / "clean").read_text() == "True"
    assert all(gone(pid) for each in watcher.generations for pid in each.pids.values())
    moved = [report["broker"] for part, report in watcher.reports if report["kind"] == "moved"]
    assert moved == [second.broker, third.broker]


def test_who_listens_hears_what_the_bridge_said_meanwhile_once_clickhouse_is_back(tmp_path: Path) -> None:
    watcher = Watcher()
    supervisor = make(tmp_path, watcher, broker_limit=1)
    watcher.acts = [lambda _: None, lambda _: supervisor.stop()]
    supervisor.run()
    heard = [(part, report["kind"]) for part, report in watcher.reports]
    assert [each for each in heard if each in {("sink", "ready"), ("bridge", "done")}] == [
        ("sink", "ready"),
        ("sink", "ready"),
        ("bridge", "done"),
    ]


def test_a_bridge_that_dies_while_the_broker_is_replaced_is_a_death_like_any(tmp_path: Path) -> None:
    watcher = Watcher()
    supervisor = make(tmp_path, watcher, broker_limit=1, tasks={"bridge": "dies when drained"})
    watcher.acts = [lambda _: None, lambda _: supervisor.stop()]
    supervisor.run()
    first, second = watcher.generations
    assert not set(first.pids.values()) & set(second.pids.values())
    assert any("the bridge ended with exit code 1" in notice for notice in watcher.notices)


def test_stopping_while_the_broker_is_replaced_takes_no_longer(tmp_path: Path) -> None:
    watcher = Watcher()
    supervisor = make(tmp_path, watcher, broker_limit=1)
    watcher.on_notice = lambda _: Timer(0.2, supervisor.stop).start()
    began = time.monotonic()
    supervisor.run()
    assert len(watcher.generations) == 1
    assert time.monotonic() - began < 10
    assert (tmp_path / "clean").read_text() == "True"


def test_what_a_person_has_to_cure_is_not_tried_again(tmp_path: Path) -> None:
    watcher = Watcher()
    with pytest.raises(SourceError, match="there is no such queue"):
        make(tmp_path, watcher, tasks={"bridge": "hopeless"}).run()
    assert watcher.generations == []


def test_it_gives_up_with_the_name_of_the_part_and_the_end_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.embedded.supervisor._BACKOFF_S", (0.0,))
    watcher = Watcher()
    with pytest.raises(InstanceError, match=r"the worker keeps dying .*out of luck"):
        make(tmp_path, watcher, tasks={"worker": "dies"}).run()
    assert len(watcher.notices) == 5


def test_nothing_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_supervisor import Watcher, make
make(Path({str(tmp_path)!r}), Watcher(lambda e: print(*e.pids.values(), flush=True))).run()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        pids = [int(pid) for pid in supervisor.stdout.readline().split()]
        assert len(pids) == 5
        supervisor.kill()
    assert all(gone(pid) for pid in pids)
    assert (tmp_path / "instance.json").exists(), "it had no chance to remove it"
    assert DataDirectory(tmp_path).running() is None, "the lock says that it is stale"


def test_a_second_request_to_stop_does_not_wait(tmp_path: Path) -> None:
    watcher = Watcher()
    supervisor = make(tmp_path, watcher)

    def freeze_and_stop(endpoints: Endpoints) -> None:
        os.kill(endpoints.pids["bridge"], signal.SIGSTOP)
        supervisor.stop()
        Thread(target=supervisor.stop).start()

    watcher.acts = [freeze_and_stop]
    began = time.monotonic()
    supervisor.run()
    assert time.monotonic() - began < 4


def test_a_part_that_says_that_it_goes_on_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, clock = make(tmp_path, Watcher()), [0.0]

    class Slow:
        name = "worker"

        def __init__(self, *kinds: str) -> None:
            self.kinds = list(kinds)

        def heard(self) -> list[dict[str, Any]]:
            clock[0] += 100
            return [{"kind": self.kinds.pop(0)}] if self.kinds else []

    monkeypatch.setattr(supervisor, "time", SimpleNamespace(monotonic=lambda: clock[0], sleep=lambda _: None))
    slow: Any = Slow("reading", "reading", "reading", "ready")
    assert made._ready(slow) == {"kind": "ready"}
    hanging: Any = Slow("reading")
    with pytest.raises(Exception, match="said nothing, for 120 s"):
        made._ready(hanging)
