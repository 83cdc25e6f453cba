"""Scratch databases at the newest schema: copies of one that was migrated once, of either dialect.

The chain of migrations itself is tested from empty databases, which `scratch_postgresql` gives and SQLite needs not.
"""

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from warehouse import migrations
from warehouse.engine import Database, connect

DIALECTS = ("sqlite", "postgresql")


@contextmanager
def scratch_database(request: pytest.FixtureRequest, folder: Path, dialect: str) -> Iterator[Database]:
    """A migrated database in a folder or on the session's server; gone afterwards on the latter."""
    if dialect == "sqlite":
        database = connect(f"sqlite:///{migrated_sqlite(folder / 'warehouse.sqlite3')}")
        yield database
        database.dispose()
        return
    server: str = request.getfixturevalue("postgresql_server")
    url = scratch_postgresql(server, template=request.getfixturevalue("postgresql_template"))
    database = connect(url)
    yield database
    database.dispose()
    # Hundreds of them would fill the disk; whatever a test left connected is thrown out.
    _execute(server, f"DROP DATABASE {make_url(url).database} WITH (FORCE)")


def scratch_postgresql(server_url: str, *, template: str = "template1") -> str:
    """The URL of a new database, empty or a copy of a template that nobody is connected to."""
    name = f"scratch_{uuid.uuid4().hex}"
    _execute(server_url, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


def migrated_sqlite(file: Path) -> Path:
    """Make a database file at the newest schema, in a folder that is there; returns it."""
    return shutil.copyfile(Path(_template().name) / "warehouse.sqlite3", file)


@cache
def _template() -> "tempfile.TemporaryDirectory[str]":
    """The folder of the file that is copied, for as long as this process lives."""
    folder = tempfile.TemporaryDirectory(prefix="template-")
    _migrate(f"sqlite:///{folder.name}/warehouse.sqlite3")
    return folder


def migrated_postgresql(server_url: str) -> str:
    """Make a database at the newest schema; returns its name."""
    url = scratch_postgresql(server_url)
    _migrate(url)
    name = make_url(url).database
    assert name is not None
    return name


def without_durability(server_url: str) -> None:
    """Let nothing wait for the disk: a scratch server need not survive a power cut."""
    settings = ("fsync", "synchronous_commit", "full_page_writes")
    _execute(server_url, *(f"ALTER SYSTEM SET {name} = off" for name in settings), "SELECT pg_reload_conf()")


def _migrate(url: str) -> None:
    database = connect(url)
    migrations.upgrade(database)
    database.dispose()


def _execute(server_url: str, *statements: str) -> None:
    admin = create_engine(server_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    admin.dispose()
