"""A replay into an instance that starts anew meanwhile: it goes on where that can be, and says so where it cannot."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from connectors.cli import replay
from connectors.cli.progress import Progress
from connectors.embedded.directory import DataDirectory, Endpoints
from connectors.errors import BrokerError, SourceError
from connectors.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.sockets
# Who imports a client of AWS or of HTTP opens one to see whether there is IPv6.


def endpoints(generation: int) -> Endpoints:
    return Endpoints(os.getpid(), generation, "127.0.0.1:1", "127.0.0.1:1", "t", "", {})


@pytest.fixture
def into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[int]]:
    """Replays a source into an instance that starts anew as soon as it was read from: generations that were used."""
    directory = DataDirectory(tmp_path / "data")
    directory.prepare()

    def replayed(source: str) -> list[int]:
        used: list[int] = []

        def come_back(_: DataDirectory) -> tuple[Endpoints, str]:
            return endpoints(len(used) + 1), ""

        def from_outside(*_: Any) -> int:
            used.append(len(used) + 1)
            directory.publish(endpoints(2))
            if len(used) == 1:
                raise BrokerError("Kafka has gone")
            return 0

        monkeypatch.setattr(replay, "_comes_back", come_back)
        monkeypatch.setattr(replay, "_from_outside", from_outside)
        with directory.hold(60), Progress("x", 0, "KiB") as progress:
            assert replay._into_running(directory, Settings(), [source], replay.Tally(progress)) == 0
        return used

    return replayed


def test_files_are_read_again_by_the_new_generation(
    into: Callable[[str], list[int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "events").write_text("")
    assert into(str(tmp_path / "events")) == [1, 2]
    assert "goes on with it" in capsys.readouterr().err


def test_what_can_be_read_only_once_is_refused(into: Callable[[str], list[int]], tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"standard input .* only once: run the same replay again"):
        into("-")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="pipe"):
        into(str(tmp_path / "pipe"))
    assert replay.can_be_read_again("s3://bucket/prefix")
