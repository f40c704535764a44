"""Stores of both kinds, empty; AWS is moto's server."""

from __future__ import annotations

import hashlib
import urllib.request
from typing import TYPE_CHECKING, Any, Final

import boto3
import pytest

from connectors.attachments.directory import DirectoryStore
from connectors.attachments.s3 import S3Store
from connectors.aws import Access
from pipelines.mail.outcome import Content

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from connectors.attachments.store import AttachmentStore

REGION: Final = "eu-west-1"
BUCKET: Final = "attachments"
DAYS: Final = 90


@pytest.fixture
def aws(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An AWS with a versioned bucket, and credentials for it. Its region is not that of the environment."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": server,
    }.items():
        monkeypatch.setenv(name, value)
    urllib.request.urlopen(
        urllib.request.Request(f"{server}/moto-api/reset", method="POST"), timeout=60
    ).close()
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    s3.close()
    return server


@pytest.fixture
def s3(aws: str) -> Iterator[Any]:
    """A client of that AWS."""
    client = boto3.client("s3", endpoint_url=aws)
    yield client
    client.close()


@pytest.fixture
def s3_store(aws: str) -> Iterator[S3Store]:
    assert aws
    store = S3Store(BUCKET, "mail/", Access(), DAYS)
    yield store
    store.close()


@pytest.fixture
def directory(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "attachments", DAYS)


@pytest.fixture
def content() -> Callable[..., Content]:
    """Makes contents."""

    def make(data: bytes, content_type: str = "image/jpeg", name: str = "hall.jpg") -> Content:
        return Content(hashlib.sha256(data).hexdigest(), name, content_type, data)

    return make


@pytest.fixture(params=["directory", "s3_store"])
def store(request: pytest.FixtureRequest) -> AttachmentStore:
    """Either."""
    found: AttachmentStore = request.getfixturevalue(request.param)
    return found
