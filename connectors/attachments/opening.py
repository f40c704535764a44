"""`open_store`: the store that the settings name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from connectors.attachments.directory import DirectoryStore
from connectors.attachments.s3 import S3Store
from connectors.aws import Access
from connectors.errors import SettingsError
from connectors.sources.s3 import split_uri

if TYPE_CHECKING:
    from connectors.attachments.store import AttachmentStore
    from connectors.settings import Settings

_SCHEME: Final = "s3://"
_FOLDER: Final = "attachments"


def open_store(settings: Settings, data_dir: Path | None = None) -> AttachmentStore | None:
    """The store; None: attachments are only hashed.

    Args:
        settings: `inbound.attachments` and `inbound.attachment_days`. AWS is reached as the environment says.
        data_dir: of an embedded instance, which keeps attachments there unless a place is set; None: of none.

    Raises:
        SettingsError: the place is none.
        StoreError: its directory cannot be used.
    """
    place = settings.inbound.attachments
    days = settings.inbound.attachment_days
    if place.startswith(_SCHEME):
        bucket, prefix = split_uri(place)
        return S3Store(bucket, prefix, Access(), days)
    if "://" in place:
        raise SettingsError(f"inbound.attachments: {place} is neither s3://bucket/prefix nor a directory")
    if place:
        return DirectoryStore(Path(place), days)
    return DirectoryStore(data_dir / _FOLDER, days) if data_dir is not None else None
