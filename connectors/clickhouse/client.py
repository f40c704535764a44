"""Opening ClickHouse: a server, or chdb in this process, through one client (clickhouse-connect)."""

from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import unquote, urlsplit, urlunsplit

import clickhouse_connect
from clickhouse_connect.driver import exceptions

from connectors.errors import ClickHouseError

if TYPE_CHECKING:
    from collections.abc import Iterator

Client: TypeAlias = Any
"""A `clickhouse_connect` client; the library types it, its stubs are not part of our checks."""

DATABASE: Final = "ses"
"""Where the tables are when the DSN names no database."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CODE: Final = re.compile(r"Code: \d+\. DB::Exception: ")
_NO_SUCH_DATABASE: Final = 81
_AUTHENTICATION: Final = frozenset({192, 193, 194, 516})


def is_embedded(dsn: str) -> bool:
    """Whether a DSN names chdb, which one process at a time can open."""
    return dsn.startswith("chdb:")


def data_path(dsn: str) -> Path:
    """The directory of a chdb DSN."""
    # Three or four slashes after the colon: both are in use.
    return Path("/" + unquote(urlsplit(dsn).path).lstrip("/"))


def database_of(dsn: str) -> str:
    """The database a DSN names, else `ses`.

    Raises:
        ClickHouseError: if the name is not a plain identifier.
    """
    name = "" if is_embedded(dsn) else unquote(urlsplit(dsn).path.strip("/"))
    if name and not _NAME.fullmatch(name):
        raise ClickHouseError(
            f"the ClickHouse DSN names the database {name!r}: use letters, digits and _ only"
        )
    return name or DATABASE


def open_client(dsn: str, *, create: bool = False, database: str = "") -> Client:
    """Connect, and make the DSN's database the current one.

    Args:
        dsn: `clickhouse://user:password@host:8123/ses`, or `chdb:///path`.
        create: whether to create the database where it is missing.
        database: instead of the DSN's own.

    Raises:
        ClickHouseError: unreachable, refused, no such database; one sentence, without the password.
    """
    name = database or database_of(dsn)
    with translated(dsn):
        # Not with the database in the DSN: where it is missing, not even CREATE DATABASE could be sent.
        client = clickhouse_connect.get_client(dsn=_without_database(dsn), **_options(dsn))
        try:
            if create:
                client.command(f"CREATE DATABASE IF NOT EXISTS {name}")
            else:
                _check_database(client, dsn, name)
        except BaseException:
            client.close()
            raise
        client.database = name
    return client


@contextmanager
def translated(dsn: str) -> Iterator[None]:
    """Turn the library's errors into sentences for people.

    Raises:
        ClickHouseError: in place of any error of clickhouse-connect or of chdb.
    """
    try:
        yield
    except ClickHouseError:
        raise
    except (exceptions.Error, ImportError, OSError, RuntimeError, ValueError) as error:
        raise ClickHouseError(_explain(dsn, error)) from error


def sentence(error: BaseException) -> str:
    """What ClickHouse says, without its stack and version: one line."""
    text = str(error).strip()
    found = list(_CODE.finditer(text))
    if found:
        text = text[found[-1].end() :]
    text = re.sub(r"\s*\(version [^()]*(\([^()]*\))?\)", "", text).split("\nStack trace")[0]
    return " ".join(text.split())[:600]


def error_code(error: BaseException) -> int | None:
    """ClickHouse's own code of an error, where there is one (the innermost: chdb nests them)."""
    found = re.findall(r"Code: (\d+)\. DB::Exception", str(error))
    if found:
        return int(found[-1])
    code = getattr(error, "code", None)
    return code if isinstance(code, int) else None


def shown(dsn: str) -> str:
    """Where a DSN leads, without user and password."""
    if is_embedded(dsn):
        return str(data_path(dsn))
    parts = urlsplit(dsn)
    return f"{parts.hostname or 'localhost'}:{parts.port or 8123}"


def _check_database(client: Client, dsn: str, name: str) -> None:
    if not int(client.command(f"EXISTS DATABASE {name}")):
        raise ClickHouseError(
            f"ClickHouse at {shown(dsn)} has no database {name}: run `ses-streams migrate` first"
        )


def _options(dsn: str) -> dict[str, Any]:
    if is_embedded(dsn):
        return {}
    # A session would forbid two queries at once; and a hung server must not hold an insert for ever.
    return {"autogenerate_session_id": False, "connect_timeout": 10, "send_receive_timeout": 120}


def _without_database(dsn: str) -> str:
    if is_embedded(dsn):
        return dsn
    return urlunsplit(urlsplit(dsn)._replace(path=""))


def _explain(dsn: str, error: BaseException) -> str:
    code = error_code(error)
    if isinstance(error, ImportError):
        return "chdb is not installed: install ses-streams[embedded], or set clickhouse.dsn to a server"
    where = f"ClickHouse at {shown(dsn)}"
    if is_embedded(dsn) and (code is None or "EmbeddedServer" in str(error)):
        return (
            f"cannot open ClickHouse's files in {shown(dsn)} (in use by another process?): {sentence(error)}"
        )
    if code is None:
        return f"{where} does not answer: check clickhouse.dsn and that the server runs ({_cause(error)})"
    if code in _AUTHENTICATION:
        return f"{where} refuses the user or password of clickhouse.dsn: correct them"
    if code == _NO_SUCH_DATABASE:
        return f"{where} has no such database: run `ses-streams migrate` first"
    return f"{where} refuses: {sentence(error)}"


def _cause(error: BaseException) -> str:
    text = str(error)
    for known in ("Connection refused", "Name or service not known", "timed out", "No route to host"):
        if known in text:
            return known.lower()
    return type(error).__name__
