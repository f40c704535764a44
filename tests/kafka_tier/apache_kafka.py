"""Apache Kafka itself on this machine: one KRaft node, from the jars that Maven Central serves.

Needs Java 17 and Maven; the jars are fetched once and kept. Run as a script, `fetch` only fetches, and
`run COMMAND ARGS` starts a broker, runs the command with `KAFKA_BROKER` set, and stops the broker.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from contextlib import suppress
from pathlib import Path
from typing import Final

from connectors.embedded import broker as embedded
from connectors.embedded import lifeline

VERSION: Final = "4.3.1"
SLF4J: Final = "1.7.36"
COPY: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
CACHE: Final = Path(os.environ.get("KAFKA_JARS", Path.home() / ".cache" / "ses-streams")) / f"kafka-{VERSION}"
START_S: Final = 60

POM: Final = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>kafka-jars</artifactId><version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>{SLF4J}</version>
    </dependency>
  </dependencies>
</project>
"""

PROPERTIES: Final = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={logs}
auto.create.topics.enable=false
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=2
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=16777216
"""


class UnavailableError(RuntimeError):
    """Apache Kafka cannot run here; the sentence says what is missing."""


def jars() -> Path:
    """The folder of Kafka's jars, fetched the first time.

    Raises:
        UnavailableError: when Java or Maven is missing, or Maven Central does not answer.
    """
    missing = [name for name in ("java", "mvn") if shutil.which(name) is None]
    if missing:
        raise UnavailableError(
            f"Apache Kafka needs Java 17 and Maven: install {' and '.join(missing)}, or set KAFKA_BROKER"
        )
    if (CACHE / "complete").exists():
        return CACHE / "libs"
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        pom = Path(folder) / "pom.xml"
        pom.write_text(POM)
        command = ["mvn", "-q", "-B", "-f", str(pom), COPY]
        command += ["-DincludeScope=runtime", f"-DoutputDirectory={CACHE / 'libs'}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UnavailableError(f"Maven could not fetch Apache Kafka {VERSION}: {done.stdout[-800:]}")
    (CACHE / "complete").touch()
    return CACHE / "libs"


class ApacheKafka:
    """One broker with a folder of its own; `kill` and `start` again keep its data and its port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.libs = jars()
        self.port, controller = _free_ports(2)
        self.address = f"127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "server.log"
        self.config = folder / "server.properties"
        self.config.write_text(PROPERTIES.format(port=self.port, controller=controller, logs=folder / "logs"))
        self._format()

    def _java(self, *arguments: str, heap: str = "512m") -> list[str]:
        quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        # Serial GC, first compiler tier: on a small machine the broker must not take the cores it serves.
        tuned = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
        return [
            shutil.which("java") or "java",
            f"-Xmx{heap}",
            *tuned,
            quiet,
            "-cp",
            f"{self.libs}/*",
            *arguments,
        ]

    def _format(self) -> None:
        # The first bit is 0, for an id that begins with `-` would be taken for an option.
        cluster = (
            urlsafe_b64encode(bytes([uuid.uuid4().bytes[0] & 0x7F]) + uuid.uuid4().bytes[1:])
            .rstrip(b"=")
            .decode()
        )
        command = self._java(
            "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self.config), heap="128m"
        )
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise UnavailableError(
                f"Kafka's storage could not be formatted: {done.stdout[-400:]} {done.stderr[-400:]}"
            )

    def start(self) -> ApacheKafka:
        """Start, and wait until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                lifeline.wrap(self._java("kafka.Kafka", str(self.config))),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise UnavailableError(f"Kafka did not start: {self.log.read_text(errors='replace')[-800:]}")
            time.sleep(0.1)
        return self

    def _answers(self) -> bool:
        """Whether metadata come with a live broker in them (the port opens before the node is unfenced)."""
        from kafka import KafkaAdminClient

        # First bare: kafka-python leaves the sockets of refused connections open.
        if not embedded.answers(self.port):
            return False
        with suppress(Exception):
            client = KafkaAdminClient(bootstrap_servers=self.address, request_timeout_ms=2000)
            try:
                return bool(client.describe_cluster()["brokers"])
            finally:
                client.close()
        return False

    def kill(self) -> None:
        """Kill -9, as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def main(arguments: list[str]) -> int:
    """`fetch`, or `run COMMAND ARGS`; exit code 75 when Kafka cannot run here."""
    try:
        if arguments[:1] != ["run"]:
            print(jars())  # noqa: T201 - the answer of `fetch`
            return 0
        with tempfile.TemporaryDirectory(prefix="ses-streams-kafka-") as folder:
            kafka = ApacheKafka(Path(folder)).start()
            try:
                environment = os.environ | {"KAFKA_BROKER": kafka.address}
                return subprocess.run(arguments[1:], env=environment, check=False).returncode
            finally:
                kafka.kill()
    except UnavailableError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 75


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
