from __future__ import annotations

import base64
import gzip
import json
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from connectors.errors import BrokerError, SettingsError, SourceError
from connectors.settings import Http, Secret
from connectors.sources.firehose_http import FirehoseEndpoint
from connectors.sources.http import HttpSource, parse_bind

pytestmark = pytest.mark.sockets

ARN = "arn:aws:firehose:us-east-1:123456789012:deliverystream/ses"
TOPIC = "arn:aws:sns:us-east-1:123456789012:ses"
KEY = "a-key-of-the-test"
FIREHOSE = {
    "X-Amz-Firehose-Protocol-Version": "1.0",
    "X-Amz-Firehose-Request-Id": "in-the-header",
    "X-Amz-Firehose-Source-Arn": ARN,
    "X-Amz-Firehose-Access-Key": KEY,
    "Content-Type": "application/json",
}


def delivery(*data: str, request_id: str = "r-1") -> bytes:
    records = [{"data": base64.b64encode(one.encode()).decode()} for one in data]
    return json.dumps({"requestId": request_id, "timestamp": 1_793_520_000_000, "records": records}).encode()


async def post(url: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any, dict[str, str]]:
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.post(url, data=body, headers=headers) as response,
    ):
        return response.status, json.loads(await response.read()), dict(response.headers)


@pytest.fixture
def settings() -> Http:
    return Http(bind="127.0.0.1:0", firehose_access_key=Secret(KEY), sns_topics=(TOPIC,))


@pytest.fixture
def endpoint(running: Any, settings: Http, new_intake: Any, mailroom: Any) -> str:
    source = HttpSource(settings, new_intake, mailroom)
    running(source)
    return f"http://{source.address(5)}"


async def test_a_delivery_is_answered_as_firehose_wants_it(endpoint: str, kafka: Any, ses_event: Any) -> None:
    before = time.time_ns() // 1_000_000
    status, answer, headers = await post(
        f"{endpoint}/firehose", delivery(ses_event("m-1"), ses_event("m-2")), FIREHOSE
    )
    assert status == 200
    assert answer["requestId"] == "r-1"
    assert before <= answer["timestamp"] <= time.time_ns() // 1_000_000
    assert set(answer) == {"requestId", "timestamp"}
    assert headers["Content-Type"].split(";")[0] == "application/json"
    assert int(headers["Content-Length"]) > 0
    assert "Content-Encoding" not in headers
    assert {(event["message_id"], event["path"]) for event in kafka.events} == {
        ("m-1", "firehose"),
        ("m-2", "firehose"),
    }


async def test_a_repeated_delivery_has_the_same_arrivals_and_its_records_different_ones(
    endpoint: str, kafka: Any, ses_event: Any
) -> None:
    body = delivery(ses_event("m-1"), ses_event("m-1"))
    for _ in range(2):
        assert (await post(f"{endpoint}/firehose", body, FIREHOSE))[0] == 200
    arrivals = [event["arrival_id"] for event in kafka.events]
    assert len(arrivals) == 4
    assert len(set(arrivals)) == 2


async def test_200_comes_only_after_the_ack(endpoint: str, kafka: Any, until: Any, ses_event: Any) -> None:
    import asyncio

    kafka.hold()
    request = asyncio.create_task(post(f"{endpoint}/firehose", delivery(ses_event("m-1")), FIREHOSE))
    await asyncio.to_thread(until, lambda: kafka.events)
    done, _ = await asyncio.wait((request,), timeout=0.3)
    assert not done
    kafka.ack()
    assert (await request)[0] == 200


@pytest.mark.parametrize("given", [None, "", "a-key-of-the-tes", "a-key-of-the-test2", "ключ"])
async def test_a_wrong_access_key_is_refused(endpoint: str, kafka: Any, ses_event: Any, given: Any) -> None:
    headers = {name: value for name, value in FIREHOSE.items() if name != "X-Amz-Firehose-Access-Key"}
    if given is not None:
        headers["X-Amz-Firehose-Access-Key"] = given
    status, answer, _ = await post(f"{endpoint}/firehose", delivery(ses_event("m-1")), headers)
    assert status == 401
    assert answer["requestId"] == "in-the-header"
    assert "Access-Key" in answer["errorMessage"]
    assert not kafka.events


