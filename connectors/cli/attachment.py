"""`attachment`: a link to an attachment by its hash, or the file; and which mails have it."""

from __future__ import annotations

import os
import sys
import time
from contextlib import closing
from pathlib import Path
from tempfile import mkstemp
from typing import TYPE_CHECKING, Final

from connectors.cli.context import directory_of, is_production, notice, say, settings_of
from connectors.errors import ClickHouseError, InstanceError, SettingsError, SourceError

if TYPE_CHECKING:
    import argparse

    from connectors.attachments.lookup import Sightings
    from connectors.attachments.store import AttachmentStore, Stored
    from connectors.settings import Settings

_STANDARD: Final = "-"
_DAY_MS: Final = 86_400_000


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("hash", metavar="HASH", help="SHA-256, as in `attachments` of view `mails`")
    parser.add_argument(
        "--expires",
        default="1h",
        metavar="SPAN",
        help="how long the link holds, such as 30m, 12h, 7d (default: %(default)s; at most 7d)",
    )
    parser.add_argument("--output", metavar="FILE", help="write the attachment there; - is standard output")


def run(args: argparse.Namespace) -> int:
    """Print the link, or where the file is; what is known of it goes to standard error."""
    from connectors.attachments.store import path_of

    sha256 = args.hash.strip().lower().removeprefix("sha256:")
    try:
        path_of(sha256)
    except ValueError as error:
        raise SettingsError(f"{error}; `ses-streams sql` shows those of view mails") from None
    settings = settings_of(args)
    seconds = _seconds(args.expires)
    _check_output(args.output)
    sightings = _sightings(args, sha256)
    store = _store(args, settings)
    if store is None:
        raise SourceError(
            f"{_known(sightings)}attachments are not kept, only hashed: set inbound.attachments to keep them"
        )
    with closing(store):
        found = store.find(sha256)
        if found is None:
            raise SourceError(_why_missing(sha256, sightings, settings))
        _describe(found, sightings, settings)
        if args.output is not None:
            _write(store, sha256, args.output)
        else:
            print(_place(store, found, sha256, seconds, sightings))
    return 0


def _seconds(expires: str) -> int:
    from connectors.alarms.orders import span_ms
    from connectors.attachments.store import LONGEST_LINK_S

    seconds = span_ms(expires) // 1000
    if not 1 <= seconds <= LONGEST_LINK_S:
        raise SettingsError(
            f"--expires {expires}: a link holds between a second and 7 days, the most that AWS signs"
        )
    return seconds


def _check_output(output: str | None) -> None:
    if output is None or output == _STANDARD:
        return
    place = Path(output)
    if place.exists():
        raise SettingsError(f"--output {place}: that is there already, choose another name")
    if not place.absolute().parent.is_dir():
        raise SettingsError(f"--output {place}: there is no directory {place.parent}, create it first")


def _store(args: argparse.Namespace, settings: Settings) -> AttachmentStore | None:
    from connectors.attachments.opening import open_store

    directory = None if is_production(settings) else directory_of(args).path
    if directory is not None and not settings.inbound.attachments and not directory.exists():
        raise InstanceError(f"there is no data in {directory} yet: run `ses-streams up` or `replay` first")
    return open_store(settings, directory)


def _sightings(args: argparse.Namespace, sha256: str) -> Sightings | None:
    """None: ClickHouse cannot be asked, which keeps nobody from the attachment."""
    from connectors.attachments.lookup import found_in
    from connectors.cli.clickhouse_at import target_of

    try:
        with target_of(args) as target:
            return found_in(target, sha256)
    except ClickHouseError as error:
        notice(f"which mails have it is not known: {error}")
        return None


def _known(sightings: Sightings | None) -> str:
    if sightings is None or not sightings.newest:
        return ""
    newest = sightings.newest[0]
    return f"{newest.name or 'it'} came with mail {newest.mail_id} of {_moment(newest.received)}, but "


def _why_missing(sha256: str, sightings: Sightings | None, settings: Settings) -> str:
    days = settings.inbound.attachment_days
    if sightings is None:
        return f"there is no attachment {sha256} in the store: it has expired, or never was there"
    if not sightings.newest:
        return f"no mail has an attachment {sha256}: check the hash"
    newest = sightings.newest[0]
    if not any(each.key for each in sightings.newest):
        return f"{_known(sightings)}it was not kept then, only hashed: set inbound.attachments to keep what comes"
    if newest.received + days * _DAY_MS < time.time() * 1000:
        return f"{_known(sightings)}it has expired: attachments are kept for {days} days (inbound.attachment_days)"
    place = settings.inbound.attachments
    if not newest.key.startswith(place if place.startswith("s3://") else "file:"):
        return (
            f"{_known(sightings)}it was put to {newest.key}, which is not where these settings keep attachments: "
            "give --config, or set inbound.attachments as the bridge has it"
        )
    return f"{_known(sightings)}it is not in the store any more: it was put to {newest.key}"


def _describe(found: Stored, sightings: Sightings | None, settings: Settings) -> None:
    until = found.time + settings.inbound.attachment_days * _DAY_MS
    say(f"{found.key}\n{found.size} bytes, put {_moment(found.time)}, kept until about {_moment(until)}")
    for each in sightings.newest if sightings else ():
        say(
            f"  {_moment(each.received)}  mail {each.mail_id}  {each.kind} from {each.from_domain or '?'}:"
            f" {each.name or '(no name)'}, {each.content_type}, {each.size} bytes"
        )
    if sightings and sightings.total > len(sightings.newest):
        say(f"  and {sightings.total - len(sightings.newest)} more")
    if sightings is not None and not sightings.newest:
        say("  no mail in ClickHouse has it")


def _place(
    store: AttachmentStore, found: Stored, sha256: str, seconds: int, sightings: Sightings | None
) -> str:
    """The link; of a file its path."""
    if found.key.startswith("file://"):
        from urllib.request import url2pathname

        return url2pathname(found.key.removeprefix("file://"))
    holds = store.link_holds_s(seconds)
    if holds < seconds:
        notice(
            f"the link holds only {holds // 60} minutes: that long are the AWS credentials valid that sign it"
        )
    name = next((each.name for each in sightings.newest if each.name), "") if sightings else ""
    return store.link(sha256, seconds, name)


def _write(store: AttachmentStore, sha256: str, output: str) -> None:
    """Whole or not at all; the bytes are compared with the hash."""
    if output == _STANDARD:
        for chunk in store.read(sha256):
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
        return
    place = Path(output)
    file, name = mkstemp(dir=place.parent, prefix=f".{place.name[:100]}.")
    try:
        with os.fdopen(file, "wb") as out:
            for chunk in store.read(sha256):
                out.write(chunk)
        Path(name).replace(place)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    say(f"written to {place}")


def _moment(ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(ms / 1000))
