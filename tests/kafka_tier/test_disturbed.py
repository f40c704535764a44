"""Kill -9 of each part, and of Kafka, while events stream by: the views are those of an undisturbed run."""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

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

VIEWS = {
    "events": "SELECT * FROM events ORDER BY event_id",
    "rates": "SELECT * FROM rates ORDER BY dimension, value, hour",
    "campaign_health": "SELECT * FROM campaign_health ORDER BY campaign, hour",
    "dead_letters": "SELECT count() FROM dead_letters",
    "campaigns": "SELECT campaign, sum(sends), sum(deliveries), sum(hard_bounces), sum(complaints)"
    " FROM campaign_health GROUP BY campaign ORDER BY campaign",
}
Views = dict[str, list[list[str]]]


def _neighbour(name: str) -> ModuleType:
    """A module beside this file: a test folder is no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


apache_kafka, pipeline = _neighbour("apache_kafka"), _neighbour("pipeline")


@contextmanager
def kafka_of_its_own(folder: Path) -> Iterator[object]:
    """Topics have fixed names, so each run has its own; the one of KAFKA_BROKER is not ours to kill."""
    try:
        kafka = apache_kafka.ApacheKafka(folder).start()
    except apache_kafka.UnavailableError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    try:
        yield kafka
    finally:
        kafka.kill()
        gc.collect()  # now, while the filters of `pytestmark` hold


def run(folder: Path, *victims: str) -> Views:
    """Feed everything, killing the victims in turn, each twice; what the views then hold."""
    with kafka_of_its_own(folder) as kafka:
        parts = pipeline.Pipeline(kafka.address, folder)
        parts.migrate()
        parts.tend()
        bodies = pipeline.posts()
        share = len(bodies) // (2 * len(victims) + 1)
        moments = {(at + 1) * share: victim for at, victim in enumerate(victims * 2)}
        try:
            for number, body in enumerate(bodies):
                victim = moments.get(number, "")
                if victim == "kafka":
                    kafka.kill()
                    kafka.start()
                elif victim:
                    parts.kill(victim)
                parts.tend()
                parts.post(body)
            parts.drain()
        finally:
            codes = parts.stop()
        assert codes == dict.fromkeys(pipeline.ROLES, 0), parts.logs()
        assert all(parts.starts[victim] >= 3 for victim in victims if victim in pipeline.ROLES)
        return {name: parts.rows(query) for name, query in VIEWS.items()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Views:
    return run(tmp_path_factory.mktemp("undisturbed"))


def test_an_undisturbed_run_counts_what_was_sent(undisturbed: Views) -> None:
    assert len(undisturbed["events"]) == len(pipeline.events())
    assert undisturbed["dead_letters"] == [["0"]]
    assert undisturbed["campaigns"] == pipeline.truth()


@pytest.mark.parametrize("victims", [("bridge", "worker"), ("sink", "kafka")], ids=" and ".join)
def test_killed_parts_change_no_view(tmp_path: Path, undisturbed: Views, victims: tuple[str, str]) -> None:
    disturbed = run(tmp_path, *victims)
    for name in VIEWS:
        assert disturbed[name] == undisturbed[name], name
