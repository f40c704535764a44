"""SNS and e-mail: through moto's server, and what is made of an AWS that misbehaves."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import boto3
import pytest

from connectors.notify.channels import channel_of
from connectors.notify.channels.sns import subject
from connectors.notify.page import NotDelivered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REGION = "eu-west-1"
TOPIC = f"arn:aws:sns:{REGION}:123456789012:alarms"
ADDRESSES = {"sender": "SES Streams <alarms@example.com>", "to": ("on-call@example.org", "two@example.org")}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "very-secret",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def aws(environment: None, server: str) -> Iterator[Callable[[str], Any]]:
    made: list[Any] = []

    def client(service: str) -> Any:
        made.append(boto3.client(service, region_name=REGION, endpoint_url=server))
        return made[-1]

    yield client
    for each in made:
        each.close()


@pytest.mark.embedded
@pytest.mark.parametrize("suffix", ["", ".fifo"])
def test_a_topics_subscribers_get_the_message_and_what_to_filter_by(
    aws: Any, server: str, make_place: Any, make_page: Any, suffix: str
) -> None:
    fifo = {"Attributes": {"FifoTopic": "true"}} if suffix else {}
    topic = aws("sns").create_topic(Name=f"alarms{suffix}", **fifo)["TopicArn"]
    queues = aws("sqs")
    queue = queues.create_queue(
        QueueName=f"q{suffix}", **({"Attributes": {"FifoQueue": "true"}} if suffix else {})
    )
    arn = f"arn:aws:sqs:{REGION}:123456789012:q{suffix}"
    aws("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    channel = channel_of(make_place("sns", topic_arn=topic, endpoint_url=server, link="https://ses.example/"))
    taken = channel.send(
        make_page(value="Größe ✓ " * 40, title="critical: Größe\n✓ " + "x" * 200, text="all of it")
    )
    channel.close()
    got: list[Any] = []
    deadline = time.monotonic() + 60
    while not got and time.monotonic() < deadline:
        got = queues.receive_message(QueueUrl=queue["QueueUrl"]).get("Messages", [])
    told = json.loads(got[0]["Body"])
    assert taken == f"message {told['MessageId']}"
    assert told["Subject"].startswith("critical: Gr??e ? xxx")
    assert len(told["Subject"]) == 99
    assert told["Message"].endswith("\n\nall of it\n\nhttps://ses.example/")
    attributes = {name: each["Value"] for name, each in told["MessageAttributes"].items()}
    assert (attributes["kind"], attributes["severity"], attributes["seq"]) == ("page", "warning", "1")
    assert attributes["value"].startswith("Größe ✓")
    assert len(attributes) <= 10


@pytest.mark.embedded
def test_a_topic_that_is_not_there_is_refused_for_good(
    aws: Any, server: str, make_place: Any, make_page: Any
) -> None:
    channel = channel_of(make_place("sns", topic_arn=TOPIC.replace("alarms", "gone"), endpoint_url=server))
    with pytest.raises(NotDelivered, match=":gone") as caught:
        channel.send(make_page())
    assert caught.value.for_good
    channel.close()


@pytest.mark.embedded
def test_ses_sends_the_mail_to_all_recipients(aws: Any, server: str, make_place: Any, make_page: Any) -> None:
    aws("sesv2").create_email_identity(EmailIdentity="alarms@example.com")
    channel = channel_of(make_place("email", endpoint_url=server, region=REGION, **ADDRESSES))
    assert channel.send(make_page()).startswith("message ")
    channel.close()
    assert aws("ses").get_send_quota()["SentLast24Hours"] == len(ADDRESSES["to"])


@pytest.fixture
def to_sns(receiver: Any, make_place: Any, environment: None) -> Iterator[Any]:
    channel = channel_of(make_place("sns", topic_arn=TOPIC, endpoint_url=receiver.url, timeout_s=60))
    yield channel
    channel.close()


@pytest.fixture
def to_email(receiver: Any, make_place: Any, environment: None) -> Iterator[Any]:
    place = make_place(
        "email", endpoint_url=receiver.url, region=REGION, configuration_set="ours", timeout_s=60, **ADDRESSES
    )
    channel = channel_of(place)
    yield channel
    channel.close()


@pytest.mark.sockets
def test_a_mail_is_text_and_html_of_one_conversation_that_no_holiday_answers(
    to_email: Any, receiver: Any, make_page: Any
) -> None:
    receiver.api = lambda _: (200, {}, b'{"MessageId": "0102"}')
    shown = make_page(text="a < b & <script>", title="critical:\r\nBcc: x@example.com")
    assert to_email.send(shown) == "message 0102"
    to_email.send(make_page("resolve", seq=2))
    first, second = (request.json() for request in receiver.requests)
    assert receiver.requests[0].path == "/v2/email/outbound-emails"
    assert first["ConfigurationSetName"] == "ours"
    assert first["Destination"] == {"ToAddresses": list(ADDRESSES["to"])}
    simple = first["Content"]["Simple"]
    assert simple["Subject"]["Data"] == "critical: Bcc: x@example.com"
    assert simple["Body"]["Text"]["Data"] == "a < b & <script>"
    assert "a &lt; b &amp; &lt;script&gt;" in simple["Body"]["Html"]["Data"]
    headers = [
        {each["Name"]: each["Value"] for each in told["Content"]["Simple"]["Headers"]}
        for told in (first, second)
    ]
    assert headers[0]["Auto-Submitted"] == "auto-generated"
    assert headers[0]["References"] == headers[1]["References"]


@pytest.mark.sockets
def test_what_is_published_fits_whatever_the_page(to_sns: Any, receiver: Any, make_page: Any) -> None:
    receiver.api = lambda _: (
        200,
        {"Content-Type": "text/xml"},
        b"<PublishResponse><PublishResult><MessageId>m</MessageId></PublishResult></PublishResponse>",
    )
    to_sns.send(make_page(text="ä" * 500_000, value="✓" * 1000))
    fields = parse_qs(receiver.requests[0].body.decode())
    size = len(fields["Message"][0].encode()) + sum(
        len(text[0].encode()) for name, text in fields.items() if name.startswith("MessageAttributes")
    )
    assert 200_000 < size <= 262_144


SNS_ERROR = "<ErrorResponse><Error><Code>{}</Code><Message>no</Message></Error></ErrorResponse>"


@pytest.mark.sockets
@pytest.mark.parametrize(
    ("answer", "for_good"),
    [
        ((400, "Throttling"), False),
        ((403, "AuthorizationError"), True),
        ((404, "NotFound"), True),
        ((400, "InvalidParameter"), True),
        ((403, "ExpiredToken"), False),
        ((500, "InternalError"), False),
        ((503, "ServiceUnavailable"), False),
    ],
)
def test_errors_of_sns(to_sns: Any, receiver: Any, make_page: Any, answer: Any, for_good: Any) -> None:
    receiver.fails(answer[0], {"Retry-After": "3"}, SNS_ERROR.format(answer[1]).encode())
    with pytest.raises(NotDelivered) as caught:
        to_sns.send(make_page())
    assert (caught.value.for_good, caught.value.retry_after_s) == (for_good, 3.0)
    assert len(receiver.requests) == 1
    assert "very-secret" not in str(caught.value)


@pytest.mark.sockets
@pytest.mark.parametrize(
    ("answer", "for_good"),
    [
        ((429, "TooManyRequestsException"), False),
        ((400, "SendingPausedException"), False),
        ((400, "LimitExceededException"), False),
        ((400, "MessageRejected"), True),
        ((404, "NotFoundException"), True),
    ],
)
def test_errors_of_ses(to_email: Any, receiver: Any, make_page: Any, answer: Any, for_good: Any) -> None:
    receiver.fails(answer[0], {"x-amzn-ErrorType": answer[1]}, b'{"message": "no"}')
    with pytest.raises(NotDelivered) as caught:
        to_email.send(make_page())
    assert caught.value.for_good is for_good


@pytest.mark.sockets
def test_an_aws_that_drips_or_hangs_up_gets_no_more_time(
    receiver: Any, make_place: Any, make_page: Any, environment: None
) -> None:
    channel = channel_of(make_place("sns", topic_arn=TOPIC, endpoint_url=receiver.url, timeout_s=3))
    receiver.drips(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n")
    receiver.hangs_up(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n<")
    for _ in range(2):
        with pytest.raises(NotDelivered) as caught:
            channel.send(make_page())
        assert (caught.value.for_good, caught.value.unknown) == (False, True)
    receiver.close()
    with pytest.raises(NotDelivered) as caught:
        channel.send(make_page())
    assert (caught.value.for_good, caught.value.unknown) == (False, False)
    channel.close()


@pytest.mark.sockets
@pytest.mark.parametrize("half", [b"{}", b'{"Mess'])
def test_half_an_answer_of_ses_is_none(to_email: Any, receiver: Any, make_page: Any, half: bytes) -> None:
    receiver.fails(200, body=half)
    with pytest.raises(NotDelivered) as caught:
        to_email.send(make_page())
    assert (caught.value.for_good, caught.value.unknown) == (False, True)


@pytest.mark.sockets
def test_without_credentials_it_is_worth_another_try(
    receiver: Any, make_place: Any, make_page: Any, environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    channel = channel_of(make_place("sns", topic_arn=TOPIC, endpoint_url=receiver.url))
    with pytest.raises(NotDelivered, match="no AWS credentials") as caught:
        channel.send(make_page())
    assert (caught.value.for_good, caught.value.unknown) == (False, False)
    assert receiver.requests == []


@pytest.mark.parametrize(
    ("title", "expected"), [("a\tb\x00c", "a bc"), ("x" * 99, "x" * 99), ("x" * 100, "x" * 96 + "...")]
)
def test_subjects(title: str, expected: str) -> None:
    assert subject(title) == expected
