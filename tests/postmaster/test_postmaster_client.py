"""Fetching from a Google on this machine."""

from __future__ import annotations

import json
import socket
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from connectors.errors import SettingsError, SourceError
from connectors.postmaster.client import Api, RefusedError
from connectors.postmaster.fetch import days_before, fetch
from connectors.postmaster.http import Patience
from connectors.postmaster.metrics import SPAM_RATE, Metric

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date
    from pathlib import Path

    from connectors.postmaster.fetch import Fetched
    from connectors.settings import Postmaster

pytestmark = pytest.mark.sockets

QUERY = "domainStats:query"
RATE = (Metric(SPAM_RATE),)


@pytest.fixture
def waits() -> list[float]:
    """What a client would have waited, instead of waiting."""
    return []


@pytest.fixture
def api(settings: Callable[..., Postmaster], waits: list[float]) -> Callable[..., Api]:
    return lambda **chosen: Api(settings(**chosen), patience=Patience(tries=4), pause=waits.append)


def got(api: Api, today: date, *domains: str, days: int = 10) -> dict[str, Fetched]:
    return {each.domain: each for each in fetch(api, domains, today, days)}


def rates(api: Api, domain: str, today: date) -> dict[date, float]:
    return {
        each.day: each.value for each in got(api, today, domain)[domain].figures if each.metric == SPAM_RATE
    }


def test_everything_that_google_has_comes_through_all_pages(
    google: Any, api: Any, today: date, ago: Any
) -> None:
    google.page_size = 2
    google.domains = [{"name": f"domains/d{number}.example"} for number in range(5)]
    for number in range(5):
        google.say(f"d{number}.example", "SPAM_RATE", {ago(day): day / 1000 for day in (1, 2, 3, 5, 10)})
    google.say("d0.example", "AUTH_SUCCESS_RATE", {ago(1): 0.9}, 'auth_type = "dkim"')
    google.say("d0.example", "DELIVERY_ERROR_COUNT", {ago(1): "12"}, kind="intValue")
    condition = 'error_type = "reject" AND error_reason = "ip_in_rbls"'
    google.say("d0.example", "DELIVERY_ERROR_RATE", {ago(2): 0.01}, condition)
    found = got(api(), today)
    assert sorted(found) == [f"d{number}.example" for number in range(5)]
    assert not any(each.problems for each in found.values())
    figures = {
        (each.metric, each.identifier, (today - each.day).days): each.value
        for each in found["d0.example"].figures
    }
    assert figures == {
        **{("spam_rate", "", day): day / 1000 for day in (1, 2, 3, 5, 10)},
        ("auth_success_rate", "dkim", 1): 0.9,
        ("delivery_error_count", "", 1): 12.0,
        ("delivery_error_rate", "reject/ip_in_rbls", 2): 0.01,
    }


def test_days_that_google_leaves_out_are_missing_and_zero_is_zero(
    google: Any, api: Any, today: date, ago: Any
) -> None:
    google.domains = [{"name": "domains/a.example"}]
    google.say("a.example", "SPAM_RATE", {ago(0): 0.9, ago(2): 0, ago(4): 0.1, ago(11): 0.9})
    assert rates(api(), "a.example", today) == {ago(2): 0.0, ago(4): 0.1}


def test_every_identifier_of_any_day_is_asked_for(google: Any, api: Any, today: date, ago: Any) -> None:
    google.domains = [{"name": "domains/a.example"}]
    loops = {f"c{number}": {ago(1 + number % 10): number / 1e4} for number in range(47)}
    loops |= {'sp"ring\\': {ago(1): 0.003, ago(2): 4.75}, "77.32.148.101": {ago(3): 0.0}}
    google.loops("a.example", loops)
    figures = got(api(), today)["a.example"].figures
    assert {(each.identifier, each.day): each.value for each in figures} == {
        (name, day): rate for name, values in loops.items() for day, rate in values.items()
    }
    assert google.asked(QUERY) == 4 + 3, "one query for twenty identifiers"


def test_a_domain_that_is_refused_does_not_stop_the_others(
    google: Any, api: Any, today: date, ago: Any
) -> None:
    google.domains = [{"name": "domains/b.example"}]
    google.say("b.example", "SPAM_RATE", {ago(1): 0.001})
    found = got(api(), today, "A.example.", "b.example", "c.example")
    assert [len(each.figures) for each in found.values()] == [0, 1, 0]
    (problem,) = found["a.example"].problems
    assert "reader@project.iam.gserviceaccount.com no access" in problem
    assert "add the account as its user" in problem
    assert google.asked("a.example") == 1


