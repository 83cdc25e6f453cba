"""The dashboard and health over HTTP, on both dialects."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter
from sqlalchemy import insert

from serving.schemas.dashboard import DashboardStats, FeaturedLora, FeedItem, LibraryStats, SystemHealth
from serving.schemas.system import Readiness
from tests.warehouse.queries.library import adapter_values, fill, insert_adapters
from warehouse.engine import Database
from warehouse.marts import export_marts
from warehouse.models import Activity, Finding, utc_now
from warehouse.settings import Settings


def stats_of(client: httpx.Client) -> dict[str, Any]:
    answer = client.get("/api/v1/dashboard/stats").json()
    TypeAdapter(DashboardStats).validate_python(answer)
    assert answer["stats"].keys() == LibraryStats.model_fields.keys()
    assert answer["system_health"].keys() == SystemHealth.model_fields.keys()
    stats: dict[str, Any] = answer["stats"]
    return stats


def test_an_empty_library_has_a_dashboard(client: httpx.Client) -> None:
    stats = stats_of(client)
    assert (stats["total_loras"], stats["embeddings_coverage"], stats["by_base_model"]) == (0, 0.0, [])
    assert client.get("/api/v1/dashboard/featured-loras").json() == []
    assert client.get("/api/v1/dashboard/activity-feed").json() == []


def test_totals_are_of_this_moment(client: httpx.Client, database: Database) -> None:
    fill(database, 50)
    before = stats_of(client)
    insert_adapters(database, [adapter_values(1000, active=True, created_at=utc_now(), base_model=None)])
    after = stats_of(client)
    assert (before["total_loras"], after["total_loras"]) == (50, 51)
    assert after["active_loras"] == before["active_loras"] + 1
    assert (before["recent_imports"], after["recent_imports"]) == (0, 1)
    unknown = {group["value"]: group["count"] for group in after["by_base_model"]}
    assert unknown[None] == {group["value"]: group["count"] for group in before["by_base_model"]}[None] + 1
    assert sum(unknown.values()) == 51


def test_published_figures_are_those_of_the_marts(
    client: httpx.Client, database: Database, settings_for: Callable[..., Settings]
) -> None:
    fill(database, 20)
    figures = ("file_bytes", "wasted_bytes", "documents", "documents_quarantined", "files_invalid", "findings")
    assert {stats_of(client)[name] for name in (*figures, "published_at")} == {None}
    with database.write() as connection:
        finding = {"origin": "scan", "code": "x", "severity": "info", "message": "x", "found_at": utc_now()}
        connection.execute(insert(Finding), [finding])
    published = export_marts(database, settings_for(database))
    stats = stats_of(client)
    assert [stats[name] for name in figures] == [0, 0, 0, 0, 0, 1]
    assert datetime.fromisoformat(stats["published_at"]) == published.created_at
    insert_adapters(database, [adapter_values(1000)])
    assert (stats_of(client)["total_loras"], stats_of(client)["published_at"]) == (21, stats["published_at"])


def test_figures_whose_files_are_away_are_unknown_until_they_are_back(
    sqlite_database: Database, serve: Callable[..., httpx.Client], settings_for: Callable[..., Settings]
) -> None:
    published = export_marts(sqlite_database, settings_for(sqlite_database))
    client = serve(sqlite_database)
    published.path.rename(published.path.with_name("away"))
    assert (stats_of(client)["documents"], stats_of(client)["published_at"]) == (None, None)
    published.path.with_name("away").rename(published.path)
    assert stats_of(client)["documents"] == 0


def test_damaged_figures_leave_the_live_ones(
    sqlite_database: Database, serve: Callable[..., httpx.Client], settings_for: Callable[..., Settings]
) -> None:
    fill(sqlite_database, 3)
    published = export_marts(sqlite_database, settings_for(sqlite_database))
    (published.path / "library_summary.parquet").write_bytes(b"PAR1 no more")
    stats = stats_of(serve(sqlite_database))
    assert (stats["total_loras"], stats["documents"]) == (3, None)


def test_featured_adapters_have_reasons_and_are_there_as_soon_as_any_adapter_is(
    client: httpx.Client, database: Database
) -> None:
    insert_adapters(database, [adapter_values(1, name="Only", downloads=None, rating=None, file_state="remote")])
    (only,) = client.get("/api/dashboard/featured-loras").json()
    TypeAdapter(FeaturedLora).validate_python(only)
    assert (only["name"], only["reason"].split(":")[0]) == ("Only", "new")
    fill_rows = [adapter_values(number, name=f"N{number}", downloads=number * 10) for number in range(2, 30)]
    insert_adapters(database, [*fill_rows, adapter_values(40, name="Used", active=True, downloads=None)])
    featured = client.get("/api/v1/dashboard/featured-loras", params={"limit": 6}).json()
    assert len(featured) == 6
    assert {item["reason"].split(":")[0] for item in featured} == {"in use", "popular", "highly rated", "new"}
    assert featured[0]["name"] == "Used"
    assert "N29" in [item["name"] for item in featured]


def test_the_feed_is_newest_first_and_pages_back(client: httpx.Client, database: Database) -> None:
    moment = utc_now()
    rows = [
        {"at": moment + timedelta(seconds=number), "kind": "sync", "summary": f"sync {number}", "data": {"n": number}}
        for number in range(5)
    ]
    with database.write() as connection:
        connection.execute(insert(Activity), rows)
    feed = client.get("/api/dashboard/activity-feed", params={"limit": 3}).json()
    TypeAdapter(list[FeedItem]).validate_python(feed)
    assert [item["summary"] for item in feed] == ["sync 4", "sync 3", "sync 2"]
    rest = client.get("/api/v1/dashboard/activity-feed", params={"before": feed[-1]["id"]}).json()
    assert [item["summary"] for item in rest] == ["sync 1", "sync 0"]


@pytest.mark.parametrize("params", [{"limit": 0}, {"limit": 201}, {"before": 0}, {"before": 2**63}, {"before": "x"}])
def test_what_is_not_valid_is_named(sqlite_client: httpx.Client, params: dict[str, Any]) -> None:
    assert sqlite_client.get("/api/dashboard/activity-feed", params=params).status_code == 422


def test_health_names_each_part(client: httpx.Client) -> None:
    assert client.get("/health").json()["status"] == "alive"
    answer = client.get("/health/ready").json()
    TypeAdapter(Readiness).validate_python(answer)
    assert answer["checks"].keys() == {"database", "index", "dagster"}
    assert answer["checks"]["database"]["status"] == "ready"
    assert (answer["checks"]["dagster"]["status"], answer["checks"]["dagster"]["needed"]) == ("unreachable", False)
