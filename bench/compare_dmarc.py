"""Do we read in DMARC and TLS reports what others read in them? `make compare-dmarc ARGS=FOLDER`

Each file below the folders is read by us and by parsedmarc; where there is a NAME.json beside NAME.xml or NAME.eml that
holds what mail-auth (of Stalwart) reads in it, that is compared too. Ours is first put into the other's terms: what a
report leaves out is empty here, and the default of the RFC there. Ends with 1 when anything else differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.mail.parse import parse
from pipelines.mail.parsed import Headers, ParsedMail, Part
from pipelines.mail.policy import Limits
from pipelines.mail.reports import Reports, reports_of

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / ".venv-parsedmarc/bin/python"
REFERENCE = Path(__file__).with_name("dmarc_reference.py")
LIMITS = Limits()


def ours(path: Path) -> Reports:
    raw = path.read_bytes()
    if path.suffix == ".eml":
        return reports_of(parse(raw, LIMITS), LIMITS)
    part = Part("application/octet-stream", filename=path.name, content=raw)
    return reports_of(ParsedMail(Headers(), "multipart/mixed", {}, [part]), LIMITS)


def theirs(paths: list[Path]) -> dict[Path, dict[str, Any]]:
    command = [str(PYTHON), str(REFERENCE), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"TZ": "UTC"})
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {Path(line["file"]): line for line in lines}


def dmarc_of_ours(row: Any) -> dict[str, Any]:
    """In parsedmarc's terms."""
    policy, spf = row["policy"], row["spf_results"]
    return {
        # It keeps what is before an @.
        "report": row["report_id"].split("@")[0],
        "begin": row["begin_time"] // 1000,
        "end": row["end_time"] // 1000,
        "domain": row["policy_domain"],
        "email": row["reporter_email"],
        "p": policy["p"],
        "sp": policy["sp"] or policy["p"],
        "np": policy["np"],
        "adkim": policy["adkim"] or "r",
        "aspf": policy["aspf"] or "r",
        "pct": policy["pct"],
        "fo": policy["fo"],
        "testing": policy["testing"],
        "discovery": policy["discovery"],
        "ip": row["source_ip"],
        "count": row["count"],
        "disposition": row["disposition"] or "none",
        "dkim": row["dkim"] or "fail",
        "spf": row["spf"] or "fail",
        "aligned": row["aligned"],
        "overrides": [[each["type"], each["comment"]] for each in row["overrides"]],
        "header_from": row["header_from"],
        "envelope_from": row["envelope_from"] or (spf[-1]["domain"] if spf else ""),
        "envelope_to": row["envelope_to"],
        "dkim_results": [
            [each["domain"], each["selector"] or "none", each["result"] or "none"]
            for each in row["dkim_results"]
        ],
        "spf_results": [[each["domain"], each["scope"] or "mfrom", each["result"] or "none"] for each in spf],
    }


def dmarc_of_theirs(report: dict[str, Any]) -> list[dict[str, Any]]:
    metadata, policy = report["report_metadata"], report["policy_published"]
    return [
        {
            "report": metadata["report_id"],
            "begin": seconds(metadata["begin_date"]),
            "end": seconds(metadata["end_date"]),
            "domain": policy["domain"].lower(),
            "email": metadata["org_email"] or "",
            **{
                name: policy[name] or ""
                for name in ("p", "sp", "np", "adkim", "aspf", "pct", "fo", "testing")
            },
            "discovery": policy["discovery_method"] or "",
            "ip": row["source"]["ip_address"],
            "count": row["count"],
            "disposition": row["policy_evaluated"]["disposition"],
            "dkim": row["policy_evaluated"]["dkim"] or "fail",
            "spf": row["policy_evaluated"]["spf"] or "fail",
            "aligned": row["alignment"]["dmarc"],
            "overrides": [
                [each.get("type") or "", each.get("comment") or ""]
                for each in row["policy_evaluated"]["policy_override_reasons"]
                if each.get("type") or each.get("comment")
            ],
            "header_from": row["identifiers"]["header_from"],
            "envelope_from": (row["identifiers"]["envelope_from"] or "").lower(),
            "envelope_to": (row["identifiers"]["envelope_to"] or "").lower(),
            "dkim_results": [
                [each["domain"].lower(), each["selector"], each["result"]]
                for each in row["auth_results"]["dkim"]
            ],
            "spf_results": [
                [each["domain"].lower(), each["scope"], each["result"]] for each in row["auth_results"]["spf"]
            ],
        }
        for row in report["records"]
    ]


def tls_of_ours(rows: Any) -> list[dict[str, Any]]:
    return [
        {
            "report": row["report_id"],
            "begin": row["begin_time"] // 1000,
            "end": row["end_time"] // 1000,
            "domain": row["policy_domain"],
            "type": row["policy_type"],
            "policy": row["policy"],
            "counts": [row["successful"], row["failed"], row["failed_sessions"]],
            "failure": [
                row[name]
                for name in ("result_type", "sending_ip", "receiving_mx", "receiving_ip", "reason", "detail")
            ],
        }
        for row in rows
    ]


