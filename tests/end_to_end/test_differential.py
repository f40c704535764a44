"""The same events counted twice: as they stream by, and by plain SQL over `events`. No row of `rates` may differ.

The SQL here is written from the table of counters, not from the code; `make test-differential` runs it
on millions.
"""

from __future__ import annotations

import gzip
import os
import random
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from connectors.simulator import wire
from connectors.simulator.traffic import Traffic

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.embedded, pytest.mark.timeout(3600)]

NOW_MS = 1_790_000_000_000
DAY_MS = 86_400_000
FILE_EVENTS = 50_000

DIMENSIONS = {
    "account": "account",
    "region": "region",
    "tenant": "tenant",
    "configuration_set": "configuration_set",
    "from_domain": "from_domain",
    "feedback_a": "feedback_a",
    "feedback_b": "feedback_b",
    "feedback_c": "feedback_c",
    "feedback_ab": "if(feedback_a = '' OR feedback_b = '', '', feedback_a || ':' || feedback_b)",
    "campaign": "campaign",
    "provider": "who.provider",
    "provider_campaign": "if(who.provider = '' OR campaign = '', '', who.provider || ':' || campaign)",
    "outgoing_ip": "outgoing_ip",
}
SUPPRESSED = "subtype IN ('OnAccountSuppressionList', 'OnTenantSuppressionList')"
COUNTERS = {
    "sends": f"toInt64(countIf(there AND event_type = 'Send')) - toInt64(countIf(there AND {SUPPRESSED}))",
    "deliveries": "countIf(there AND event_type = 'Delivery')",
    "eligible": "countIf(there AND event_type = 'Delivery' AND who.reports_complaints)",
    "complaints": "countIf(once AND event_type = 'Complaint' AND complaint_type != 'not-spam'"
    f" AND NOT {SUPPRESSED})",
    "hard_bounces": "countIf(there AND event_type = 'Bounce' AND bounce_type = 'Permanent'"
    f" AND NOT {SUPPRESSED})",
    "soft_bounces": "countIf(there AND event_type = 'Bounce' AND bounce_type != 'Permanent'"
    " AND NOT out_of_office)",
    "suppressed": f"countIf(there AND {SUPPRESSED})",
    "rejects": "countIf(once AND event_type = 'Reject')",
    "rendering_failures": "countIf(once AND event_type = 'Rendering Failure')",
    "delays": "countIf(there AND event_type = 'DeliveryDelay')",
    "opens": "countIf(once AND event_type = 'Open' AND NOT machine_open)",
    "clicks": "countIf(once AND event_type = 'Click')",
    "machine_opens": "countIf(once AND event_type = 'Open' AND machine_open)",
    "unsubscribes": "countIf(once AND event_type = 'Subscription' AND unsubscribed)",
    "blocks": "countIf(there AND event_type IN ('Bounce', 'DeliveryDelay') AND who.blocked)",
}


def counted_sql() -> str:
    """(dimension, value, hour) and counters, from the events."""
    counters = ",\n    ".join(f"{rule} AS {name}" for name, rule in COUNTERS.items())
    pairs = ", ".join(f"('{name}', toString({value}))" for name, value in DIMENSIONS.items())
    return f"""
SELECT pair.1 AS dimension, pair.2 AS value, toStartOfHour(sent_time) AS hour,
    {counters}
FROM
(
    SELECT *, who, who.address != '' AS there, place <= 1 AS once,
        if(event_type = 'Complaint', complaint_subtype, bounce_subtype) AS subtype
    FROM events LEFT ARRAY JOIN recipients AS who, arrayEnumerate(recipients) AS place
)
ARRAY JOIN [{pairs}] AS pair
WHERE pair.2 != '' AND (tagged OR pair.1 IN ('account', 'region', 'from_domain', 'provider'))
GROUP BY dimension, value, hour
HAVING {" + ".join(f"abs({name})" for name in COUNTERS)} > 0
"""


def differences_sql() -> str:
    """Rows that the two counts do not agree on."""
    off = " OR ".join(f"c.{name} != r.{name}" for name in COUNTERS)
    both = ", ".join(f"c.{name}, r.{name}" for name in COUNTERS)
    return f"""
SELECT dimension, value, hour, {both}
FROM ({counted_sql()}) AS c
FULL OUTER JOIN (SELECT * REPLACE (toString(dimension) AS dimension) FROM rates) AS r USING (dimension, value, hour)
WHERE {off}
ORDER BY dimension, value, hour LIMIT 20
"""


def archive(root: Path, events: int, days: int, seed: int = 11) -> int:
    """Files of events of so many days in no order, one event in five twice; the number of events."""
    rng = random.Random(seed)
    root.mkdir()
    number = max(2, events // FILE_EVENTS)
    traffic = Traffic(seed, NOW_MS, events, span_ms=days * DAY_MS)
    with ExitStack() as stack:
        files = [
            stack.enter_context(gzip.open(root / f"{at:04d}.gz", "wb", compresslevel=1))
            for at in range(number)
        ]
        for event in traffic:
            for _ in range(rng.choice((1, 1, 1, 1, 2))):
                rng.choice(files).write(wire.bare(event))
    for path in sorted(root.iterdir()):
        lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
        rng.shuffle(lines)
        path.write_bytes(gzip.compress(b"".join(lines), compresslevel=1))
    return traffic.truth.events


def sums_sql() -> str:
    """How many (dimension, hour)s of campaigns or providers do not sum to the account's."""
    sums = ", ".join(f"sum({name})" for name in COUNTERS)
    return f"""
SELECT count() FROM
(
    SELECT dimension, hour, [{sums}] AS total FROM rates
    WHERE dimension IN ('account', 'campaign', 'provider') GROUP BY dimension, hour
) AS whole
INNER JOIN
(
    SELECT hour, [{sums}] AS total FROM rates WHERE dimension = 'account' GROUP BY hour
) AS account USING (hour)
WHERE whole.total != account.total
"""


@pytest.mark.parametrize(
    "events",
    [
        10_000,
        pytest.param(int(os.environ.get("EVENTS", "100000")), id="many", marks=pytest.mark.chaos),
    ],
)
def test_rates_are_what_plain_sql_counts(cli: Any, tmp_path: Path, events: int) -> None:
    made = archive(tmp_path / "archive", events, days=30)
    data = tmp_path / "data"
    done = cli.run("replay", str(tmp_path / "archive"), "--data", str(data), "--once", timeout=3000)
    assert done.returncode == 0, done.stderr.decode()
    assert cli.Line.of(done.stdout.decode()).accepted == made
    assert cli.sql(differences_sql(), data, "PrettyCompact").decode() == ""
    limits = "max(complaint_rate) <= 1 AND max(hard_bounce_rate) <= 1 AND min(complaint_rate) >= 0"
    facts = f"SELECT (SELECT count() FROM events), {limits}, ({sums_sql()}), count() > 9999 FROM rates"
    assert cli.sql(facts, data).split() == [str(made).encode(), b"1", b"0", b"1"]
