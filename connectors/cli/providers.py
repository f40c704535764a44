"""`providers explain|resolve|list`: whose a recipient domain is, and whether complaints from there reach SES."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from connectors.cli.context import common_options, notice, settings_of

if TYPE_CHECKING:
    import argparse

    from connectors.providers.mx import MxLookup

_UNKNOWN: Final = 1
"""Exit code of `explain` when a domain is of no known provider."""
_DAYS: Final = 30
_LEAST: Final = 5
_LIMIT: Final = 10_000


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    explaining = actions.add_parser(
        "explain",
        help="say which provider a domain belongs to, why, and what follows; exits 1 if one is unknown",
        parents=[common_options()],
    )
    explaining.add_argument("domains", nargs="+", metavar="DOMAIN", help="or an address")
    explaining.add_argument("--mx", action="store_true", help="look up its MX records too")
    explaining.add_argument(
        "--format", choices=("text", "json"), default="text", help="json: a line a domain"
    )
    resolving = actions.add_parser(
        "resolve",
        help="look up the MX records of unknown domains in ClickHouse and write a table for counting.providers_file",
        parents=[common_options()],
    )
    resolving.add_argument("--out", type=Path, metavar="FILE", help="rewrite this table (default: print it)")
    resolving.add_argument("--days", type=int, default=_DAYS, help="of events (default: %(default)s)")
    resolving.add_argument(
        "--least", type=int, default=_LEAST, metavar="N", help="recipients of a domain (default: %(default)s)"
    )
    resolving.add_argument(
        "--limit", type=int, default=_LIMIT, metavar="N", help="domains at the most (default: %(default)s)"
    )
    for each in (explaining, resolving):
        each.add_argument(
            "--nameserver",
            action="append",
            default=[],
            metavar="IP",
            help="ask this one (default: the system's)",
        )
        each.add_argument("--port", type=int, default=53, help="of the name server (default: %(default)s)")
    actions.add_parser(
        "list", help="every provider that is known, and how many domains of it", parents=[common_options()]
    )


def run(args: argparse.Namespace) -> int:
    """Explain, resolve or list."""
    return {"explain": _explain, "resolve": _resolve, "list": _list}[args.action](args)


def _explain(args: argparse.Namespace) -> int:
    import msgspec

    from connectors.providers.explanation import domain_in, explain, text_of
    from connectors.providers.tables import tables_of
    from pipelines.intake.providers import OTHER, Directory

    counting = settings_of(args).counting
    directory = Directory(tables_of(counting), unknown_report=counting.unknown_providers_report)
    domains = [domain_in(each) for each in args.domains]
    lookup = _lookup(args) if args.mx else None
    found = [explain(domain, directory, lookup) for domain in domains]
    if args.format == "json":
        for each in found:
            print(msgspec.json.encode(each).decode())
    else:
        print("\n\n".join(text_of(each) for each in found))
    return _UNKNOWN if any(each.provider == OTHER for each in found) else 0


def _resolve(args: argparse.Namespace) -> int:
    from connectors.cli.clickhouse_at import target_of
    from connectors.cli.progress import Progress
    from connectors.providers.resolved import merged, previous, render, resolve, write
    from connectors.providers.tables import INLINE, tables_of
    from connectors.providers.unknown import unknown_domains
    from pipelines.intake.providers import Directory

    counting = settings_of(args).counting
    own = [table for table in tables_of(counting) if table.origin == INLINE]
    before = previous(args.out) if args.out else {}
    with target_of(args) as target:
        unknown = unknown_domains(target, days=args.days, least=args.least, limit=args.limit)
    asked = {each.domain for each in unknown} | set(before)
    directory = Directory(own)
    asked = {domain for domain in asked if directory.match(domain) is None}
    lookup = _lookup(args)
    with Progress("MX look-ups", len(asked), "domains") as progress:
        done = Counter[str]()

        def advance() -> None:
            done["domains"] += 1
            progress.at(done["domains"])

        found = resolve(asked, lookup, advance)
    entries = merged(before, found)
    if args.out:
        write(args.out, render(entries))
    else:
        sys.stdout.write(render(entries))
    names = Counter(each.provider.name for each in entries.values())
    notice(
        f"{len(entries)} of {len(asked)} domains have a known host"
        + "".join(f", {count} {name}" for name, count in names.most_common(5))
        + f"; {len(found.strangers)} have none that is known, {len(found.failed)} got no answer"
    )
    if args.out and counting.providers_file != str(args.out):
        notice(f'set counting.providers_file = "{args.out}" for every bridge')
    if args.out:
        notice("restart the bridges to use it: it holds for events from then on")
    return 0


def _list(args: argparse.Namespace) -> int:
    from connectors.providers.tables import tables_of
    from pipelines.intake.providers import Directory, mx_table, table

    counting = settings_of(args).counting
    tables = tables_of(counting)
    domains: Counter[tuple[str, bool]] = Counter()
    for each in (*tables, table()):
        domains.update(
            (entry.provider.name, entry.provider.reports_complaints) for entry in each.entries.values()
        )
    hosts = {
        (entry.provider.name, entry.provider.reports_complaints) for entry in mx_table().entries.values()
    }
    print(f"{'provider':<20} {'reports':<8} {'domains':>7}  by MX")
    for name, reports in sorted({*domains, *hosts}):
        key = (name, reports)
        print(
            f"{name:<20} {'yes' if reports else 'no':<8} {domains[key]:>7}  {'yes' if key in hosts else 'no'}"
        )
    fingerprint = Directory(tables, unknown_report=counting.unknown_providers_report).fingerprint()
    notice(f"providers: table {fingerprint} (every bridge must say the same)")
    return 0


def _lookup(args: argparse.Namespace) -> MxLookup:
    from connectors.providers.mx import MxLookup

    return MxLookup(args.nameserver, args.port)
