"""What holds of every attachment store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from connectors.attachments.store import StoreRefuses

if TYPE_CHECKING:
    from connectors.attachments.store import AttachmentStore

pytestmark = pytest.mark.embedded


def test_what_was_put_is_found_and_read(store: AttachmentStore, content: Any) -> None:
    photo = content(b"\xff\xd8" + bytes(3_000_000))
    assert store.find(photo.sha256) is None
    key = store.put(photo)
    assert key.endswith(f"/{photo.sha256[:2]}/{photo.sha256[2:4]}/{photo.sha256}")
    found = store.find(photo.sha256)
    assert found is not None
    assert (found.key, found.size) == (key, len(photo.content))
    assert b"".join(store.read(photo.sha256)) == photo.content


def test_putting_again_changes_nothing(store: AttachmentStore, content: Any) -> None:
    photo = content(b"photo")
    key = store.put(photo)
    assert store.put(replace(photo, name="other.html", content_type="text/html")) == key
    assert b"".join(store.read(photo.sha256)) == b"photo"


def test_an_empty_content_is_one(store: AttachmentStore, content: Any) -> None:
    empty = content(b"")
    store.put(empty)
    assert b"".join(store.read(empty.sha256)) == b""


def test_many_at_once(store: AttachmentStore, content: Any) -> None:
    photos = [content(bytes([number % 3]) * 100_000) for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(store.put, photos))
    assert len(set(keys)) == 3
    for photo in photos[:3]:
        assert b"".join(store.read(photo.sha256)) == photo.content


def test_bytes_of_another_hash_are_not_taken(store: AttachmentStore, content: Any) -> None:
    wrong = replace(content(b"one"), content=b"two")
    with pytest.raises(ValueError, match="not of the hash"):
        store.put(wrong)
    assert store.find(wrong.sha256) is None


def test_only_a_hash_becomes_a_path(store: AttachmentStore) -> None:
    for name in ("", "../../../etc/passwd", "ABCDEF" + "0" * 58, "0" * 63, "0" * 65, "0" * 63 + "\n"):
        for ask in (store.find, lambda each: b"".join(store.read(each)), lambda each: store.link(each, 60)):
            with pytest.raises((ValueError, StoreRefuses)):
                ask(name)


def test_what_is_not_there_cannot_be_read(store: AttachmentStore, content: Any) -> None:
    with pytest.raises(StoreRefuses, match="there is no content"):
        b"".join(store.read(content(b"never put").sha256))
