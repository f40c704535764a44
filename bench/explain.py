"""What explaining an alarm takes ClickHouse, beside a month of ten million events (chdb, on disk).

`python bench/explain.py [MILLIONS] [ROUNDS]`: fills a database, a fifth of it by two paths and unmerged, then asks what
an explanation asks, for alarms of a campaign, an account and a tag with evidence of a day and of two weeks. Prints, of
each alarm's queries, the slowest by the clock and by processor time (of two threads), as median and spread.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

from connectors.alarms.explanation import explain
from connectors.alarms.subject import Subject
from connectors.clickhouse.client import open_client
from connectors.clickhouse.migrations import migrate

if TYPE_CHECKING:
    from collections.abc import Sequence

FIRST = 1_767_225_600
DAYS = 30
END = FIRST + DAYS * 86_400
PIECES = 20
SUBJECTS = (
    ("campaign", "c3", "complaint_rate", 0.001),
    ("campaign", "c0", "hard_bounce_rate", 0.05),
    ("account", "111122223333", "complaint_rate", 0.001),
    ("account", "111122223333", "hard_bounce_rate", 0.01),
    ("tag:list", "bought", "complaint_rate", 0.001),
)


def fill(client: Any, events: int) -> None:
    """Five events a message; campaign c3's bought list at yahoo complains."""
    piece = events // PIECES
    for number in range(PIECES):
        client.command(_insert(number * piece, piece, events, "sns"))
    for number in range(PIECES * 4 // 5, PIECES):
        client.command(_insert(number * piece, piece, events, "firehose"))


def _insert(first: int, number: int, events: int, path: str) -> str:
    return f"""
INSERT INTO event_rows (event_id, sent_time, event_time, event_type, message_id, account, region, configuration_set,
    tenant, from_domain, feedback_a, feedback_b, campaign, recipients, bounce_type, bounce_subtype, complaint_type,
    outgoing_ip, link, tags, tagged, origin, smtp_reply, path, arrival_id)
WITH number AS n, intDiv(n, 5) AS m, n % 5 AS k, cityHash64(m, 1) AS h1, cityHash64(m, 2) AS h2,
    cityHash64(m, 3) AS h3, cityHash64(n, 4) AS h4, toUInt32(200 * pow((h1 % 100000) / 100000., 3)) AS c,
    ['gmail', 'yahoo', 'microsoft', 'other', 'apple', 'gmx', 'comcast'][1 + h2 % 7] AS provider,
    if(provider = 'other', concat('d', toString(h2 % 3000), '.example'), concat(provider, '.example')) AS domain,
    c = 3 AND provider = 'yahoo' AND h3 % 3 = 0 AS bad,
    multiIf(k = 0, 'Send', k = 1 AND h4 % 50 = 0, 'Bounce', k = 1, 'Delivery',
        k = 2 AND h4 % 1000 < if(bad, 300, 2) AND provider != 'gmail', 'Complaint', k = 2 AND h4 % 10 < 6, 'Send',
        k = 3 AND h4 % 2 = 0, 'Open', k = 4 AND h4 % 4 = 0, 'Click', 'Delivery') AS type,
    if(type = 'Bounce', concat('550 5.1.1 <u', toString(h4 % 1000000), '@x.example> unknown ', hex(h4)), '') AS reply,
    toInt64(({FIRST} + m * 5 / {events} * {DAYS * 86_400}) * 1000) AS sent
SELECT reinterpretAsFixedString(cityHash64(n, 77)) || reinterpretAsFixedString(n),
    fromUnixTimestamp64Milli(sent), fromUnixTimestamp64Milli(sent + h4 % 100000), type, hex(h1) || hex(h2),
    '111122223333', ['us-east-1', 'eu-west-1'][1 + h3 % 2], concat('set', toString(c % 5)),
    concat('tenant', toString(c % 10)), concat('dom', toString(c % 20), '.example'), concat('c', toString(c)),
    concat('fb', toString(h3 % 3)), concat('c', toString(c)),
    [(hex(h2), domain, provider, provider != 'gmail', false, reply)]::Array(Tuple(address String, domain String,
        provider String, reports_complaints Bool, blocked Bool, smtp_reply String)),
    if(type = 'Bounce', 'Permanent', ''), if(type = 'Bounce', 'General', ''), if(type = 'Complaint', 'abuse', ''),
    if(type = 'Send', '', concat('192.0.2.', toString(h3 % 20))),
    if(type = 'Click', concat('https://shop.example/', toString(h4 % 7)), ''),
    [('ses:feedback-id-a', [concat('c', toString(c))]), ('list', [if(bad, 'bought', concat('l', toString(h2 % 4)))]),
        ('user', [toString(h1 % 1000000)])]::Array(Tuple(name String, values Array(String))),
    true, 'event', reply, '{path}', toInt64(n)
FROM numbers_mt({first}, {number})
"""


def slowest(client: Any, subject: Subject) -> tuple[float, float, int]:
    """Seconds of the slowest query by the clock and of the processor, and how many drivers were found."""
    times: list[tuple[float, float]] = []

    def ask(sql: str) -> Sequence[Sequence[Any]]:
        clock, processor = time.perf_counter(), time.process_time()
        rows: Sequence[Sequence[Any]] = client.query(sql, settings={"max_threads": 2}).result_rows
        times.append((time.perf_counter() - clock, time.process_time() - processor))
        return rows

    found = explain(subject, ask)
    return max(each[0] for each in times), max(each[1] for each in times), len(found["drivers"])


def main() -> None:
    millions = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    with tempfile.TemporaryDirectory() as folder:
        client = open_client(f"chdb://{folder}/data", create=True)
        migrate(client)
        fill(client, int(millions * 1e6))
        # Else merges of what was filled are measured as well: they run in this process.
        client.command("SYSTEM STOP MERGES event_rows")
        for dimension, value, signal, limit in SUBJECTS:
            for days in (1, 14):
                subject = Subject(dimension, value, signal, limit, END - days * 86_400, END)
                runs = [slowest(client, subject) for _ in range(rounds)]
                clock, processor = [each[0] for each in runs], [each[1] for each in runs]
                print(
                    f"{signal} of {dimension} {value}, {days} d: {statistics.median(clock):.2f} s"
                    f" ({min(clock):.2f} to {max(clock):.2f}), processor {statistics.median(processor):.2f} s"
                    f" ({min(processor):.2f} to {max(processor):.2f}), {runs[0][2]} drivers",
                    flush=True,
                )
        client.close()


if __name__ == "__main__":
    main()
