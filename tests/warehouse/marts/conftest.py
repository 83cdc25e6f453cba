"""A small library in the tables of a scratch database, and its marts."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.databases import scratch_database
from tests.warehouse.marts import library
from warehouse.engine import Database
from warehouse.generations import Published
from warehouse.marts import QueryResult, export_marts, run_query
from warehouse.settings import Settings


@pytest.fixture
def filled(database: Database) -> Database:
    """The small library, once per dialect."""
    library.fill(database)
    return database


@pytest.fixture
def published(sqlite_database: Database, settings: Settings) -> Published:
    """The marts of the small library on SQLite."""
    library.fill(sqlite_database)
    return export_marts(sqlite_database, settings)


@dataclass(frozen=True)
class Analyst:
    """Asks the published marts of the small library, and changes nothing."""

    database: Database
    settings: Settings
    folder: Path

    def ask(self, sql: str, *, limit: int = 1_000, timeout: float = 30.0) -> QueryResult:
        return run_query(self.database, self.settings, sql, limit=limit, timeout=timeout)


@pytest.fixture(scope="module")
def analyst(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Analyst]:
    """One publication for all questions of a module."""
    folder = tmp_path_factory.mktemp("analyst")
    with scratch_database(request, folder, "sqlite") as database:
        library.fill(database)
        settings = Settings(_env_file=None, data_dir=folder / "data")
        yield Analyst(database, settings, export_marts(database, settings).path)
