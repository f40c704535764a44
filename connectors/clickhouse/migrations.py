"""`migrate`: bring a database to the newest schema."""

from __future__ import annotations

from hashlib import sha256

from connectors.clickhouse.client import Client, error_code, sentence
from connectors.clickhouse.statements import split
from connectors.errors import ClickHouseError
from schemas.clickhouse import Migration, migrations

# Rows of it never contradict each other: a name goes with the checksum of a file that never changes. So two
# runs at once only record the same thing twice.
_RECORD = """
CREATE TABLE IF NOT EXISTS schema_migrations
(
    name String,
    checksum String,
    applied DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(applied)
ORDER BY name
"""


def migrate(client: Client) -> tuple[str, ...]:
    """Apply what has not been applied to the client's database, in order.

    Safe to run again, after a crash half-way, and by several processes at once: every statement of a
    migration changes nothing where it has been applied, and a migration is recorded after its last statement.

    Returns:
        The names of the migrations applied now.

    Raises:
        ClickHouseError: if ClickHouse refuses a statement, or an applied migration differs from the file.
    """
    _run(client, _RECORD, "schema_migrations")
    known = dict(client.query("SELECT name, checksum FROM schema_migrations FINAL").result_rows)
    return tuple(migration.name for migration in migrations() if _apply(client, migration, known))


def _apply(client: Client, migration: Migration, known: dict[str, str]) -> bool:
    checksum = sha256(migration.text.encode()).hexdigest()
    if (applied := known.get(migration.name)) is not None:
        if applied != checksum:
            raise ClickHouseError(
                f"{migration.name} was applied in another form: this database was migrated by another release"
                " of ses-streams; use that release, or another database"
            )
        return False
    for statement in split(migration.text):
        _run(client, statement, migration.name)
    client.insert("schema_migrations", [[migration.name, checksum]], column_names=["name", "checksum"])
    return True


def _run(client: Client, statement: str, name: str) -> None:
    try:
        client.command(statement)
    except Exception as error:
        if error_code(error) is None:
            raise ClickHouseError(
                f"ClickHouse stopped answering at {name}: run the migration again"
            ) from error
        raise ClickHouseError(f"ClickHouse refuses {name}: {sentence(error)}") from error