async def test_a_gzip_body_is_read(endpoint: str, kafka: Any, ses_event: Any) -> None:
    body = gzip.compress(delivery(ses_event("m-1")))
    status, _, _ = await post(f"{endpoint}/firehose", body, FIREHOSE | {"Content-Encoding": "gzip"})
    assert status == 200
    assert [event["message_id"] for event in kafka.events] == ["m-1"]


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (gzip.compress(b"\0" * 300_000_000, 9, mtime=0), "gzip"),
        (gzip.compress(delivery("x"), mtime=0)[:-4], "gzip"),
        (gzip.compress(delivery("x"), mtime=0) * 2, "gzip"),
        (delivery("x"), "gzip"),
        (delivery("x"), "br"),
    ],
    ids=["bomb", "truncated", "two members", "not gzip", "other encoding"],
)
async def test_a_body_that_is_not_what_it_says_is_refused_but_never_with_413(
    endpoint: str, kafka: Any, body: bytes, encoding: str
) -> None:
    status, answer, _ = await post(f"{endpoint}/firehose", body, FIREHOSE | {"Content-Encoding": encoding})
    assert status == 400
    assert answer["requestId"] == "in-the-header"
    assert answer["errorMessage"]
    assert not kafka.events


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b"\xff", b'{"requestId":"r"}', b'{"requestId":"r","timestamp":"x","records":[]}'],
)
async def test_a_bad_request_is_one_dead_letter_however_often_it_comes(
    endpoint: str, kafka: Any, body: bytes
) -> None:
    for _ in range(2):
        status, answer, _ = await post(f"{endpoint}/firehose", body, FIREHOSE)
        assert status == 400
        assert "contract" in answer["errorMessage"]
    letters = kafka.dead_letters
    assert {letter["cause"] for letter in letters} == {"bad_firehose_request"}
    assert len({letter["dead_letter_id"] for letter in letters}) == 1
    assert letters[0]["source"] == f"firehose://{ARN}/in-the-header"


async def test_one_malformed_record_does_not_fail_the_others(
    endpoint: str, kafka: Any, ses_event: Any
) -> None:
    body = json.loads(delivery(ses_event("m-1"), "not json", "", ses_event("m-2")))
    body["records"].insert(1, {"data": "%%%"})
    body["records"].insert(1, 7)
    status, _, _ = await post(f"{endpoint}/firehose", json.dumps(body).encode(), FIREHOSE)
    assert status == 200
    assert {event["message_id"] for event in kafka.events} == {"m-1", "m-2"}
    assert sorted(letter["cause"] for letter in kafka.dead_letters) == [
        "invalid_base64",
        "not_an_ses_event",
        "not_json",
    ]
    assert all(letter["source"].startswith(f"firehose://{ARN}/r-1") for letter in kafka.dead_letters)


async def test_a_record_may_be_gzip(endpoint: str, kafka: Any, ses_event: Any) -> None:
    packed = base64.b64encode(gzip.compress((ses_event("m-1") + ses_event("m-2")).encode())).decode()
    body = json.dumps({"requestId": "r", "timestamp": 1, "records": [{"data": packed}]}).encode()
    assert (await post(f"{endpoint}/firehose", body, FIREHOSE))[0] == 200
    assert sorted(event["message_id"] for event in kafka.events) == ["m-1", "m-2"]


