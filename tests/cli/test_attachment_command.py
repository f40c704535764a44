"""`attachment`: links, files, names and mails of a hash; and what is said of one that is not there."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from connectors.attachments.s3 import S3Store
from connectors.aws import Access
from pipelines.mail.outcome import Content

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.embedded
NOW = round(time.time() * 1000)
DAY = 86_400_000
CONTENTS = {
    "kept": b"\xff\xd8 photo",
    "lost": b"lost",
    "expired": b"expired",
    "hashed": b"hashed",
    "elsewhere": b"elsewhere",
    "unseen": b"unseen",
    "unknown": b"unknown",
}
HASHES = {name: hashlib.sha256(data).hexdigest() for name, data in CONTENTS.items()}

_SCRIPT = """
import contextlib, hashlib, io, json, sys
from pathlib import Path
from connectors.attachments.opening import open_store
from connectors.cli.main import main
from connectors.clickhouse.client import open_client
from connectors.clickhouse.inserts import TARGETS, insert_blocks
from connectors.clickhouse.migrations import migrate
from connectors.settings import load
from pipelines.mail.outcome import Content
from schemas import topics
from schemas.blocks import encode, open_block
import os

given = json.load(sys.stdin)
data = Path(given["data"])
(data / "clickhouse").mkdir(parents=True)
client = open_client(f"chdb:///{data / 'clickhouse'}", create=True)
migrate(client)
rows = [{**row, "mail_id": bytes.fromhex(row["mail_id"])} for row in given["rows"]]
insert_blocks(client, TARGETS[topics.INBOUND][0], [open_block(encode("inbound_mail", rows))])
client.close()
store = open_store(load(None, os.environ), data)
for text in given["contents"]:
    store.put(Content(hashlib.sha256(text.encode("latin-1")).hexdigest(), "x", "image/jpeg", text.encode("latin-1")))
said = []
for arguments in given["commands"]:
    sys.argv = ["ses-streams", "attachment", "--data", str(data), *arguments]
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code
    said.append([code or 0, out.getvalue(), err.getvalue()])
