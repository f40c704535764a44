"""Which partition a key belongs to: CRC-32 of the key modulo the number of partitions, for every topic of ours."""

from __future__ import annotations

from zlib import crc32


def of_message(message_id: str, partitions: int) -> int:
    """Partition of `ses.events` for a message: all its events meet there."""
    return crc32(message_id.encode(errors="surrogatepass")) % partitions


def of_key(dimension: str, value: str, partitions: int) -> int:
    """Partition of `ses.counts` and `ses.rates` for a (dimension, value)."""
    return crc32(f"{dimension}\0{value}".encode(errors="surrogatepass")) % partitions


def of_hour(hour: int, partitions: int) -> int:
    """Partition of `ses.recounts` for a cohort hour (seconds): who recounts an hour sees all requests for it."""
    return crc32(hour.to_bytes(8, "big", signed=True)) % partitions


def of_tenant(tenant: str, partitions: int) -> int:
    """Partition of `mail.inbound`, `mail.outbound` and `mail.threads` for a tenant; empty: none is told."""
    return of_key("tenant", tenant, partitions)
