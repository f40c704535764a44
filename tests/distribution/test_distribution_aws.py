"""SES, SNS and S3 as the distribution uses them: what each answer means for a mail."""

from __future__ import annotations

import json
import urllib.request
from contextlib import closing
from typing import Any

import boto3
import pytest
from msgspec.structs import replace

import connectors.cli.wiring  # noqa: F401 - urllib3 opens a socket when it is first imported
from connectors.distribution.aws import SesSender, SnsFallback, StoredMails
from connectors.notify.page import NotDelivered
from pipelines.mail.distribution.policy import Unsuitable

pytestmark = pytest.mark.embedded
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "eu-west-1"}


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


def raw() -> bytes:
    return b"From: Captures <captures@us.example>\r\nTo: ann@a.example\r\n\r\nhello\r\n"


def test_ses_is_given_the_raw_mail_and_its_envelope(ses: Any, world: Any) -> None:
    with closing(SesSender(replace(world.settings, endpoint_url=ses.url))) as sender:
        assert sender.send(raw(), ["ann@a.example", "bob@a.example"]) == "m1"
    assert ses.mailbox == [(["ann@a.example", "bob@a.example"], raw())]


@pytest.mark.parametrize(
    ("answer", "for_good", "unknown"),
    [
        ((429, False), False, False),
        ((503, False), False, False),
        ((500, False), False, True),
        ((502, False), False, True),
        ((504, True), False, True),
        (("cut", True), False, True),
        (("hang", True), False, True),
        ((403, False), False, False),
        ((404, False), True, False),
        ((400, False), True, False),
    ],
)
def test_what_an_answer_of_ses_means(
    ses: Any,
    world: Any,
    answer: Any,
    for_good: bool,  # noqa: FBT001
    unknown: bool,  # noqa: FBT001
) -> None:
    ses.answers = [answer]
    timeout_s = 2.0 if answer[0] == "hang" else 60.0
    with (
        closing(SesSender(replace(world.settings, endpoint_url=ses.url), timeout_s=timeout_s)) as sender,
        pytest.raises(NotDelivered) as failed,
    ):
        sender.send(raw(), ["ann@a.example"])
    assert (failed.value.for_good, failed.value.unknown) == (for_good, unknown)
    assert ses.asked == 1 or answer[0] == "hang", "nobody asks again behind our back"
    assert ses.asked <= 1


def test_a_ses_that_is_not_there_has_sent_nothing(world: Any) -> None:
    with (
        closing(SesSender(replace(world.settings, endpoint_url="http://127.0.0.1:9"))) as sender,
        pytest.raises(NotDelivered) as failed,
    ):
        sender.send(raw(), ["ann@a.example"])
    assert (failed.value.for_good, failed.value.unknown) == (False, False)


def test_ses_refuses_what_it_would_refuse(ses: Any, world: Any) -> None:
    with closing(SesSender(replace(world.settings, endpoint_url=ses.url))) as sender:
        for bad, to in (
            (raw().replace(b"captures@us", b"eve@evil"), ["a@a.example"]),
            (raw(), ["a@a.example"] * 51),
        ):
            with pytest.raises(NotDelivered) as failed:
                sender.send(bad, to)
            assert failed.value.for_good


def message(links: int = 1) -> dict[str, Any]:
    link = {"name": "hall.jpg", "url": "https://x.example/" + "y" * 9000}
    return {"reason": "no_recipients", "outcome": "fallback", "refused": [], "links": [link] * links}


@pytest.mark.parametrize("name", ["undistributed", "undistributed.fifo"])
def test_the_fallback_topic_gets_json_that_fits(server: str, world: Any, name: str) -> None:
    urllib.request.urlopen(
        urllib.request.Request(f"{server}/moto-api/reset", method="POST"), timeout=60
    ).close()
    fifo = {"FifoTopic": "true"} if name.endswith(".fifo") else {}
    sns = boto3.client("sns", endpoint_url=server)
    topic = sns.create_topic(Name=name, Attributes=fifo)["TopicArn"]
    with closing(SnsFallback(replace(world.settings, fallback_topic=topic, endpoint_url=server))) as fallback:
        assert fallback.tell(b"\1" * 16, message())
        assert fallback.tell(b"\1" * 16, message(links=50))
    with urllib.request.urlopen(f"{server}/moto-api/data.json", timeout=60) as answer:
        [told] = json.load(answer)["sns"]["Topic"]
    texts = [json.loads(each[1]) for each in told["sent_notifications"]]
    assert [(len(each["links"]), each.get("links_left_out")) for each in texts] == [(1, None), (0, 50)]
    sns.close()


def test_without_a_fallback_topic_nobody_is_told(world: Any) -> None:
    with closing(SnsFallback(replace(world.settings, fallback_topic=""))) as fallback:
        assert fallback.tell(b"\1" * 16, message()) == ""


def test_a_fallback_topic_that_is_gone_is_so_for_good(server: str, world: Any) -> None:
    with (
        closing(SnsFallback(replace(world.settings, endpoint_url=server))) as fallback,
        pytest.raises(NotDelivered) as failed,
    ):
        fallback.tell(b"\1" * 16, message())
    assert failed.value.for_good


def test_mails_are_read_from_s3_to_a_limit(server: str, world: Any) -> None:
    s3 = boto3.client("s3", endpoint_url=server)
    s3.create_bucket(Bucket="stored", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_object(Bucket="stored", Key="in/a b", Body=b"x" * 1000)
    settings = replace(world.settings, endpoint_url=server)
    with closing(StoredMails(settings, 1000)) as mails:
        assert mails.read("s3://stored/in/a b") == b"x" * 1000
        for uri in ("s3://stored/none", "s3://no-such-bucket/a", "file:///etc/passwd", ""):
            with pytest.raises(Unsuitable) as refused:
                mails.read(uri)
            assert refused.value.cause == "no_object"
    with closing(StoredMails(settings, 999)) as mails, pytest.raises(Unsuitable, match="unreadable"):
        mails.read("s3://stored/in/a b")
    s3.close()