def test_only_verified_domains_that_the_account_may_see_are_asked_about(
    google: Any, api: Any, today: date
) -> None:
    google.domains = [
        {"name": "domains/a.example", "permission": "OWNER", "verificationState": "VERIFIED"},
        {"name": "domains/b.example", "permission": "NONE"},
        {"name": "domains/c.example", "permission": "READER", "verificationState": "UNVERIFIED"},
        {"name": "domains/d.example"},
    ]
    assert sorted(got(api(), today)) == ["a.example", "d.example"]


def test_an_account_without_domains_is_told_what_to_do(google: Any, api: Any, today: date) -> None:
    with pytest.raises(SourceError, match="sees no verified domain in Postmaster Tools: add it as a user"):
        got(api(), today)


def test_a_scope_is_asked_for_only_where_it_is_needed(google: Any, api: Any, today: date) -> None:
    google.domains = [{"name": "domains/a.example"}]
    got(api(), today)
    got(api(domains=("a.example",), subject="admin@a.example"), today, "a.example")
    listing, naming = google.claims
    assert len(listing["scope"].split()) == 2
    assert "sub" not in listing
    assert naming["scope"] == "https://www.googleapis.com/auth/postmaster.traffic.readonly"
    assert naming["sub"] == "admin@a.example"


def test_a_revoked_token_is_replaced(google: Any, api: Any, today: date, ago: Any) -> None:
    google.domains = [{"name": "domains/a.example"}]
    google.say("a.example", "SPAM_RATE", {ago(1): 0.001})
    asking = api()
    assert rates(asking, "a.example", today) == {ago(1): 0.001}
    google.tokens.clear()
    assert rates(asking, "a.example", today) == {ago(1): 0.001}
    assert len(google.claims) == 2


def test_a_token_that_is_never_good_ends_it(google: Any, api: Any, today: date) -> None:
    for _ in range(2):
        google.goes_awry(QUERY, 401, {"error": {"message": "no such user"}})
    with pytest.raises(SourceError, match=r"refuses the token of reader@.* \(no such user\)"):
        got(api(), today, "a.example")
    assert google.asked(QUERY) == 2


def test_google_is_asked_again_when_it_is_busy(
    google: Any, api: Any, today: date, ago: Any, waits: list[float]
) -> None:
    google.domains = [{"name": "domains/a.example"}]
    google.say("a.example", "SPAM_RATE", {ago(1): 0.001})
    google.goes_awry(QUERY, 429, {"error": {"message": "quota"}}, {"Retry-After": "7"})
    google.goes_awry(QUERY, 503, b"<html>")
    google.goes_awry(QUERY, 500)
    assert rates(api(), "a.example", today) == {ago(1): 0.001}
    assert waits == [7.0, 2.0, 4.0]


def test_after_some_tries_a_busy_google_is_left_alone(
    google: Any, api: Any, today: date, waits: list[float]
) -> None:
    google.domains = [{"name": "domains/a.example"}, {"name": "domains/b.example"}]
    for _ in range(4):
        google.goes_awry("a.example/domainStats", 503, {"error": {"message": "backend error"}})
    found = got(api(), today)
    assert found["a.example"].problems == [
        "a.example: Postmaster Tools does not answer (backend error): the next fetch asks again"
    ]
    assert waits == [1.0, 2.0, 4.0]
    assert found["b.example"].problems == []


def test_a_wait_of_hours_is_left_to_the_next_fetch(google: Any, api: Any, waits: list[float]) -> None:
    google.goes_awry("v2/domains", 429, {"error": {"message": "daily quota"}}, {"Retry-After": "40000"})
    with pytest.raises(SourceError, match=r"does not list the domains of .* \(daily quota\)"):
        api().domains()
    assert waits == []


def test_a_redirect_is_not_followed_with_our_token(google: Any, api: Any, today: date) -> None:
    google.goes_awry(QUERY, 307, b"", {"Location": f"{google.url}/elsewhere"})
    assert "HTTP status 307" in got(api(), today, "a.example")["a.example"].problems[0]
    assert google.asked("elsewhere") == 0


@pytest.mark.parametrize("body", [b"<html>", b'{"domainStats": [', b'{"domainStats": 7}', b"\xff", b""])
def test_an_answer_that_is_no_json_is_a_sentence(
    google: Any, api: Any, today: date, ago: Any, body: bytes
) -> None:
    google.domains = [{"name": "domains/a.example"}, {"name": "domains/b.example"}]
    google.say("b.example", "SPAM_RATE", {ago(1): 0.001})
    google.goes_awry("a.example/domainStats", 200, body)
    found = got(api(), today)
    assert (
        "a.example: Postmaster Tools does not answer (the answer cannot be read"
        in found["a.example"].problems[0]
    )
    assert len(found["b.example"].figures) == 1


