"""Google's figures in ClickHouse, and beside ours in `campaign_health`."""

from __future__ import annotations

import json
import threading
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.clickhouse.client import open_client
from connectors.errors import ClickHouseError
from connectors.postmaster.client import Api
from connectors.postmaster.daily import due, run_daily
from connectors.postmaster.http import Patience
from connectors.postmaster.table import Table, Written
from connectors.postmaster.wire import Figure
from connectors.settings import Postmaster

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.embedded

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
DAY = date(2026, 11, 20)
FBL = "feedback_loop_spam_rate"


@pytest.fixture
def table(client: Any) -> Table:
    return Table(client, "chdb:///t")


def figure(value: float, identifier: str = "spring", metric: str = FBL, **fields: Any) -> Figure:
    return Figure(fields.get("domain", "a.example"), fields.get("day", DAY), metric, identifier, value)


def stored(client: Any) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = client.query(
        "SELECT domain, day, metric, identifier, value FROM postmaster ORDER BY ALL"
    ).result_rows
    return rows


def test_fetching_again_changes_nothing_but_what_google_corrects(client: Any, table: Table) -> None:
    odd = 'it\'s \\ "%s" {x:String} ü'
    first = [
        figure(0.001),
        figure(0.002, odd),
        figure(0.003, "", "spam_rate"),
        figure(0.001, domain="b.example"),
    ]
    assert table.write(first, NOW) == Written(4, 4, 0)
    before = client.query("SELECT * FROM postmaster ORDER BY ALL").result_rows
    assert table.write(first, NOW + timedelta(days=1)) == Written(4, 0, 0)
    assert client.query("SELECT * FROM postmaster ORDER BY ALL").result_rows == before
    later = [figure(0.5), *first[1:], figure(0.004, day=DAY + timedelta(days=1))]
    # The clock was set back; a correction wins all the same.
    assert table.write(later, NOW - timedelta(days=3)) == Written(5, 1, 1)
    assert ("a.example", DAY, FBL, "spring", 0.5) in stored(client)
    assert len(stored(client)) == 5
    assert table.write([], NOW) == Written(0, 0, 0)


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    runs=st.lists(
        st.dictionaries(
            st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 3)),
            st.sampled_from([0.0, 0.1, 1 / 3]),
            max_size=8,
        ),
        max_size=4,
    )
)
def test_the_last_answer_of_each_day_stands(
    runs: list[dict[tuple[str, int], float]], client: Any, table: Table
) -> None:
    client.command("TRUNCATE TABLE postmaster_rows SYNC")
    right: dict[tuple[str, int], float] = {}
    for number, run in enumerate(runs):
        figures = [figure(value, name, day=DAY + timedelta(days=day)) for (name, day), value in run.items()]
        written = table.write(figures, NOW + timedelta(hours=number))
        assert written.new == len(run.keys() - right.keys())
        assert written.corrected == sum(right.get(key, value) != value for key, value in run.items())
        right |= run
    assert {(row[3], (row[1] - DAY).days): row[4] for row in stored(client)} == right


def test_campaign_health_shows_googles_figures_beside_ours(client: Any, insert: Any, table: Table) -> None:
    hour = int(datetime(2026, 11, 20, 23, tzinfo=UTC).timestamp())
    base = {"dimension": "campaign", "version": 1, "sends": 100, "eligible": 50, "complaints": 1}
    insert(
        "ses.rates",
        [
            *(
                base | {"value": name, "hour": hour + 3600 * late}
                for name in ("spring", "summer")
                for late in (0, 1)
            ),
            base | {"dimension": "feedback_b", "value": "spring", "hour": hour},
        ],
    )
    assert _beside(client, "spring") == [(None, None, None)] * 2, "missing is not 0"
    table.write(
        [
            figure(0.001),
            figure(0.004, domain="b.example"),
            figure(0.0005, "", "spam_rate", domain="b.example"),
            figure(0.9, "", "spam_rate"),
            figure(0.9, "Spring"),
            figure(0.9, "spring", "auth_success_rate"),
        ],
        NOW,
    )
    assert _beside(client, "spring") == [(0.004, "b.example", 0.0005), (None, None, None)]
    assert _beside(client, "summer") == [(None, None, None)] * 2
    table.write([figure(0.0, day=DAY + timedelta(days=1))], NOW)
    assert _beside(client, "spring")[1] == (0.0, "a.example", None)
    ours = client.query("SELECT sum(sends), sum(complaints) FROM campaign_health").result_rows
    assert ours == [(400, 4)], "no row twice"


def _beside(client: Any, campaign: str) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = client.query(
        "SELECT gmail_fbl_spam_rate, gmail_fbl_domain, gmail_domain_spam_rate FROM campaign_health"
        f" WHERE campaign = '{campaign}' ORDER BY hour"
    ).result_rows
    return rows


def test_the_next_asking_is_a_day_after_one_that_succeeded_and_an_hour_after_one_that_did_not(
    table: Table,
) -> None:
    assert due(table) is None
    table.log(NOW, "", Written(0, 0, 0), "Google does not answer")
    assert due(table) == NOW + timedelta(hours=1)
    table.log(NOW + timedelta(hours=1), "a.example", Written(7, 7, 0), "")
    table.log(NOW + timedelta(hours=1), "b.example", Written(0, 0, 0), "no access")
    assert due(table) == NOW + timedelta(hours=25)
    table.log(NOW + timedelta(hours=25), "a.example", Written(0, 0, 0), "")
    assert due(table) == NOW + timedelta(hours=49), "an answer without figures is one"


@pytest.fixture
def unreachable(tmp_path: Path) -> Postmaster:
    """Settings with a sound key, for a Google that is not there."""
    pem = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    info = {"type": "service_account", "client_email": "a@b.example", "private_key": pem.decode()}
    (tmp_path / "key.json").write_text(json.dumps(info | {"token_uri": "http://127.0.0.1:1/token"}))
    return Postmaster(credentials=str(tmp_path / "key.json"), domains=("a.example",), days=3)


def test_what_goes_wrong_is_tried_again_in_an_hour(
    client: Any, table: Table, unreachable: Postmaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.postmaster.daily._LOOK_S", 0.0)
    stop = threading.Event()
    minutes = [0, 10, 59, 61, 62, 120]

    def clock() -> datetime:
        now = NOW + timedelta(minutes=minutes.pop(0))
        if not minutes:
            stop.set()
        return now

    def connect() -> Api:
        return Api(unreachable, patience=Patience(tries=1))

    run_daily(connect, table, unreachable, stop, clock)
    rows = client.query("SELECT time, domain, problem FROM postmaster_fetches ORDER BY time").result_rows
    assert [row[0].replace(tzinfo=UTC) - NOW for row in rows] == [timedelta(0), timedelta(minutes=61)]
    assert all(row[1] == "" and "does not answer" in row[2] for row in rows)


def test_a_database_that_is_not_migrated(engine: Path) -> None:
    client = open_client(f"chdb://{engine}", create=True, database="not_migrated")
    with pytest.raises(ClickHouseError, match="run `ses-streams migrate` first"):
        Table(client, "clickhouse://host/ses")
    client.command("DROP DATABASE not_migrated SYNC")
    client.close()
