"""`providers resolve` from events in ClickHouse, over DNS on the loopback interface, to a table that a bridge reads."""

from __future__ import annotations

import socket
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dns.message
import dns.rcode
import dns.rrset
import pytest

from connectors.cli.main import main
from connectors.clickhouse import door
from connectors.clickhouse.sql import Through
from connectors.embedded.directory import DataDirectory, Endpoints
from connectors.errors import SettingsError
from connectors.providers.mx import LookupFailedError, MxLookup
from connectors.providers.tables import tables_of
from connectors.providers.unknown import UnknownDomain, unknown_domains
from connectors.settings import Counting
from pipelines.intake.mx import Mx
from pipelines.intake.providers import Directory

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.embedded

ZONE = {
    "work.example": ["20 alt1.aspmx.l.google.com.", "10 aspmx.l.google.com."],
    "office.example": ["0 office-example.mail.protection.outlook.com."],
    "own.example": ["10 mx.own.example."],
    "null.example": ["0 ."],
    "empty.example": [],
}


def answered(data: bytes) -> bytes:
    """As an authoritative server answers; SERVFAIL for `broken.example`, NXDOMAIN for what is not in the zone."""
    question = dns.message.from_wire(data)
    response = dns.message.make_response(question)
    name = question.question[0].name
    key = name.to_text(omit_final_dot=True).lower()
    if key == "broken.example":
        response.set_rcode(dns.rcode.SERVFAIL)
    elif key not in ZONE:
        response.set_rcode(dns.rcode.NXDOMAIN)
    elif ZONE[key]:
        response.answer.append(dns.rrset.from_text(name, 60, "IN", "MX", *ZONE[key]))
    return response.to_wire()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a name server that runs for this module."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                data, sender = server.recvfrom(4096)
                if not data:
                    return
                server.sendto(answered(data), sender)

        thread = threading.Thread(target=serve)
        thread.start()
        port = int(server.getsockname()[1])
        yield port
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", port))
        thread.join()


@pytest.fixture
def through(engine: Path, client: Any, database: str) -> Iterator[Through]:
    opened = door.serve(engine, database)
    yield Through(opened.address, opened.token)
    opened.stop()


@contextmanager
def instance(path: Path, through: Through) -> Iterator[str]:
    """A data directory in which an instance seems to run whose door is this one."""
    directory = DataDirectory(path)
    directory.prepare()
    with directory.hold():
        directory.publish(Endpoints(1, 1, "127.0.0.1:1", through.address, through.token))
        yield str(path)


def test_records_as_dns_has_them(port: int) -> None:
    lookup = MxLookup(["127.0.0.1"], port)
    assert lookup.records("work.example") == [Mx(10, "aspmx.l.google.com"), Mx(20, "alt1.aspmx.l.google.com")]
    assert [lookup.records(name) for name in ("null.example", "empty.example", "gone.example")] == [
        [],
        [],
        [],
    ]
    for name in ("broken.example", "a..example", "x" * 300 + ".example"):
        with pytest.raises(LookupFailedError):
            MxLookup(["127.0.0.1"], port, lifetime_s=1.0).records(name)
    with pytest.raises(SettingsError, match="is no IP address"):
        MxLookup(["nowhere"])


def test_unknown_domains_come_with_the_most_recipients_first(
    through: Through, insert: Any, event: Any, to: Any
) -> None:
    def mail(number: int, *domains: str, **fields: Any) -> dict[str, Any]:
        known = {"yahoo.example": "yahoo"}
        rows = [to(known.get(domain, "other"), domain=domain) for domain in domains]
        return event(number, recipients=rows, **fields)

    old = {"sent_time": 1_767_225_600_000 - 9 * 86_400_000}
    rows = [
        mail(1, "a.example", "b.example"),
        mail(2, "b.example", "yahoo.example", event_type="Delivery"),
        mail(3, "b.example", event_type="Open"),
        mail(4, "c.example", **old),
        mail(5, "", sent_time=1_767_225_600_000 + 10**10, future=True),
    ]
    insert("ses.events", rows)
    found = unknown_domains(through, days=7, least=1, limit=10)
    assert found == [UnknownDomain("b.example", 2), UnknownDomain("a.example", 1)]
    assert unknown_domains(through, days=30, least=1, limit=1) == [UnknownDomain("b.example", 2)]
    assert [each.domain for each in unknown_domains(through, days=30, least=1, limit=9)][-1] == "c.example"
    assert unknown_domains(through, days=7, least=3, limit=10) == []


def test_resolve_writes_a_table_that_attributes_later_events(
    *,
    through: Through,
    insert: Any,
    event: Any,
    to: Any,
    port: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["work.example", "office.example", "own.example", "broken.example"]
    insert("ses.events", [event(n, recipients=[to("other", domain=name)]) for n, name in enumerate(names)])
    options = ("--least", "1", "--nameserver", "127.0.0.1", "--port", str(port))

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ses-streams", "providers", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), *capsys.readouterr()

    with instance(tmp_path / "data", through) as data:
        code, _, error = run("resolve", "--data", data, "--out", "hosts.tsv", *options)
        first = Path("hosts.tsv").read_text()
        assert code == 0
        assert "2 of 4 domains have a known host" in error
        assert "1 have none that is known, 1 got no answer" in error
        assert 'set counting.providers_file = "hosts.tsv"' in error
        directory = Directory(tables_of(Counting(providers_file="hosts.tsv")))
        assert [directory.of(name).name for name in names] == ["gmail", "microsoft365", "other", "other"]
        # A domain that the table knows is looked up again, for it is `other` no more in later events.
        monkeypatch.setitem(ZONE, "office.example", ["1 x.mimecast.com."])
        assert run("resolve", "--data", data, "--out", "hosts.tsv", *options)[0] == 0
        second = Path("hosts.tsv").read_text()
        assert set(second.splitlines()) - set(first.splitlines()) == {
            "# MX: mimecast.com",
            "mimecast\tno\toffice.example",
        }
        # What the settings name themselves needs no look-up; without --out the table is printed.
        monkeypatch.setenv("SES_STREAMS_COUNTING__PROVIDERS", '{"work.example" = "gmail"}')
        code, out, _ = run("resolve", "--data", data, *options)
        assert "office.example" in out
        assert "work.example" not in out
    code, out, _ = run("explain", "office.example", "--mx", *options[2:])
    assert code == 1
    assert "x.mimecast.com: mimecast, reports complaints: no" in out
