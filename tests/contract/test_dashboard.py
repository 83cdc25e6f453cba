"""The dashboard, the system's status, and the summary that front ends draw."""

from datetime import datetime
from typing import Any

import pytest

from tests.contract.service import Service


def test_statistics(service: Service) -> None:
    """`GET /v1/dashboard/stats` `{"stats": {"total_loras", "active_loras", "embeddings_coverage", "recent_imports",
    …}, "system_health": {…}}`"""
    answer = service.get("/dashboard/stats")
    assert {"total_loras", "active_loras", "embeddings_coverage", "recent_imports"} <= answer["stats"].keys()
    health = {"status", "gpu_status", "gpu_memory", "queue_status", "storage_usage"}
    assert health <= answer["system_health"].keys()


def test_statistics_by_group(service: Service) -> None:
    """counts, coverage, sizes, by base model, archetype, author, NSFW level; deliveries by status"""
    stats = service.get("/dashboard/stats")["stats"]
    total = service.get("/adapters")["total"]
    for group in ("by_base_model", "by_archetype", "by_nsfw_level"):
        counts = {item["value"]: item["count"] for item in stats[group]}
        assert 0 < sum(counts.values()) <= total, group
    assert stats["by_author"]
    assert isinstance(stats["deliveries_by_status"], dict)
    for item in stats["by_base_model"]:
        if item["value"] is not None:
            assert service.get("/adapters", base_model=item["value"])["total"] == item["count"]


def test_totals_are_live(service: Service) -> None:
    """totals and the feed are live (a creation, an activation, a delivery just made shows)"""

    def totals() -> tuple[int, int]:
        stats = service.get("/dashboard/stats")["stats"]
        return stats["total_loras"], stats["active_loras"]

    total, active = totals()
    adapter = service.create()
    assert totals() == (total + 1, active)
    service.post(f"/adapters/{adapter['id']}/activate")
    assert totals() == (total + 1, active + 1)
    service.ask("DELETE", f"/adapters/{adapter['id']}", 204)
    assert totals() == (total, active)


def feed(service: Service, **params: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = service.get("/dashboard/activity-feed", **params)
    return items


def test_the_feed_is_newest_first_and_live(service: Service) -> None:
    """`GET /activity-feed` (newest first: ingests, activations, deliveries, generations, materializations)."""
    adapter = service.create()
    service.post(f"/adapters/{adapter['id']}/activate")
    items = feed(service)
    moments = [datetime.fromisoformat(item["timestamp"]) for item in items]
    assert moments == sorted(moments, reverse=True)
    assert "activation" in [item["type"] for item in items if item["subject_id"] == adapter["id"]]
    assert items[0]["subject_id"] == adapter["id"]


def test_the_feed_shows_a_delivery(service: Service) -> None:
    """totals and the feed are live (… a delivery just made shows)"""
    made = service.post("/deliveries", {"prompt": "a", "mode": "cli", "params": {"command": "print"}}, 201)
    assert made["delivery_id"] in [item["subject_id"] for item in feed(service)]
    assert sum(service.get("/dashboard/stats")["stats"]["deliveries_by_status"].values()) > 0


def test_featured_is_never_empty(service: Service) -> None:
    """`GET /featured-loras` (a list, with the reason) … Featured is never empty while adapters exist; items carry
    `id` and `name`."""
    service.create()
    items = service.get("/dashboard/featured-loras")
    assert items
    for item in items:
        assert item["id"]
        assert item["name"]
        assert item["reason"]


def test_system_status(service: Service) -> None:
    """`GET /v1/system/status` `{status, queue_length, warnings: [str], metrics: {cpu, memory, gpus: []}, …}`"""
    status = service.get("/system/status")
    assert isinstance(status["status"], str)
    assert isinstance(status["queue_length"], int)
    assert all(isinstance(warning, str) for warning in status["warnings"])
    assert {"cpu", "memory", "gpus"} <= status["metrics"].keys()
    assert isinstance(status["metrics"]["gpus"], list)


@pytest.mark.parametrize("time_range", ["24h", "7d", "30d"])
def test_analytics_summary(service: Service, time_range: str) -> None:
    """`GET /v1/analytics/summary?time_range=` (counts and series of generations, deliveries, most used LoRAs)."""
    answer = service.get("/analytics/summary", time_range=time_range)
    assert isinstance(answer, dict)
    assert answer
    service.refused("GET", "/analytics/summary", 422, params={"time_range": "yesterday's"})
