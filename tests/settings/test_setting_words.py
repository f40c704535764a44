"""What is wrong with the settings is said with what to write instead."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.errors import SettingsError
from connectors.settings import load

ROUTE = '[[notify.routes]]\nname = "x"\n'


def refused(tmp_path: Any, text: str) -> str:
    path = tmp_path / "s.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load(path, {})
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[inbund]\nmax_mb = 1", "there is no section inbund (did you mean inbound?); there are kafka, "),
        (
            "[inbound]\nthread = true",
            "there is no setting inbound.thread (did you mean threads?); there are threads,",
        ),
        ('[inbound]\ntenants = [{subdomain = "x"}]', "no setting inbound.tenants[0].subdomain (did you mean"),
        (
            ROUTE + 'kind = "pager"',
            (
                "setting notify.routes[0].kind cannot be 'pager' (did you mean pagerduty?): "
                "write one of alertmanager, email, pagerduty, slack, sns, webhook"
            ),
        ),
        (
            '[response]\ndimensions = ["account"]',
            "setting response.dimensions[0] cannot be 'account': write one of configuration_set, tenant",
        ),
        (ROUTE, "setting notify.routes[0].kind is not set"),
        ("[inbound]\nmax_mb = 0", "setting inbound.max_mb: expected a whole number >= 1"),
        ('[inbound]\nthreads = "yes"', "setting inbound.threads: expected true or false, got text"),
        (
            ROUTE + 'kind = "slack"\nkey = 5',
            "setting notify.routes[0].key: expected text, got a whole number",
        ),
        (
            "[counting]\nproviders = {a = 5}",
            "setting counting.providers[...]: expected text, got a whole number",
        ),
        ('[clickhouse]\ndsn = "https://ses:secret@host:9999/ses"', "clickhouse.dsn: write clickhouse://user"),
        ("kafka = 5", "setting kafka: expected a table, got a whole number"),
    ],
)
def test_it_says_what_to_write(tmp_path: Any, text: str, said: str) -> None:
    assert said in refused(tmp_path, text)
