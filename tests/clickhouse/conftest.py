"""One chdb engine for the whole session (a process can hold only one), a database of its own for each test."""

from __future__ import annotations

import sys
import threading
import time
import warnings
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

with warnings.catch_warnings():
    # kafka-python reads its schemas through deprecated functions of importlib.resources while it is imported.
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka import KafkaProducer

from connectors import kafka as kafka_clients
from connectors.clickhouse import door
from connectors.clickhouse.client import Client, open_client
from connectors.clickhouse.inserts import TARGETS, insert_blocks
from connectors.clickhouse.migrations import migrate
from connectors.clickhouse.sql import Through
from connectors.settings import Settings
from connectors.watch.ledger import all_alarms
from connectors.watch.rounds import Policy
from connectors.watch.watch import Watch
from pipelines.alarms.rules_file import RulesFile
from schemas.blocks import SINGLE_OBJECT, encode, open_block

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from connectors.settings import Kafka

# The model of the worker serves here too: a test folder is no package.
sys.path.insert(0, str(Path(__file__).parents[1] / "worker"))
SENT = 1_767_225_600_000
"""2026-01-01T00:00:00Z in ms."""


class Beside:
    """A part that runs in a thread until it is told to stop, or dies."""

    def __init__(self, part: Any) -> None:
        self.part = part
        self.error: BaseException | None = None
        self.stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.part.run(self.stop)
        except BaseException as error:  # noqa: BLE001 - handed to the test
            self.error = error

    def join(self) -> None:
        """Have it stop."""
        self.stop.set()
        self.ends()

    def ends(self) -> None:
        """Wait until it has ended."""
        self._thread.join(60)
        assert not self._thread.is_alive()


@pytest.fixture
def beside(kafka: Kafka, client: Client) -> Iterator[Callable[[Any], Beside]]:
    """Starts something with a `run(stop)`, and stops it at the end."""
    running: list[Beside] = []

    def start(part: Any) -> Beside:
        running.append(Beside(part))
        return running[-1]

    yield start
    for each in running:
        each.join()


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory of the session's chdb, kept open."""
    path = tmp_path_factory.mktemp("chdb")
    keeper = open_client(f"chdb://{path}", create=True)
    yield path
    keeper.close()


class Databases:
    """Migrated databases, each lent to one test at a time.

    Emptying one takes a few ms, migrating one half a second. One whose schema a test has changed is not lent again.
    """

    def __init__(self, engine: Path) -> None:
        self._dsn = f"chdb://{engine}"
        self._made: dict[str, list[Any]] = {}
        self._free: list[str] = []

    def take(self) -> str:
        if self._free:
            return self._free.pop()
        name = f"t{len(self._made)}"
        with closing(open_client(self._dsn, create=True, database=name)) as client:
            migrate(client)
            self._made[name] = self._schema(client)
        return name

    def give_back(self, name: str) -> None:
        with closing(open_client(self._dsn, create=True, database=name)) as client:
            if self._schema(client) != self._made[name]:
                client.command(f"DROP DATABASE {name} SYNC")
                return
            rows = "SELECT name FROM system.tables WHERE database = currentDatabase() AND total_rows > 0"
            for (table,) in client.query(rows).result_rows:
                if table != "schema_migrations":
                    client.command(f"TRUNCATE TABLE {table} SYNC")
        self._free.append(name)

    @staticmethod
    def _schema(client: Client) -> list[Any]:
        made = "SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase() ORDER BY name"
        tables = list(client.query(made).result_rows)
        if not any(name == "schema_migrations" for name, _ in tables):
            return tables
        applied = "SELECT name, checksum FROM schema_migrations ORDER BY ALL"
        return tables + list(client.query(applied).result_rows)


@pytest.fixture(scope="session")
def databases(engine: Path) -> Databases:
    return Databases(engine)


@pytest.fixture
def database(databases: Databases) -> Iterator[str]:
    """A migrated, empty database of the test's own."""
    name = databases.take()
    yield name
    databases.give_back(name)


@pytest.fixture
def target(engine: Path, database: str, client: Client) -> Iterator[Through]:
    """The test's own database, asked as commands ask a running instance."""
    opened = door.serve(engine, database)
    yield Through(opened.address, opened.token)
    opened.stop()


@pytest.fixture
def client(engine: Path, database: str) -> Iterator[Client]:
    """A client of a migrated database of the test's own."""
    client = open_client(f"chdb://{engine}", database=database)
    yield client
    client.close()


