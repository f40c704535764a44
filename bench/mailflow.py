"""How many received mails a second one core takes from bytes to rows in ClickHouse, joined into threads.

`python bench/mailflow.py [rounds]`. In this process, without Kafka: the mails of `inbound.py` (52 KB, with a file) are
read into rows and blocks; the blocks are read and joined as the thread agent does it; mails and members of threads are
inserted as the sink does it (chdb, on disk). Processor time of the whole process, ClickHouse's threads included, by
stage; then with the files kept in a directory as well.
"""

from __future__ import annotations

import os
import resource
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("POLARS_MAX_THREADS", "1")

from inbound import mail

from connectors.attachments.directory import DirectoryStore
from connectors.clickhouse.client import open_client
from connectors.clickhouse.inserts import insert_blocks, target_of
from connectors.clickhouse.migrations import migrate
from pipelines.intake.provenance import Provenance
from pipelines.intake.providers import Directory
from pipelines.mail.policy import MailPolicy
from pipelines.mail.reading import MailReader
from pipelines.threads import mails as reading
from pipelines.threads import members
from pipelines.threads.join import Received, Threads, join_mails
from schemas import topics
from schemas.blocks import encode, open_block

MAILS = 1000
CLOCK = 1_900_000_000_000 // 3_600_000


def spent() -> float:
    """Seconds of processor time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Flow:
    """All stages."""

    def __init__(self, client: Any, folder: Path) -> None:
        self._client = client
        self._reader = MailReader(MailPolicy(directory=Directory(), pii_key=b"bench"))
        self._state = Threads(apart=False)
        self._store = DirectoryStore(folder, days=90)

    def run(self, raws: list[bytes], number: int) -> dict[str, float]:
        """Seconds by stage."""
        took = {}
        began = spent()
        found = [
            self._reader.read(raw, None, Provenance(f"s3://mails/{number}/{at}", 0, "s3"), path="s3")
            for at, raw in enumerate(raws)
        ]
        rows = [each.mail for each in found]
        blocks = [encode("inbound_mail", rows[at : at + 100]) for at in range(0, len(rows), 100)]
        took["read"] = spent() - began
        began = spent()
        told = []
        for at, block in enumerate(blocks):
            batch = [Received(at, row) for row in reading.read(open_block(block))]
            join_mails(self._state, batch, CLOCK)
            told += [members.row(fact, thread) for fact, thread in self._state.graph.tell()]
        of_threads = [encode("thread_member", told[at : at + 500]) for at in range(0, len(told), 500)]
        took["join"] = spent() - began
        began = spent()
        for topic, record, values in (
            (topics.INBOUND, "inbound_mail", blocks),
            (topics.THREADS, "thread_member", of_threads),
        ):
            insert_blocks(self._client, target_of(topic, record), [open_block(value) for value in values])
        took["insert"] = spent() - began
        began = spent()
        for each in found:
            for content in each.contents:
                self._store.put(content)
        took["files"] = spent() - began
        return took


def main() -> None:
    """Measure."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as folder:
        client = open_client(f"chdb://{folder}/clickhouse", create=True)
        migrate(client)
        flow = Flow(client, Path(folder, "files"))
        measured = [
            flow.run([mail(number * MAILS + at) for at in range(MAILS)], number)
            for number in range(rounds + 1)
        ]
        found = int(client.command("SELECT count() FROM mails"))
        client.close()
    if found != (rounds + 1) * MAILS:
        raise SystemExit(f"{found} mails in ClickHouse")
    for stage in ("read", "join", "insert", "files"):
        each = [1000 * took[stage] / MAILS for took in measured[1:]]
        print(f"{stage:>7}: {statistics.median(each):.2f} ms a mail ({min(each):.2f} to {max(each):.2f})")
    rates = [MAILS / (took["read"] + took["join"] + took["insert"]) for took in measured[1:]]
    print(
        f"read, joined and inserted: {statistics.median(rates):,.0f} mails/s of one core"
        f" ({min(rates):,.0f} to {max(rates):,.0f}), {rounds} rounds of {MAILS:,}"
    )
    rates = [MAILS / sum(took.values()) for took in measured[1:]]
    print(
        f"and their files kept: {statistics.median(rates):,.0f} mails/s ({min(rates):,.0f} to {max(rates):,.0f})"
    )


if __name__ == "__main__":
    main()