print(json.dumps(said))
"""


def row(
    number: int, name: str, hash_of: str, *, received: int = NOW, key: str = "file:///a"
) -> dict[str, Any]:
    attachment = {
        "name": name,
        "content_type": "image/jpeg",
        "size": len(CONTENTS[hash_of]),
        "sha256": HASHES[hash_of],
        "key": key,
        "inline": False,
    }
    verdicts = dict.fromkeys(("spf", "dkim", "dmarc", "spam", "virus", "dmarc_policy"), "")
    return {
        "mail_id": f"{number:032x}",
        "received_time": received,
        "kind": "reply",
        "from_domain": "ann.example",
        "subject": "photos",
        "verdicts": verdicts,
        "attachments": [attachment],
        "path": "s3",
    }


ROWS = [
    row(1, "hall.jpg", "kept"),
    row(2, "flur\x1b[2J.jpg", "kept", received=NOW - DAY),
    row(3, "lost.jpg", "lost"),
    row(4, "old.jpg", "expired", received=NOW - 91 * DAY),
    row(5, "never.jpg", "hashed", key=""),
    row(6, "far.jpg", "elsewhere", key="s3://bucket/x"),
]


def commands(tmp_path: Path, *given: list[str]) -> list[tuple[int, str, str]]:
    """What each said; of one process, for chdb is opened by one alone."""
    told = {
        "data": str(tmp_path / "data"),
        "rows": ROWS,
        "contents": [CONTENTS["kept"].decode("latin-1"), CONTENTS["unseen"].decode("latin-1")],
        "commands": given,
    }
    done = subprocess.run(
        [sys.executable, "-P", "-c", _SCRIPT],
        input=json.dumps(told),
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    return [tuple(each) for each in json.loads(done.stdout)]


def test_of_an_embedded_instance_it_is_a_file(tmp_path: Path) -> None:
    copy, taken = tmp_path / "copy.jpg", tmp_path / "taken.jpg"
    taken.write_text("mine")
    place, unseen, copied, kept, *failed = commands(
        tmp_path,
        [HASHES["kept"].upper()],
        ["sha256:" + HASHES["unseen"]],
        [HASHES["kept"], "--output", str(copy)],
        [HASHES["kept"], "--output", str(taken)],
        [HASHES["lost"]],
        [HASHES["expired"]],
        [HASHES["hashed"]],
        [HASHES["unknown"]],
        ["../../etc/passwd"],
        [HASHES["kept"], "--expires", "8d"],
        [HASHES["kept"], "--output", str(tmp_path / "none" / "x")],
        [HASHES["elsewhere"]],
    )
    digest = HASHES["kept"]
    file = tmp_path / "data" / "attachments" / digest[:2] / digest[2:4] / digest
    assert place[:2] == (0, f"{file}\n")
    assert file.read_bytes() == CONTENTS["kept"]
    lines = place[2].splitlines()
    assert lines[0] == file.as_uri()
    assert lines[1].startswith(f"{len(CONTENTS['kept'])} bytes, put ")
    assert [f"mail {1:032x}" in lines[2], "hall.jpg, image/jpeg" in lines[2]] == [True, True]
    assert [f"mail {2:032x}" in lines[3], "flur\N{REPLACEMENT CHARACTER}[2J.jpg" in lines[3]] == [True, True]
    assert unseen[0] == 0
    assert "no mail in ClickHouse has it" in unseen[2]
    assert copied[:2] == (0, "")
    assert copy.read_bytes() == CONTENTS["kept"]
    assert (kept[0], taken.read_text()) == (2, "mine")
    wanted = [
        (3, f"lost.jpg came with mail {3:032x}"),
        (3, "it has expired: attachments are kept for 90 days"),
        (3, "it was not kept then, only hashed"),
        (3, "no mail has an attachment"),
        (2, "is not a SHA-256"),
        (2, "7 days"),
        (2, "create it first"),
        (3, "it was put to s3://bucket/x, which is not where these settings keep attachments"),
    ]
    for (code, out, sentence), (expected, part) in zip(failed, wanted, strict=True):
        assert (code, out) == (expected, ""), sentence
        assert part in sentence
        assert sentence.startswith("ses-streams: ")


@pytest.fixture
def aws(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    reset = urllib.request.Request(f"{server}/moto-api/reset", method="POST")
    urllib.request.urlopen(reset, timeout=60).close()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": server,
        "SES_STREAMS_INBOUND__ATTACHMENTS": "s3://attachments/mail",
    }.items():
        monkeypatch.setenv(name, value)
    return server


def test_in_s3_it_is_a_link_that_expires(tmp_path: Path, aws: str, said_by: Any) -> None:
    request = urllib.request.Request(f"{aws}/attachments", method="PUT")
    urllib.request.urlopen(request, timeout=60).close()
    photo = Content(HASHES["kept"], "x", "image/jpeg", CONTENTS["kept"])
    with closing(S3Store("attachments", "mail", Access(), 90)) as store:
        store.put(photo)
    attachment = said_by("attachment")
    code, out, said = attachment(HASHES["kept"], "--expires", "12h")
    assert code == 0, said
    assert "X-Amz-Expires=43200" in out
    with urllib.request.urlopen(out.strip(), timeout=60) as answer:
        assert answer.read() == CONTENTS["kept"]
        assert answer.headers["Content-Disposition"] == "attachment"
    assert "which mails have it is not known: there is no data" in said
    assert f"s3://attachments/mail/{HASHES['kept'][:2]}/" in said
    code, out, said = attachment(HASHES["kept"], "--output", str(tmp_path / "copy"))
    assert (code, out, (tmp_path / "copy").read_bytes()) == (0, "", CONTENTS["kept"])
    code, out, said = attachment(HASHES["lost"])
    assert (code, out) == (3, "")
    assert "it has expired, or never was there" in said
