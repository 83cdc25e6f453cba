"""Libraries in an S3-compatible store, which a real server process of a package stands for."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, select

from tests.databases import migrated_sqlite
from tests.stores import Store
from tests.warehouse.ingest.library import Library
from warehouse.engine import connect
from warehouse.ingest import plan_sync
from warehouse.models import Base
from warehouse.samples import generate_library
from warehouse.settings import Settings
from warehouse.storage import StoreUrl

PREFIX = "models/löras #1"
_TABLES = (
    "bundles",
    "files",
    "inspections",
    "documents",
    "document_contents",
    "hash_claims",
    "findings",
    "adapters",
    "adapter_details",
    "adapter_tags",
    "adapter_search",
    "duplicates",
    "community_statistics",
    "facet_counts",
)
_OF_THE_PLACE = {"id", "inode", "mtime_ns", "hashed_mtime_ns", "read_mtime_ns", "json_file_mtime", "found_at", "read_at"}
_OF_THE_PLACE |= {"inspected_at", "first_seen_at", "last_ingested_at", "created_at", "updated_at", "revision"}
_OF_THE_PLACE |= {"built_revision", "derived_digest"}
"""Columns that say when something was read or where it lay."""


@pytest.fixture
def stored(tmp_path: Path, settings: Settings, store: Store) -> Iterator[Library]:
    """A library in a store, over SQLite."""
    database = connect(f"sqlite:///{migrated_sqlite(tmp_path / 'stored.sqlite3')}")
    (tmp_path / "unused").mkdir()
    yield Library(tmp_path / "unused", database, store.settings(settings))
    database.dispose()


def rows(library: Library, root: str) -> dict[str, list[str]]:
    """Every row of the library as text, without what differs between places; paths from the root on."""
    found: dict[str, list[str]] = {}
    with library.database.read() as connection:
        for name in _TABLES:
            table: Table = Base.metadata.tables[name]
            columns = [column for column in table.c if column.name not in _OF_THE_PLACE]
            found[name] = sorted(
                repr(tuple(row)).replace(root, "ROOT") for row in connection.execute(select(*columns))
            )
    return found


def test_a_library_in_a_store_gives_the_rows_of_the_same_folder(
    library: Library, stored: Library, store: Store
) -> None:
    generate_library(library.root, adapters=60, seed=3)
    store.put_folder(library.root, PREFIX)
    library.sync()
    stored.sync(roots=[StoreUrl(store.bucket, PREFIX)])
    here, there = rows(library, str(library.root)), rows(stored, store.url(PREFIX))
    assert len(here["adapters"]) > 60
    for name in _TABLES:
        assert there[name] == here[name], name
    assert {asked.method for asked in store.wire.asked} == {"GET"}