def tls_of_theirs(report: dict[str, Any]) -> list[dict[str, Any]]:
    names = (
        "sending_mta_ip",
        "receiving_mx_hostname",
        "receiving_ip",
        "failure_reason_code",
        "additional_info_uri",
    )
    found = []
    for policy in report["policies"]:
        common = {
            "report": report["report_id"],
            "begin": seconds(report["begin_date"]),
            "end": seconds(report["end_date"]),
            "domain": policy["policy_domain"],
            "type": policy["policy_type"],
            "policy": policy.get("policy_strings", []),
        }
        counts = [policy["successful_session_count"], policy["failed_session_count"], 0]
        found.append(common | {"counts": counts, "failure": [""] * 6})
        found += [
            common
            | {
                "counts": [0, 0, each["failed_session_count"]],
                "failure": [each["result_type"], *(each.get(name, "").strip() for name in names)],
            }
            for each in policy.get("failure_details", [])
        ]
    return found


def of_mail_auth(report: dict[str, Any]) -> list[list[Any]]:
    metadata, policy = report["report_metadata"], report["policy_published"]
    return [
        [
            *(
                metadata["report_id"],
                metadata["date_range"]["begin"],
                metadata["date_range"]["end"],
                policy["domain"],
            ),
            *(row["row"]["source_ip"], row["row"]["count"]),
            *(word(row["row"]["policy_evaluated"][name]) for name in ("disposition", "dkim", "spf")),
            *(row["identifiers"][name] or "" for name in ("header_from", "envelope_from", "envelope_to")),
            [
                [each["domain"], each["selector"], word(each["result"])]
                for each in row["auth_results"]["dkim"]
            ],
            [[each["domain"], word(each["result"])] for each in row["auth_results"]["spf"]],
        ]
        for row in report["record"]
    ]


def like_mail_auth(row: Any) -> list[Any]:
    return [
        *(row["report_id"], row["begin_time"] // 1000, row["end_time"] // 1000, row["policy_domain"]),
        *(row["source_ip"], row["count"], row["disposition"], row["dkim"], row["spf"]),
        *(row["header_from"], row["envelope_from"], row["envelope_to"]),
        [[each["domain"], each["selector"], each["result"]] for each in row["dkim_results"]],
        [[each["domain"], each["result"]] for each in row["spf_results"]],
    ]


def word(said: str) -> str:
    return "" if said == "Unspecified" else said.lower()


def seconds(said: str) -> int:
    time = datetime.fromisoformat(said)
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())


def judge(mine: Reports, other: dict[str, Any]) -> tuple[str, str]:
    """(verdict, what differs); a verdict of `DIFFERS` is a mistake of somebody's."""
    if other["report_type"] == "aggregate":
        expected: list[Any] = dmarc_of_theirs(other["report"])
        found: list[Any] = [dmarc_of_ours(row) for row in mine.dmarc]
    elif other["report_type"] == "smtp_tls":
        expected, found = tls_of_theirs(other["report"]), tls_of_ours(mine.tls)
    elif other["report_type"] == "failure":
        return ("no rows", "") if not (mine.dmarc or mine.tls) else ("DIFFERS", "rows of a failure report")
    else:
        number = len(mine.dmarc) + len(mine.tls)
        return ("ours only", other["report"][:90]) if number else ("both refuse", other["report"][:90])
    if found == expected:
        return "equal", ""
    if len(found) != len(expected):
        return "DIFFERS", f"{len(found)} rows, theirs {len(expected)}"
    # Of text that is no XML each makes what it can.
    return "damaged XML" if "damaged_xml" in mine.defects else "DIFFERS", "; ".join(
        f"row {number} {name}: {left[name]!r}, theirs {right[name]!r}"
        for number, (left, right) in enumerate(zip(found, expected, strict=True))
        for name in left
        if left[name] != right[name]
    )[:300]


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    samples = os.environ.get("SAMPLES_DIR")
    usual = [Path(samples, name) for name in ("parsedmarc", "stalwart-mail-auth")] if samples else []
    options.add_argument("folders", nargs="*", type=Path, default=usual)
    folders = options.parse_args().folders
    if not folders:
        sys.exit("name a folder of reports, or set SAMPLES_DIR: make compare-dmarc ARGS=FOLDER")
    beside = {path for folder in folders for path in folder.rglob("*.json") if '"record"' in path.read_text()}
    paths = sorted(
        path for folder in folders for path in folder.rglob("*") if path.is_file() and path not in beside
    )
    told = theirs(paths)
    wrong = rows = 0
    for path in paths:
        mine = ours(path)
        verdict, why = judge(mine, told[path])
        number = len(mine.dmarc) + len(mine.tls)
        if (expected := path.with_suffix(".json")) in beside:
            same = of_mail_auth(json.loads(expected.read_text())) == [
                like_mail_auth(row) for row in mine.dmarc
            ]
            verdict += ", equal to mail-auth" if same else ", DIFFERS from mail-auth"
        wrong += "DIFFERS" in verdict
        rows += number if verdict.startswith("equal") else 0
        print(f"{verdict:<32} {number:>6}  {path.name[:70]}  {why}")
    print(f"{len(paths)} files, {rows} equal rows; {wrong} files differ")
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
