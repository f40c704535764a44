"""Finding a conversation by whatever one has of it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from connectors.cli.main import main
from connectors.clickhouse import door
from connectors.clickhouse.sql import Through
from connectors.embedded.directory import DataDirectory, Endpoints
from connectors.errors import ClickHouseError
from connectors.reports.conversation import conversations
from schemas import topics

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.embedded

T = 1_767_225_600_000
THREAD = "ab" * 16
OTHER = "ac" * 16
SES = "0102018f7a6b5c4d-11111111-2222-3333-4444-555555555555-000000"


@pytest.fixture
def through(client: Any, engine: Path, database: str) -> Iterator[Through]:
    opened = door.serve(engine, database)
    yield Through(opened.address, opened.token)
    opened.stop()


@pytest.fixture(autouse=True)
def _conversations(insert: Any) -> None:
    """One of a message with an answer and a bounce, one of a mail that cites what was never seen."""

    def mail(number: int, **fields: Any) -> dict[str, Any]:
        row = {
            "mail_id": bytes([number]) * 16,
            "received_time": T + number * 1000,
            "kind": "reply",
            "path": "s3",
        }
        return row | {"from_domain": "mail.example", "message_id": f"r{number}@x", "verdicts": {}} | fields

    def joined(number: int, thread: str) -> dict[str, Any]:
        return {
            "member": f"in:{(bytes([number]) * 16).hex()}",
            "thread_id": thread,
            "direction": "in",
            "time": T + number * 1000,
            **(
                {"rank": 0, "message_id": SES, "campaign": "spring", "sent_time": T}
                if thread == THREAD
                else {}
            ),
        }

    insert(
        topics.INBOUND,
        [
            mail(1, in_reply_to=[f"{SES}@eu-west-1.amazonses.com"], ses_id="inboundsesid", tenant="acme"),
            mail(2, kind="bounce", references=["own'id@shop.example"]),
            mail(3, in_reply_to=["never@seen"]),
            mail(4, message_id="alone@x"),
        ],
    )
    insert(
        topics.OUTBOUND,
        [
            {
                "message_id": SES,
                "sent_time": T,
                "campaign": "spring",
                "header_message_id": "own'id@shop.example",
            },
            {"message_id": "unanswered", "sent_time": T + 1, "campaign": "spring", "subject": "Hello?"},
        ],
    )
    ours = {"member": f"out:{SES}", "thread_id": THREAD, "direction": "out", "time": T, "rank": 0}
    insert(
        topics.THREADS,
        [
            joined(1, THREAD),
            joined(2, THREAD),
            joined(3, OTHER),
            ours | {"message_id": SES, "campaign": "spring", "sent_time": T},
        ],
    )


BY = (
    THREAD,
    THREAD[:5].upper(),
    SES,
    f"<{SES}@eu-west-1.amazonses.com>",
    f"{SES}@email.amazonses.com",
    " <own'id@shop.example> ",
    "r1@x",
    "<r2@x>",
    "inboundsesid",
    "01" * 16,
)
ALONE = {"unanswered": "unanswered", "<alone@x>": "04" * 16, "04" * 16: "04" * 16}
UNKNOWN = ("nobody@nowhere", "f" * 32, "  ", "a'; DROP TABLE mail_rows --")


def test_a_conversation_is_found_by_whatever_one_has_of_it(through: Through) -> None:
    for asked in BY:
        (found,) = conversations(through, asked)
        assert (found.thread_id, found.campaign, found.tenant) == (THREAD, "spring", "acme"), asked
        assert (found.outbound, found.inbound, found.time_to_first_reply) == (1, 2, 1.0)
        assert [each.id for each in found.messages] == [SES, "01" * 16, "02" * 16]
        assert found.messages[0].message_id == "own'id@shop.example"
    # What was never seen leads to those that cite it.
    (found,) = conversations(through, "<never@seen>")
    assert (found.thread_id, [each.id for each in found.messages]) == (OTHER, ["03" * 16])
    for asked, message_id in ALONE.items():
        (found,) = conversations(through, asked)
        assert (found.thread_id, [each.id for each in found.messages]) == ("", [message_id])
    for asked in UNKNOWN:
        with pytest.raises(
            ClickHouseError, match=r"nothing is known of .*: give a thread's id or its beginning"
        ):
            conversations(through, asked)


def test_what_is_cited_and_belongs_elsewhere_is_found_there(through: Through, insert: Any) -> None:
    cites = ["never@seen", f"{SES}@eu-west-1.amazonses.com", "own'id@shop.example", "alone@x", "unanswered@x"]
    mail = {"mail_id": b"\5" * 16, "received_time": T + 5000, "kind": "reply", "path": "s3", "verdicts": {}}
    insert(topics.INBOUND, [mail | {"message_id": "r5@x", "references": cites, "in_reply_to": ["r1@x"]}])
    member = {
        "member": f"in:{'05' * 16}",
        "thread_id": "ad" * 16,
        "direction": "in",
        "time": T + 5000,
    }
    insert(topics.THREADS, [member])
    (found,) = conversations(through, "ad" * 16)
    assert {name: (each.message.id, each.thread_id) for name, each in found.elsewhere.items()} == {
        f"ses:{SES}": (SES, THREAD),
        "id:own'id@shop.example": (SES, THREAD),
        "id:alone@x": ("04" * 16, ""),
        "id:r1@x": ("01" * 16, THREAD),
    }
    assert not conversations(through, THREAD)[0].elsewhere


def test_too_little_of_an_id_is_a_sentence(through: Through, insert: Any) -> None:
    def ours(name: str, thread: str) -> dict[str, Any]:
        row = {"member": f"out:{name}", "thread_id": thread, "direction": "out", "time": T, "rank": 0}
        return row | {"message_id": name, "campaign": "spring", "sent_time": T}

    insert(topics.THREADS, [ours("x", "abcd" * 8), ours("y", "abce" * 8)])
    (found,) = conversations(through, "abcd")
    # What is known of a message sent may have been dropped by now.
    assert [(each.id, each.direction, each.time, each.campaign) for each in found.messages] == [
        ("x", "out", T, "spring")
    ]
    insert(topics.THREADS, [ours("z", "abcda" + "0" * 27)])
    with pytest.raises(ClickHouseError, match="more than one thread begins with abcd: give more of its id"):
        conversations(through, "abcd")


def test_the_command_asks_the_running_instance(
    through: Through, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = DataDirectory(tmp_path / "data")

    def said(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(
            sys, "argv", ["ses-streams", "threads", "show", *arguments, "--data", str(directory.path)]
        )
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), *capsys.readouterr()

    with directory.hold():
        directory.publish(Endpoints(1, 1, "", through.address, through.token))
        code, out, _ = said(SES)
        assert code == 0
        lines = out.splitlines()
        assert lines[0].startswith(
            f"thread {THREAD}  campaign spring  tenant acme  1 sent, 2 received  first reply"
        )
        assert lines[1].endswith(f"campaign spring  {SES}")
        assert lines[2].startswith("├─ received  2026-01-01 00:00:01  reply  mail.example")
        assert lines[3].startswith("└─ received  2026-01-01 00:00:02  bounce")
        code, out, _ = said("r3@x", "--format", "json")
        (thread,) = [json.loads(line) for line in out.splitlines()]
        assert [each["id"] for each in thread["messages"]] == ["<never@seen>", "03" * 16]
        code, out, error = said("nobody@nowhere")
        assert (code, out) == (ClickHouseError.exit_code, "")
        assert error.startswith("ses-streams: nothing is known of 'nobody@nowhere': give")