@pytest.fixture(scope="session")
def event() -> Callable[..., dict[str, Any]]:
    """Makes an event: `event(7, event_type="Bounce", …)`; the number is its identity."""

    def make(number: int, **fields: Any) -> dict[str, Any]:
        row = {
            "event_id": number.to_bytes(16, "big"),
            "event_type": "Send",
            "event_time": SENT + 1000,
            "sent_time": SENT,
            "message_id": f"m{number}",
            "account": "111122223333",
            "region": "eu-west-1",
            "from_domain": "shop.example",
            "campaign": "spring",
            "recipients": [recipient()],
            "tagged": True,
            "origin": "event",
            "path": "sns",
            "arrival_id": number,
        }
        return row | fields

    return make


def recipient(provider: str = "yahoo", **fields: Any) -> dict[str, Any]:
    row = {"address": "a", "domain": f"{provider}.example", "provider": provider, "reports_complaints": True}
    return {**row, "blocked": False, "smtp_reply": "", **fields}


@pytest.fixture(scope="session")
def to() -> Callable[..., dict[str, Any]]:
    """Makes a recipient: `to("gmail", reports_complaints=False)`."""
    return recipient


@pytest.fixture
def insert(client: Client) -> Callable[..., None]:
    """Inserts rows as the sink would: `insert("ses.events", rows)`; of several records of a topic, the one named."""

    def run(topic: str, rows: Sequence[Mapping[str, Any]], record: str = "") -> None:
        target = next(each for each in TARGETS[topic] if record in ("", each.record))
        if rows:
            insert_blocks(client, target, [open_block(encode(target.record, rows))])

    return run


@pytest.fixture
def contents(client: Client) -> Callable[[str], str]:
    """All rows of a view as text, sorted."""

    def read(view: str) -> str:
        lines: list[str] = (
            client.raw_query(f"SELECT * FROM {view}", fmt="JSONEachRow").decode(errors="replace").splitlines()
        )
        return "\n".join(sorted(lines))

    return read


@pytest.fixture
def send(kafka: Kafka) -> Iterator[Callable[..., None]]:
    producer = KafkaProducer(**kafka_clients.client_options(kafka))

    def run(topic: str, value: bytes, partition: int = 0) -> None:
        producer.send(topic, value, partition=partition).get(10)

    yield run
    producer.close()


class Watching:
    """Watches of some rules, one after the other, that look all the time."""

    _POLICY = Policy(look_s=0.05, survey_s=0.05, hear_s=0.02, again_s=0.1, grace_s=0)

    def __init__(self, kafka: Kafka, target: Through, rules: Path) -> None:
        self._kafka = kafka
        self._target = target
        self._rules = rules
        self._running: tuple[threading.Event, threading.Thread] | None = None

    def watch(self, clock: Callable[[], float] = time.time) -> Watch:
        """Start one."""
        rules = RulesFile(self._rules)
        watch = Watch(Settings(kafka=self._kafka), rules, self._target, policy=self._POLICY, clock=clock)
        stop = threading.Event()
        thread = threading.Thread(target=watch.run, args=(stop,), daemon=True)
        thread.start()
        self._running = stop, thread
        return watch

    def stop(self) -> None:
        """Stop the one that runs."""
        if self._running:
            self._running[0].set()
            self._running[1].join(60)
            assert not self._running[1].is_alive()
            self._running = None

    def alarms(self, signal: str) -> list[Any]:
        """What Kafka has of a signal."""
        found = all_alarms(self._kafka, SINGLE_OBJECT, lambda: False)
        return [alarm for alarm in found if alarm["signal"] == signal]

    @staticmethod
    def until(condition: Callable[[], bool]) -> None:
        """Wait for something."""
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def surveyed(self, watch: Watch) -> None:
        """Wait until ClickHouse has been asked anew, without trouble."""
        enough = watch.numbers.surveys + 2
        self.until(lambda: watch.numbers.surveys >= enough)
        assert "surveys" not in watch.numbers.troubles


@pytest.fixture
def watching(kafka: Kafka, tmp_path: Path) -> Iterator[Callable[[Through, str], Watching]]:
    """Makes a place for watches: `watching(target, rules)`."""
    made: list[Watching] = []

    def make(target: Through, rules: str) -> Watching:
        path = tmp_path / "rules.toml"
        path.write_text(rules)
        made.append(Watching(kafka, target, path))
        return made[-1]

    yield make
    for each in made:
        each.stop()
