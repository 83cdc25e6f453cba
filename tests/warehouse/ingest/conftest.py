"""Fixtures of the ingest: a library on either dialect, and one on SQLite for what does not depend on it."""

from pathlib import Path

import pytest

from tests.warehouse.ingest.library import Library
from warehouse.engine import Database
from warehouse.settings import Settings


@pytest.fixture
def library(tmp_path: Path, sqlite_database: Database, settings: Settings) -> Library:
    """An empty library over SQLite."""
    (tmp_path / "library").mkdir()
    return Library(tmp_path / "library", sqlite_database, settings)


@pytest.fixture
def any_library(tmp_path: Path, database: Database, settings: Settings) -> Library:
    """An empty library over SQLite, and over PostgreSQL."""
    (tmp_path / "library").mkdir()
    return Library(tmp_path / "library", database, settings)
