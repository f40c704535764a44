"""What the reading of received mail says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connectors.metrics.readings import Sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from connectors.inbound.lobby import Numbers as LobbyNumbers
    from connectors.inbound.mailroom import Numbers


def of_mailroom(numbers: Numbers, queues: Sequence[tuple[str, LobbyNumbers | None]]) -> Iterator[Sample]:
    """Of a mailroom, and of where mails of queues (their URLs and numbers) wait for it."""
    yield Sample("bridge_mails", numbers.mails)
    yield Sample("bridge_mail_bytes", numbers.bytes)
    yield Sample("bridge_mails_rejected", numbers.rejected)
    yield Sample("bridge_attachments", numbers.contents)
    for name, lobby in queues:
        if lobby is None:
            continue
        for tenant, count in sorted(lobby.read.copy().items()):
            yield Sample("bridge_mails_read", count, (name, tenant))
        for tenant, count in sorted(lobby.put_off.copy().items()):
            yield Sample("bridge_mails_put_off", count, (name, tenant))
        for tenant, count in sorted(lobby.now_waiting().items()):
            yield Sample("bridge_mails_waiting", count, (name, tenant))
