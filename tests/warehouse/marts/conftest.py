"""A small library in the tables of a scratch database, and its marts."""

import pytest

from tests.warehouse.marts import library
from warehouse.engine import Database
from warehouse.generations import Published
from warehouse.marts import export_marts
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