async def test_an_announced_object_is_a_dead_letter(endpoint: str, kafka: Any) -> None:
    s3 = {"bucket": {"name": "b"}, "object": {"key": "k", "size": 1}}
    record = {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": s3}]}
    assert (await post(f"{endpoint}/firehose", delivery(json.dumps(record)), FIREHOSE))[0] == 200
    assert [letter["cause"] for letter in kafka.dead_letters] == ["object_not_fetched"]


async def test_a_late_ack_is_503(  # noqa: PLR0917 - fixtures
    running: Any, settings: Http, new_intake: Any, mailroom: Any, kafka: Any, ses_event: Any
) -> None:
    firehose = FirehoseEndpoint(KEY, lambda: 7, timeout_s=0.2)
    source = HttpSource(settings, new_intake, mailroom, firehose=firehose)
    running(source)
    kafka.hold()
    status, answer, _ = await post(
        f"http://{source.address(5)}/firehose", delivery(ses_event("m-1")), FIREHOSE
    )
    assert (status, answer["requestId"], answer["timestamp"]) == (503, "r-1", 7)


async def test_a_broken_bridge_is_503_and_ends_the_source(  # noqa: PLR0917 - fixtures
    running: Any, settings: Http, new_intake: Any, mailroom: Any, kafka: Any, ses_event: Any
) -> None:
    source = HttpSource(settings, new_intake, mailroom)
    started = running(source)
    kafka.hold()
    kafka.break_down()
    status, answer, _ = await post(
        f"http://{source.address(5)}/firehose", delivery(ses_event("m-1")), FIREHOSE
    )
    assert status == 503
    assert answer["requestId"] == "r-1"
    assert isinstance(started.ended(), BrokerError)


@pytest.mark.parametrize("limit", ["_MEMORY", "_REQUESTS"])
async def test_overload_is_503_and_passes(
    endpoint: str, kafka: Any, ses_event: Any, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    from connectors.sources import http_handover

    body = delivery(ses_event("m-1"))
    with monkeypatch.context() as patch:
        patch.setattr(http_handover, limit, 0)
        status, answer, _ = await post(f"{endpoint}/firehose", body, FIREHOSE)
        assert (status, answer["requestId"]) == (503, "in-the-header")
        assert not kafka.events
    assert (await post(f"{endpoint}/firehose", body, FIREHOSE))[0] == 200


async def test_health(endpoint: str) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{endpoint}/healthz") as response:
        assert response.status == 200
        assert await response.json() == {"status": "ok"}


def test_a_taken_address_is_one_sentence(
    running: Any, settings: Http, new_intake: Any, mailroom: Any
) -> None:
    first = HttpSource(settings, new_intake, mailroom)
    running(first)
    second = running(HttpSource(Http(bind=first.address(5)), new_intake, mailroom))
    error = second.ended()
    assert isinstance(error, SourceError)
    assert str(error) == (
        f"cannot listen on {first.address(5)} (Address already in use): choose another bridge.http.bind"
    ) or "address already in use" in str(error)


@pytest.mark.parametrize(
    ("bind", "parsed"),
    [("h:1", ("h", 1)), ("127.0.0.1:0", ("127.0.0.1", 0)), (":80", ("", 80)), ("[::1]:80", ("::1", 80))],
)
def test_bind(bind: str, parsed: tuple[str, int]) -> None:
    assert parse_bind(bind) == parsed


@pytest.mark.parametrize("bind", ["", "h", "80", "h:", "h:x", "h:-1", "h:65536", "::1:80", "h:²"])
def test_no_bind(bind: str) -> None:
    with pytest.raises(SettingsError, match=r"bridge\.http\.bind"):
        parse_bind(bind)


def test_tls_from_the_settings(
    running: Any, new_intake: Any, mailroom: Any, signer: Any, tmp_path: Any
) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate.write_bytes(signer.certificate().public_bytes(Encoding.PEM))
    key.write_bytes(signer.key_pem)
    source = HttpSource(
        Http(bind="127.0.0.1:0", tls_certificate=str(certificate), tls_key=str(key)), new_intake, mailroom
    )
    running(source)
    from urllib.request import urlopen

    context = ssl.create_default_context(cafile=certificate)
    with urlopen(f"https://{source.address(5)}/healthz", context=context, timeout=5) as response:
        assert response.status == 200
    with pytest.raises(SettingsError, match="tls_certificate"):
        HttpSource(
            Http(bind=":0", tls_certificate=str(key), tls_key=str(tmp_path / "absent")), new_intake, mailroom
        )


def test_a_stopping_source_answers_what_is_in_work(  # noqa: PLR0917 - fixtures
    running: Any, settings: Http, new_intake: Any, mailroom: Any, kafka: Any, until: Any, ses_event: Any
) -> None:
    import asyncio

    source = HttpSource(settings, new_intake, mailroom)
    started = running(source)
    url = f"http://{source.address(5)}/firehose"
    kafka.hold()
    with ThreadPoolExecutor(2) as pool:
        request = pool.submit(lambda: asyncio.run(post(url, delivery(ses_event("m-1")), FIREHOSE)))
        until(lambda: kafka.events)
        stopping = pool.submit(started.stop)
        until(lambda: not _listens(source.address(1)))
        kafka.ack()
        assert request.result(10)[0] == 200
        assert stopping.result(10) is None


def _listens(address: str) -> bool:
    import socket

    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True
