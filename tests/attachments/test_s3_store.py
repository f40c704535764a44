"""Attachments in S3: how they are served, when they are sent, how long they stay, and what S3 refuses."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from connectors.attachments.lifecycle import rule_of
from connectors.attachments.s3 import S3Store, disposition
from connectors.attachments.store import HARMLESS, StoreError, StoreRefuses, harmless_type
from connectors.aws import Access

pytestmark = pytest.mark.embedded
BUCKET = "attachments"


def versions(s3: Any, key: str) -> int:
    return len(s3.list_object_versions(Bucket=BUCKET, Prefix=key).get("Versions", []))


def key_of(uri: str) -> str:
    return uri.removeprefix(f"s3://{BUCKET}/")


def test_a_content_is_sent_once_whoever_puts_it(s3_store: S3Store, s3: Any, content: Any) -> None:
    photo = content(b"photo")
    other = S3Store(BUCKET, "mail", Access(), 90)
    key = key_of(s3_store.put(photo))
    assert key.startswith("mail/")
    assert key_of(other.put(photo)) == key
    assert versions(s3, key) == 1
    other.close()


def test_who_looked_before_another_put_it_sends_no_second(s3_store: S3Store, s3: Any, content: Any) -> None:
    page = content(b"page")
    other = S3Store(BUCKET, "mail", Access(), 90)
    keys: list[str] = []

    def put_meanwhile(**_: Any) -> None:
        if not keys:
            keys.append(key_of(other.put(page)))

    # Not by threads: moto, unlike S3, takes two conditional puts that come at the same moment.
    s3_store._client.meta.events.register("after-call.s3.HeadObject", put_meanwhile)
    keys.append(key_of(s3_store.put(page)))
    other.close()
    assert len(keys) == 2
    assert keys[0] == keys[1]
    assert versions(s3, keys[0]) == 1


def test_a_large_content_goes_in_parts(
    s3_store: S3Store, s3: Any, content: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.attachments.s3._MULTIPART", 8 * 1024 * 1024)
    large = content(b"0123456789abcdef" * (9 * 65_536))
    key = key_of(s3_store.put(large))
    head = s3.head_object(Bucket=BUCKET, Key=key)
    assert head["ContentLength"] == len(large.content)
    assert head["ETag"].endswith('-2"')
    assert head["ContentDisposition"] == "attachment"


@pytest.mark.parametrize(
    ("declared", "served"),
    [
        ("image/jpeg", "image/jpeg"),
        ("Image/PNG; name=x.png", "image/png"),
        ("text/plain; charset=utf-8", "text/plain"),
        ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",) * 2,
        ("text/html", HARMLESS),
        ("TEXT/HTML", HARMLESS),
        ("image/svg+xml", HARMLESS),
        ("application/xhtml+xml", HARMLESS),
        ("text/xml", HARMLESS),
        ("text/javascript", HARMLESS),
        ("application/pdf", HARMLESS),
        ("image/png\r\nX-Evil: 1", HARMLESS),
        ("image/png,text/html", HARMLESS),
        ("", HARMLESS),
    ],
)
def test_a_browser_runs_nothing_of_what_is_served(declared: str, served: str) -> None:
    assert harmless_type(declared) == served


def test_a_link_downloads_and_never_shows(s3_store: S3Store, content: Any) -> None:
    page = content(b"<script>alert(1)</script>", "text/html", "invoice.html")
    s3_store.put(page)
    link = s3_store.link(page.sha256, 600, 'Rechnung "ä"\r\nX: y.html')
    with urllib.request.urlopen(link, timeout=60) as answer:
        assert answer.read() == page.content
        assert answer.headers["Content-Type"] == HARMLESS
        assert answer.headers["Content-Disposition"] == (
            "attachment; filename=\"Rechnung _X: y.html\"; filename*=UTF-8''Rechnung%20%C3%A4X%3A%20y.html"
        )
    fields = parse_qs(urlsplit(link).query)
    assert fields["X-Amz-Expires"] == ["600"]
    assert "/eu-west-1/s3/" in fields["X-Amz-Credential"][0], "the bucket's region, not the environment's"


def test_a_link_holds_as_long_as_aws_signs_and_the_credentials_are_valid(
    s3_store: S3Store, content: Any
) -> None:
    digest = content(b"x").sha256
    assert "X-Amz-Expires=604800" in s3_store.link(digest, 604_800)
    for seconds in (0, -1, 604_801):
        with pytest.raises(StoreRefuses, match="7 days"):
            s3_store.link(digest, seconds)
    assert s3_store.link_holds_s(604_800) == 604_800  # keys of a user do not end


def test_a_link_of_a_role_ends_with_its_credentials(aws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    store = S3Store(
        BUCKET, "", Access(role_arn="arn:aws:iam::123456789012:role/reader", endpoint_url=aws), 90
    )
    assert 3000 < store.link_holds_s(604_800) <= 3600
    assert store.link_holds_s(60) == 60
    store.close()


def test_names_in_a_disposition_cannot_be_more_than_names() -> None:
    assert disposition("") == "attachment"
    assert disposition("..") == "attachment"
    assert (
        disposition("a/b\\c;d%e.png")
        == "attachment; filename=\"abc_d_e.png\"; filename*=UTF-8''abc%3Bd%25e.png"
    )


def test_what_is_put_again_after_a_day_stays_for_the_whole_retention(
    s3_store: S3Store, s3: Any, content: Any
) -> None:
    photo = content(b"photo")
    key = key_of(s3_store.put(photo))
    later = S3Store(BUCKET, "mail/", Access(), 90, clock=lambda: time.time() + 86_500)
    later.put(photo)
    assert versions(s3, key) == 2
    head = s3.head_object(Bucket=BUCKET, Key=key)
    assert (head["ContentType"], head["ContentDisposition"]) == ("image/jpeg", "attachment")
    assert b"".join(later.read(photo.sha256)) == b"photo"
    later.close()


def test_damage_is_noticed_and_mended(s3_store: S3Store, s3: Any, content: Any) -> None:
    photo = content(b"photo")
    key = key_of(s3_store.put(photo))
    s3.put_object(Bucket=BUCKET, Key=key, Body=b"phot0")
    with pytest.raises(StoreRefuses, match="damaged"):
        b"".join(s3_store.read(photo.sha256))
    s3.put_object(Bucket=BUCKET, Key=key, Body=b"pho")
    s3_store.put(photo)
    assert b"".join(s3_store.read(photo.sha256)) == b"photo"


def test_a_store_that_is_away_is_one_sentence(aws: str, content: Any) -> None:
    missing = S3Store("no-such-bucket", "", Access(endpoint_url=aws), 90)
    with pytest.raises(StoreError, match="there is no attachment bucket s3://no-such-bucket/") as failed:
        missing.put(content(b"x"))
    assert "\n" not in str(failed.value)
    missing.close()
    away = S3Store(BUCKET, "", Access("eu-west-1", endpoint_url="http://127.0.0.1:9"), 90)
    for ask in (
        lambda: away.put(content(b"x")),
        lambda: b"".join(away.read(content(b"x").sha256)),
    ):
        with pytest.raises(StoreError, match=r"cannot be reached|does not give"):
            ask()
    away.close()


def rules(s3: Any, *given: dict[str, Any]) -> None:
    s3.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": list(given)})


def test_whoever_starts_is_told_whether_the_bucket_forgets(s3_store: S3Store, s3: Any) -> None:
    [told] = s3_store.warnings()
    assert "kept for ever" in told
    assert "Days 91" in told
    rules(s3, rule_of("mail/", 90))
    assert s3_store.warnings() == []
    rules(s3, rule_of("", 90))
    assert s3_store.warnings() == []
    for unfit in (
        rule_of("other/", 90),
        rule_of("mail/x", 90),
        {**rule_of("mail/", 90), "Status": "Disabled"},
    ):
        rules(s3, unfit)
        assert "kept for ever" in s3_store.warnings()[0]
    rules(s3, rule_of("mail/", 29))
    assert "after 30 days, sooner than inbound.attachment_days (90)" in s3_store.warnings()[0]
    rules(s3, rule_of("mail/", 400))
    assert "later than" in s3_store.warnings()[0]


def test_a_bucket_that_does_not_say_is_told_of(aws: str) -> None:
    missing = S3Store("no-such-bucket", "", Access(endpoint_url=aws), 90)
    assert "cannot be told (NoSuchBucket)" in missing.warnings()[0]
    missing.close()


def test_a_dead_link_is_dead(s3_store: S3Store, content: Any) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(s3_store.link(content(b"never put").sha256, 60), timeout=60)
    assert refused.value.code in {403, 404}
    refused.value.close()
