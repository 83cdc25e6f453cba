"""The Alembic chain, one for both dialects, and the functions that bring a database to its head.

Does not belong here: models (`warehouse.models`); a revision spells out its tables, so that it never changes with them.
"""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, select, text

from warehouse.engine import Database

UNFINISHED = "copying"
"""Stands in the place of the revision while rows are copied into a database, so that nobody works on half of them."""
_SCHEMA_LOCK = 0x10AA_5C8E
"""Key of the advisory lock of whoever changes a schema; not that of events (`jobs.changes`)."""


class SchemaError(RuntimeError):
    """The database's schema is not the one this version works with."""


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config


@cache
def head() -> str:
    """The revision this version of the project works with."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None
    return revision


def is_known(revision: str) -> bool:
    """Whether the chain of this version has a revision; those of later versions it has not."""
    return any(script.revision == revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def revision_of(database: Database) -> str | None:
    """The revision a database is at; None when it holds none of our tables."""
    with database.read() as connection:
        return revision_on(connection)


def revision_on(connection: Connection) -> str | None:
    """The revision of the database of a connection, as `revision_of` says."""
    return MigrationContext.configure(connection).get_current_revision()


def take_turn(connection: Connection) -> None:
    """Wait until no other process changes a schema of this database, until the end of the transaction.

    On SQLite a transaction that writes is alone anyway. On PostgreSQL two that make the same table at once do not wait
    for each other: one of them fails.
    """
    if connection.dialect.name != "sqlite":
        connection.execute(select(func.pg_advisory_xact_lock(_SCHEMA_LOCK)))


def upgrade(database: Database, revision: str = "head") -> None:
    """Bring a database up to a revision. Safe to call when it is there already.

    Raises:
        SchemaError: rows are being copied into it, or were, until somebody stopped.
    """
    found = revision_of(database)
    if revision == "head" and found == head():
        return
    if found == UNFINISHED:
        raise _unfinished(database)
    with database.write() as connection:
        take_turn(connection)
        upgrade_on(connection, revision)


def upgrade_on(connection: Connection, revision: str = "head") -> None:
    """Bring a database up to a revision in the transaction of the caller.

    Raises:
        SchemaError: it is empty, and of an encoding that some of what is written would not fit into.
    """
    if connection.dialect.name != "sqlite" and revision_on(connection) is None:
        encoding = connection.execute(text("SHOW server_encoding")).scalar_one()
        if encoding != "UTF8":
            raise SchemaError(
                f"the database {connection.engine.url!r} has the encoding {encoding}: make one with CREATE DATABASE … "
                "ENCODING 'UTF8' LOCALE 'C.UTF-8' TEMPLATE template0"
            )
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def downgrade_on(connection: Connection, revision: str) -> None:
    """Take a database back down to a revision in the transaction of the caller."""
    config = _config()
    config.attributes["connection"] = connection
    command.downgrade(config, revision)


def stamp_on(connection: Connection, revision: str) -> None:
    """Say which revision a database is at, in the transaction of the caller; its tables stay as they are."""
    connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})


def _unfinished(database: Database) -> SchemaError:
    return SchemaError(
        f"the database {database.engine.url!r} holds a part of another one: run `lora-manager migrate-database` again "
        "on the one it is copied from"
    )


def downgrade(database: Database, revision: str) -> None:
    """Take a database back down to a revision (`base` removes every table)."""
    with database.write() as connection:
        take_turn(connection)
        downgrade_on(connection, revision)


def require_head(database: Database) -> None:
    """Refuse to work on a schema of another version.

    Raises:
        SchemaError: says which revision was found and what to run.
    """
    found = revision_of(database)
    if found == UNFINISHED:
        raise _unfinished(database)
    if found != head():
        state = "has no tables yet" if found is None else f"is at revision {found}, this version needs {head()}"
        raise SchemaError(f"the database {database.engine.url!r} {state}: run `lora-manager upgrade`")
