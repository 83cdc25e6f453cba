"""The dashboard and single marts: live counts with published aggregates, before and after the first export."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import delete

from warehouse import facets
from warehouse.engine import Database
from warehouse.generations import Published
from warehouse.marts import dashboard_summary, export_marts, read_mart
from warehouse.models import Adapter
from warehouse.settings import Settings


def test_before_the_first_export_counts_are_live(filled: Database, settings: Settings) -> None:
    summary = dashboard_summary(filled, settings)
    assert (summary.adapters, summary.active) == (5, 1)
    assert summary.counts["base_model"] == [("", 2), ("SDXL 1.0", 2), ("Pony", 1)]
    assert (summary.exported_at, summary.library, summary.coverage, summary.growth) == (None, None, [], [])


def test_after_an_export_the_rest_is_there(filled: Database, settings: Settings) -> None:
    export_marts(filled, settings)
    with filled.write() as connection:
        connection.execute(delete(Adapter).where(Adapter.pk == 3))
        facets.repair(connection)
    summary = dashboard_summary(filled, settings)
    assert summary.adapters == 4
    assert summary.library is not None
    assert summary.library["adapters"] == 5
    assert summary.exported_at is not None
    assert summary.exported_at <= datetime.now(UTC)
    assert summary.authors[0] | {"downloads": 5_100} == summary.authors[0] | {"author": None, "downloads": 5_100}
    assert [row["tag"] for row in summary.tags] == ["ink", "girl", "mine", "水墨"]


def test_rows_come_up_to_the_limit(sqlite_database: Database, settings: Settings, published: Published) -> None:
    assert [
        row["day"].isoformat() for row in read_mart(sqlite_database, settings, "community_statistics", limit=2)
    ] == [
        "2026-03-04",
        "2026-03-02",
    ]
    assert read_mart(sqlite_database, settings, "adapters", limit=0) == []
    assert len(read_mart(sqlite_database, settings, "adapters", limit=3)) == 3


def test_a_reader_may_change_its_rows(sqlite_database: Database, settings: Settings, published: Published) -> None:
    read_mart(sqlite_database, settings, "adapters_by_author")[0].clear()
    assert read_mart(sqlite_database, settings, "adapters_by_author")[0]


def test_the_next_generation_is_seen_at_once(
    sqlite_database: Database, settings: Settings, published: Published
) -> None:
    assert read_mart(sqlite_database, settings, "library_summary")[0]["adapters"] == 5
    with sqlite_database.write() as connection:
        connection.execute(delete(Adapter).where(Adapter.pk == 3))
    export_marts(sqlite_database, settings)
    assert read_mart(sqlite_database, settings, "library_summary")[0]["adapters"] == 4


def test_unknown_marts_and_limits(sqlite_database: Database, settings: Settings, published: Published) -> None:
    with pytest.raises(KeyError, match=r"no mart '\.\./x'"):
        read_mart(sqlite_database, settings, "../x")
    with pytest.raises(ValueError, match="limit -1"):
        read_mart(sqlite_database, settings, "adapters", limit=-1)
    assert read_mart(sqlite_database, settings, "adapters", limit=10_000)
