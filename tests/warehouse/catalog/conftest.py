"""An empty library on either dialect, for what a client and a sync do to the same adapters."""

from pathlib import Path

import pytest

from tests.warehouse.ingest.library import Library
from warehouse.engine import Database
from warehouse.settings import Settings


@pytest.fixture
def library(tmp_path: Path, database: Database, settings: Settings) -> Library:
    (tmp_path / "library").mkdir()
    return Library(tmp_path / "library", database, settings)