def test_a_question_that_google_dislikes_costs_only_its_figures(
    google: Any, api: Any, today: date, ago: Any
) -> None:
    google.domains = [{"name": "domains/a.example"}]
    google.say("a.example", "SPAM_RATE", {ago(1): 0.001})
    google.loops("a.example", {"spring": {ago(1): 0.002}})
    google.compliance["a.example"] = {
        "complianceData": {"rowData": [{"requirement": "SPF", "status": {"status": "COMPLIANT"}}]}
    }
    google.goes_awry(QUERY, 400, {"error": {"message": "unknown metric"}})
    found = got(api(), today)["a.example"]
    assert found.problems == ["a.example: Postmaster Tools refuses spam_rate (unknown metric)"]
    assert [(each.metric, each.identifier, each.day) for each in found.figures] == [
        ("feedback_loop_spam_rate", "spring", ago(1)),
        ("compliance", "spf", today),
    ]


def test_pages_that_never_end_are_refused(
    google: Any, api: Any, today: date, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.postmaster.client._MOST_PAGES", 3)
    for _ in range(3):
        google.goes_awry(QUERY, 200, {"nextPageToken": "again"})
    with pytest.raises(RefusedError, match="do not end after 3"):
        api().stats("a.example", RATE, days_before(today, 1))


def test_an_api_that_is_not_enabled_says_where_to_enable_it(google: Any, api: Any, today: date) -> None:
    details = [{"@type": "…", "reason": "SERVICE_DISABLED"}, 7]
    google.goes_awry(QUERY, 403, {"error": {"message": "has not been used", "details": details}})
    with pytest.raises(
        SourceError, match=r"is not enabled in the Google Cloud project of reader@.*: enable it at"
    ):
        got(api(), today, "a.example")


def test_a_key_that_google_does_not_know_is_a_sentence(
    google: Any, api: Any, today: date, waits: list[float]
) -> None:
    error = {"error": "invalid_grant", "error_description": "Invalid grant: account not found"}
    google.goes_awry("token", 400, error)
    with pytest.raises(SourceError, match=r"no token \(invalid_grant: Invalid grant: account not found\)"):
        got(api(), today, "a.example")
    google.goes_awry("token", 200, b"<html>")
    with pytest.raises(SourceError, match=r"no token .* postmaster.subject delegates"):
        got(api(subject="admin@a.example"), today, "a.example")
    assert waits == []


def test_a_busy_token_endpoint_is_asked_again(
    google: Any, api: Any, today: date, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("google.auth._exponential_backoff.time.sleep", lambda _: None)
    google.domains = [{"name": "domains/a.example"}]
    for _ in range(4):
        google.goes_awry("token", 503, {"error": "temporarily_unavailable"})
    assert got(api(), today, "a.example")["a.example"].problems == []
    assert waits == [1.0], "google-auth tries three times, and so do we"


def test_a_google_that_cannot_be_reached(api: Any, today: date, waits: list[float]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(
            SourceError, match=r"127.0.0.1 or Google's token endpoint does not answer \(.*refused"
        ):
            got(api(endpoint=nowhere), today, "a.example")
    assert waits == [1.0, 2.0, 4.0]


def test_a_signature_of_another_key_gets_no_token(
    google: Any, settings: Any, credentials: Path, today: date
) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    other = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    credentials.write_text(json.dumps(json.loads(credentials.read_text()) | {"private_key": other.decode()}))
    with pytest.raises(SourceError, match="Invalid JWT Signature"):
        got(Api(settings()), today, "a.example")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "cannot read .*key.json: no such file"),
        ("{", "is not the JSON key file of a service account"),
        ('{"type": "authorized_user"}', "is of type 'authorized_user': make a key of a service account"),
        ('{"type": "service_account"}', "has no usable key: download a new one"),
        (
            '{"type": "service_account", "client_email": "a", "token_uri": "b", "private_key": "secret"}',
            "has no usable key",
        ),
    ],
)
def test_a_key_file_that_is_none(settings: Any, credentials: Path, text: str | None, sentence: str) -> None:
    credentials.unlink()
    if text is not None:
        credentials.write_text(text)
    with pytest.raises(SettingsError, match=sentence) as caught:
        Api(settings())
    assert "secret" not in str(caught.value)


def test_an_endpoint_that_is_no_url(settings: Any) -> None:
    with pytest.raises(SettingsError, match=r"postmaster\.endpoint is not a URL"):
        Api(settings(endpoint="file:///etc/passwd"))


def test_the_days_are_those_before_today(today: date) -> None:
    days = days_before(today, 10)
    assert (today - days.first, today - days.last) == (timedelta(days=10), timedelta(days=1))
