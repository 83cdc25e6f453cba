"""The catalog: it opens wherever the data folder is, and says so when it cannot."""

import shutil
from pathlib import Path

import pytest
from sqlalchemy import delete

from tests.warehouse.marts import library
from warehouse import generations
from warehouse.engine import Database
from warehouse.generations import Published
from warehouse.marts import (
    KIND,
    NothingPublishedError,
    current_link,
    export_marts,
    open_catalog,
    repair_catalog,
    run_query,
)
from warehouse.models import Adapter
from warehouse.settings import Settings


def _settings(folder: Path) -> Settings:
    return Settings(_env_file=None, data_dir=folder)


def _adapters(database: Database, settings: Settings) -> object:
    with open_catalog(database, settings) as connection:
        return connection.execute("SELECT count(*) FROM adapters").fetchone()


def test_a_moved_data_folder_is_repaired(sqlite_database: Database, settings: Settings, published: Published) -> None:
    with sqlite_database.write() as connection:
        connection.execute(delete(Adapter).where(Adapter.pk == 4))
    export_marts(sqlite_database, settings)
    moved = _settings(settings.data_dir.parent / "moved")
    shutil.move(settings.data_dir, moved.data_dir)

    repaired = repair_catalog(sqlite_database, moved)

    assert len(repaired) == 2
    assert repair_catalog(sqlite_database, moved) == []
    assert current_link(moved).resolve().parent == moved.generations_dir / KIND
    assert _adapters(sqlite_database, moved) == (4,)
    generations.roll_back(sqlite_database, KIND, published.name)
    assert _adapters(sqlite_database, moved) == (5,)
    with open_catalog(sqlite_database, moved) as connection:
        assert connection.execute("SELECT comment FROM duckdb_views() WHERE view_name = 'files'").fetchone() != (None,)


def test_a_moved_data_folder_is_noticed_by_a_query(
    sqlite_database: Database, settings: Settings, published: Published
) -> None:
    moved = _settings(settings.data_dir.parent / "moved")
    shutil.move(settings.data_dir, moved.data_dir)
    assert run_query(sqlite_database, moved, "SELECT count(*) FROM community_statistics").rows == [[4]]


@pytest.mark.parametrize("damage", ["missing", "garbage"])
def test_a_damaged_catalog_is_made_anew(
    sqlite_database: Database, settings: Settings, published: Published, damage: str
) -> None:
    catalog = published.path / "catalog.duckdb"
    catalog.unlink()
    if damage == "garbage":
        catalog.write_bytes(b"not a database" * 1_000)
    assert _adapters(sqlite_database, settings) == (5,)


def test_collected_generations_are_not_repaired(
    sqlite_database: Database, settings: Settings, published: Published
) -> None:
    export_marts(sqlite_database, settings)
    assert generations.collect(sqlite_database, settings, KIND, keep=1) == [published.name]
    assert not published.path.exists()
    assert repair_catalog(sqlite_database, settings) == []
    assert _adapters(sqlite_database, settings) == (5,)


def test_nothing_published(sqlite_database: Database, settings: Settings) -> None:
    with pytest.raises(NothingPublishedError, match="lora-manager sync"):
        open_catalog(sqlite_database, settings)
    assert repair_catalog(sqlite_database, settings) == []


def test_folders_with_hostile_names(sqlite_database: Database, tmp_path: Path) -> None:
    library.fill(sqlite_database)
    settings = _settings(tmp_path / "it's [a] * {b} 数据 100% #")
    export_marts(sqlite_database, settings)
    assert run_query(sqlite_database, settings, "SELECT count(*) FROM adapters").rows == [[5]]
    statistics = "SELECT count(*) FROM community_statistics WHERE day < DATE '2026-03-02'"
    assert run_query(sqlite_database, settings, statistics).rows == [[2]]
