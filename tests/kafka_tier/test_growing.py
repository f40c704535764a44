"""Topics are given more partitions between two halves of a stream, and the state is rebuilt: nothing counts twice."""

from __future__ import annotations

import gc
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.timeout(900),
    # kafka-python leaves the sockets of attempts that a starting broker refused to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

MORE = 5
CAMPAIGNS = (
    "SELECT campaign, sum(sends), sum(deliveries), sum(hard_bounces), sum(complaints)"
    " FROM campaign_health GROUP BY campaign ORDER BY campaign"
)


def _neighbour(name: str) -> ModuleType:
    """A module beside this file: a test folder is no package."""
    spec = importlib.util.spec_from_file_location(f"growing_{name}", Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[f"growing_{name}"] = module  # dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


apache_kafka, pipeline = _neighbour("apache_kafka"), _neighbour("pipeline")


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Any]:
    """Topics have fixed names, so this has a Kafka of its own."""
    try:
        kafka = apache_kafka.ApacheKafka(tmp_path).start()
    except apache_kafka.UnavailableError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    parts = pipeline.Pipeline(kafka.address, tmp_path)
    try:
        yield parts
    finally:
        parts.stop()
        kafka.kill()
        gc.collect()  # now, while the filters of `pytestmark` hold


def run(parts: Any, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "connectors.cli.main", *arguments, "--data", str(parts.folder)]
    return subprocess.run(
        command,
        env=os.environ | parts.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def feed(parts: Any, bodies: list[bytes]) -> None:
    parts.tend()
    for body in bodies:
        parts.post(body)
    parts.drain()
    assert parts.stop() == dict.fromkeys(pipeline.ROLES, 0), parts.logs()
    parts.parts.clear()


def test_growing_between_two_halves_counts_everything_once(parts: Any) -> None:
    bodies = pipeline.posts()
    half = len(bodies) // 2
    parts.migrate()
    parts.tend()
    for body in bodies[:half]:
        parts.post(body)
    parts.drain()
    refused = run(parts, "rebuild", "rates")
    assert refused.returncode == 4
    assert "the sink and the worker still run: stop" in refused.stderr
    feed(parts, [])

    parts.environment["SES_STREAMS_KAFKA__PARTITIONS"] = str(MORE)
    refused = run(parts, "migrate")
    assert refused.returncode == 4
    assert "see `ses-streams migrate --grow`" in refused.stderr
    grown = run(parts, "migrate", "--grow")
    assert grown.returncode == 0, grown.stderr
    assert "rebuild rates" in grown.stdout
    early = run(parts, "worker")
    assert early.returncode != 0
    assert "rebuild rates" in early.stderr
    rebuilt = run(parts, "rebuild", "rates")
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert rebuilt.stdout.endswith("corrected=0\n")

    # The first half comes again, to other partitions than before.
    feed(parts, bodies)
    assert parts.rows(CAMPAIGNS) == pipeline.truth()
    again = run(parts, "rebuild", "rates")
    assert again.stdout.endswith("corrected=0\n"), again.stderr
