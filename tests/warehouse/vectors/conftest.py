"""One exported model and one embedded library for all tests here: both cost seconds, and neither changes."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from tests.databases import migrated_sqlite
from tests.warehouse.vectors import library
from warehouse.engine import Database, connect
from warehouse.models import Base, Embedding
from warehouse.settings import Settings
from warehouse.vectors import SPACES, compute_embeddings

COUNT = 120
"""Adapters of the embedded library."""


@pytest.fixture(scope="session")
def shared_data(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Path:
    """The data folder whose exported models every test uses."""
    folder = tmp_path_factory.mktemp("shared")
    (folder / "models").symlink_to(models_dir, target_is_directory=True)
    return folder


@pytest.fixture
def settings(settings: Settings, shared_data: Path) -> Settings:
    """Settings of a fresh data folder, but for the exported models."""
    settings.data_dir.mkdir()
    settings.models_dir.symlink_to(shared_data / "models")
    return settings


@pytest.fixture(scope="session")
def embedded(shared_data: Path) -> list[dict[str, Any]]:
    """The embeddings of `library.adapter` 1..COUNT, computed once."""
    database = connect(f"sqlite:///{migrated_sqlite(shared_data / 'embedded.sqlite3')}")
    library.fill(database, *(library.adapter(pk) for pk in range(1, COUNT + 1)))
    settings = Settings(_env_file=None, data_dir=shared_data)
    for space in SPACES:
        compute_embeddings(database, settings, space.name)
    with database.read() as connection:
        rows = connection.execute(select(*Embedding.__table__.c).order_by(Embedding.pk)).mappings().all()
    database.dispose()
    return [{key: value for key, value in row.items() if key != "pk"} for row in rows]


@pytest.fixture
def filled(database: Database, embedded: list[dict[str, Any]]) -> Database:
    """The embedded library, once per dialect."""
    library.fill(database, *(library.adapter(pk) for pk in range(1, COUNT + 1)))
    with database.write() as connection:
        connection.execute(insert(Base.metadata.tables["embeddings"]), embedded)
    return database
