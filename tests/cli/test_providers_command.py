"""`providers explain` and `list`: what a person is told, under which settings, and with which exit code."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

import connectors.cli.wiring  # noqa: F401 - urllib3 opens a socket when it is first imported
from connectors.cli.main import main
from connectors.errors import SettingsError
from connectors.providers.explanation import domain_in, explain
from connectors.providers.mx import LookupFailedError
from connectors.providers.resolved import MARK, merged, previous, render, resolve, write
from connectors.providers.tables import tables_of
from connectors.settings import Counting
from pipelines.intake.mx import Mx
from pipelines.intake.providers import Directory, Entry, Provider, parse

if TYPE_CHECKING:
    from pathlib import Path


class Records:
    """A lookup that knows some answers; an absent one is none, None is no answer at all."""

    def __init__(self, **hosts: str | None) -> None:
        self._hosts = {name.replace("_", "."): host for name, host in hosts.items()}

    def records(self, domain: str) -> list[Mx]:
        host = self._hosts.get(domain, "")
        if host is None:
            raise LookupFailedError
        return [Mx(10, host)] if host else []


@pytest.fixture
def said(said_by: Any) -> Any:
    """Runs the command: its exit code, standard output and standard error."""
    return said_by("providers")


def test_a_known_domain_is_explained_with_its_source(said: Any) -> None:
    code, out, _ = said("explain", "Reader@GMAIL.com")
    assert code == 0
    assert "providers.tsv has gmail.com" in out
    assert "counts as eligible  no" in out
    assert "support.google.com" in out


def test_a_parent_in_the_table_is_named(said: Any) -> None:
    code, out, _ = said("explain", "tampabay.rr.com")
    assert (code, "has .rr.com, every domain below" in out) == (0, True)


@pytest.mark.parametrize(("setting", "eligible"), [("false", "no"), ("true", "yes")])
def test_an_unknown_domain_is_as_eligible_as_the_setting_says(
    said: Any, monkeypatch: pytest.MonkeyPatch, setting: str, eligible: str
) -> None:
    monkeypatch.setenv("SES_STREAMS_COUNTING__UNKNOWN_PROVIDERS_REPORT", setting)
    code, out, _ = said("explain", "nobody.example", "yahoo.com")
    assert code == 1
    assert f"counts as eligible  {eligible} (counting.unknown_providers_report = {setting})" in out
    assert "reports complaints  not known" in out
    assert "--mx" in out


def test_json_has_a_line_a_domain(said: Any) -> None:
    code, out, _ = said("explain", "--format", "json", "yahoo.com", "nobody.example")
    rows = [json.loads(line) for line in out.splitlines()]
    assert (code, [row["provider"] for row in rows]) == (1, ["yahoo", "other"])
    assert [(row["reports_complaints"], row["eligible"]) for row in rows] == [(True, True), (None, False)]


@pytest.mark.parametrize("text", ["@@", "localhost", "", ".example.com", "a b.example", "x@"])
def test_what_is_no_domain_is_refused(said: Any, text: str) -> None:
    code, out, error = said("explain", text)
    assert (code, out) == (2, "")
    assert "is no domain and no address" in error


def test_addresses_and_names_beyond_ascii_are_domains() -> None:
    assert domain_in("Jo <jo@Bücher.example>") == "xn--bcher-kva.example"
    assert domain_in(" Example.COM. ") == "example.com"


def test_settings_and_a_file_come_before_the_programs_table(
    said: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mine.tsv").write_text(
        "# Asked them.\nacme\tyes\t.acme.example yahoo.com\ngmail\tno\tx.example\n"
    )
    monkeypatch.setenv("SES_STREAMS_COUNTING__PROVIDERS", '{"x.example" = "acme", "aol.com" = "other"}')
    monkeypatch.setenv("SES_STREAMS_COUNTING__PROVIDERS_FILE", "mine.tsv")
    code, out, _ = said("explain", "--format", "json", "x.example", "yahoo.com", "a.acme.example", "aol.com")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 1
    assert [(row["provider"], row["table"], row["eligible"]) for row in rows] == [
        ("acme", "counting.providers", True),
        ("acme", "mine.tsv", True),
        ("acme", "mine.tsv", True),
        ("other", "counting.providers", False),
    ]
    assert rows[1]["source"] == "Asked them."
    assert "counting.providers says that it is unknown" in rows[3]["advice"]
    _, out, error = said("list")
    assert "acme                 yes" in out
    tables = tables_of(
        Counting(providers={"x.example": "acme", "aol.com": "other"}, providers_file="mine.tsv")
    )
    assert Directory(tables).fingerprint() in error


@pytest.mark.parametrize(
    ("counting", "names"),
    [
        (Counting(providers={"Example.com": "gmail"}), "'Example.com' is no domain"),
        (Counting(providers={"example.com": "gmial"}), "there is no provider 'gmial'"),
        (Counting(providers_file="gone.tsv"), "cannot read counting.providers_file gone.tsv"),
        (Counting(providers_file="bad.tsv"), "bad.tsv, line 2: 'si' is neither yes nor no"),
        (Counting(providers_file="wrong.tsv"), "gmail is no there"),
        (Counting(providers_file="binary.tsv"), "is not UTF-8"),
    ],
)
def test_unsound_tables_are_refused_with_what_is_wrong(
    counting: Counting, names: str, tmp_path: Path
) -> None:
    (tmp_path / "bad.tsv").write_text("# x\nacme\tsi\tacme.example\n")
    (tmp_path / "wrong.tsv").write_text("gmail\tyes\tacme.example\n")
    (tmp_path / "binary.tsv").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError) as caught:
        tables_of(counting)
    assert names in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bridge_does_not_start_on_an_unsound_table(said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SES_STREAMS_PRIVACY__PII_KEY", "k")
    monkeypatch.setenv("SES_STREAMS_COUNTING__PROVIDERS", '{"example.com" = "gmial"}')
    monkeypatch.setattr(sys, "argv", ["ses-streams", "bridge"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("lookup", "provider", "advice"),
    [
        (Records(acme_example="aspmx.l.google.com"), "gmail", 'set "acme.example" = "gmail"'),
        (Records(acme_example="mx.acme.example"), "other", "nobody we know hosts it"),
        (Records(), "other", "nobody we know hosts it"),
        (Records(acme_example=None), "other", "no name server answered"),
    ],
)
def test_mx_records_are_a_hint_not_an_answer(lookup: Records, provider: str, advice: str) -> None:
    found = explain("acme.example", Directory(), lookup)
    assert found.mx is not None
    assert (found.provider, found.mx.provider) == ("other", provider)
    assert not found.eligible
    assert advice in found.advice


def entry(name: str, key: str, *, reports: bool = False) -> Entry:
    return Entry(Provider(name, reports), f"MX: {key}")


def test_domains_resolve_to_a_table_that_reads_back() -> None:
    lookup = Records(
        a_example="aspmx.l.google.com", b_example="mx.zoho.eu", c_example="mx.c.example", d_example=None
    )
    seen: list[int] = []
    found = resolve(
        ["d.example", "a.example", "b.example", "c.example", "A.example", "N O", ".a.example"],
        lookup,
        lambda: seen.append(1),
    )
    assert (found.strangers, found.failed, len(seen)) == (("c.example",), ("d.example",), 4)
    before = {"d.example": entry("proton", "mail.protonmail.ch"), "c.example": entry("gmail", "l.google.com")}
    text = render(merged(before, found))
    assert text.startswith(MARK)
    table = parse(text, "out.tsv")
    assert {domain: each.provider.name for domain, each in table.entries.items()} == {
        "a.example": "gmail",
        "b.example": "zoho",
        "d.example": "proton",
    }
    assert table.entries["b.example"] == entry("zoho", "zoho.eu", reports=True)
    assert render(table.entries) == text


def test_only_a_table_of_its_own_writing_is_rewritten(tmp_path: Path) -> None:
    path = tmp_path / "out.tsv"
    assert previous(path) == {}
    write(path, render({"a.example": entry("gmail", "l.google.com")}))
    assert previous(path) == {"a.example": entry("gmail", "l.google.com")}
    assert [each.name for each in tmp_path.iterdir()] == ["out.tsv"]
    for content in ("gmail\tno\tx.example\n", f"{MARK}\nbroken\n"):
        path.write_text(content)
        with pytest.raises(SettingsError, match="choose another --out"):
            previous(path)
