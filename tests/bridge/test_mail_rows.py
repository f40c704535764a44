"""Rows of mail through the bridge: each to its topic, its tenant's partition, under its unit's receipt."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from connectors.bridge import NO_MAIL, Bridge, MailRows, Policy, Receipt, sent_rows
from connectors.bridge.landed import Landing
from connectors.inbound.mailroom import Mailroom
from connectors.inbound.settings import Inbound, policy_of
from pipelines.intake.policy import NormalisePolicy
from pipelines.intake.provenance import Provenance
from schemas import topics
from schemas.blocks import decode, open_block
from schemas.partitioning import of_tenant

PARTITIONS = 5


def mail(tenant: str, number: int = 0) -> Any:
    room = Mailroom(policy_of(Inbound(), NormalisePolicy(pii="plain")))
    raw = f"From: a@b.example\nMessage-ID: <{number}@{tenant}>\n\nx".encode()
    (row,) = room.read_content(raw, _notice(), Provenance("file:///x", 1, "file"), "file").rows.mails
    return row | {"tenant": tenant}


def _notice() -> Any:
    from pipelines.mail.notice import Notice

    return Notice()


def outbound(tenant: str, number: int = 0) -> Any:
    names = (
        *("header_message_id", "account", "region", "configuration_set", "from_domain", "feedback_a"),
        *("feedback_b", "feedback_c", "campaign", "subject", "base_subject"),
    )
    row: dict[str, Any] = dict.fromkeys(names, "")
    return row | {
        "message_id": f"m{number}",
        "sent_time": number,
        "tenant": tenant,
        "in_reply_to": [],
        "references": [],
        "conversations": [],
        "recipients": [7],
    }


def partitions(memory: Any, topic: str) -> dict[int, list[Any]]:
    return {
        part: [row for block in log for row in decode(block)]
        for (name, part), log in memory.logs.items()
        if name == topic
    }


@pytest.mark.parametrize("apart", [True, False])
def test_mails_and_messages_of_a_tenant_meet_in_a_partition(memory: Any, apart: bool) -> None:  # noqa: FBT001
    memory.automatic = True
    bridge = Bridge(Policy(PARTITIONS, tenants_apart=apart), memory)
    safe = threading.Event()
    receipt = Receipt(safe.set)
    tenants = ["", "acme", "other", "third", "fourth"]
    rows = MailRows(mails=map(mail, tenants), outbound=map(outbound, tenants))
    bridge.submit((), (), receipt, rows)
    receipt.close()
    bridge.flush(10)
    bridge.close()
    assert safe.is_set()
    for topic in (topics.INBOUND, topics.OUTBOUND):
        found = {row["tenant"]: part for part, rows in partitions(memory, topic).items() for row in rows}
        assert found == {each: of_tenant(each if apart else "", PARTITIONS) for each in tenants}
    assert (bridge.counters.mails, bridge.counters.rows, bridge.counters.events) == (5, 5, 0)


def test_a_row_that_does_not_fit_is_a_dead_letter_and_the_others_go_on(memory: Any) -> None:
    memory.automatic = True
    bridge = Bridge(Policy(1), memory)
    good, bad = mail("", 1), mail("", 2) | {"subject": 7}
    large = mail("", 3) | {"subject": "x" * (4 << 20)}
    receipt = Receipt(lambda: None)
    bridge.submit(
        (), (), receipt, MailRows(mails=[bad, large, good], outbound=[outbound("") | {"tenant": None}])
    )
    bridge.flush(10)
    bridge.close()
    assert [row["message_id"] for row in partitions(memory, topics.INBOUND)[0]] == ["1@"]
    letters = [(row["cause"], row["source"]) for row in partitions(memory, topics.DEAD_LETTERS)[0]]
    expected = [
        ("row_refused", f"mail:{bad['mail_id'].hex()}"),
        ("row_too_large", f"mail:{large['mail_id'].hex()}"),
    ]
    assert letters == [*expected, ("row_refused", "outbound:m0")]


def test_reports_of_both_kinds_share_a_topic_and_land_in_its_order(memory: Any) -> None:
    from schemas.avro import newest

    class Watched(Landing):
        def __init__(self) -> None:
            self.offsets: list[tuple[str, int, int]] = []

        def watch(self, topic: str, partition: int, offset: int, landed: Any, failed: Any) -> None:
            self.offsets.append((topic, partition, offset))
            landed()

        def close(self) -> None:
            """Nothing to close."""

    def report(record: str, number: int) -> Any:
        empty = {"string": "", "long": 0, "int": 0, "boolean": False, "bytes": b"\0" * 16}

        def value(kind: Any) -> Any:
            if isinstance(kind, str):
                return empty[kind]
            if kind["type"] == "record":
                return {each["name"]: value(each["type"]) for each in kind["fields"]}
            return {"array": list, "fixed": lambda: b"\0" * 16}.get(
                kind["type"], lambda: empty[kind["type"]]
            )()

        return value(newest(record).item) | {"row": number}

    landing = Watched()
    bridge = Bridge(Policy(1, landed=True), memory, landing)
    memory.automatic = True
    safe = threading.Event()
    receipt = Receipt(safe.set)
    for number in range(3):
        rows = MailRows(dmarc=[report("dmarc_record", number)], tls=[report("tls_result", number)])
        bridge.submit((), (), receipt, rows)
        bridge.flush(10)
    receipt.close()
    bridge.close()
    assert safe.is_set()
    blocks = memory.logs[topics.REPORTS, 0]
    assert [open_block(block).schema.record for block in blocks] == ["dmarc_record", "tls_result"] * 3
    assert landing.offsets == [(topics.REPORTS, 0, offset) for offset in range(6)]


def test_nothing_of_mail_costs_nothing() -> None:
    assert sent_rows([]) is NO_MAIL
