"""`/dashboard`: the library at a glance."""

import shutil
from datetime import timedelta
from typing import Annotated, Any

import psutil
from fastapi import APIRouter, Query
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from serving import encoding, problems
from serving.deps import Services, ServicesDep
from serving.schemas.dashboard import DashboardStats, FeaturedLora, FeedItem
from warehouse import facets
from warehouse.jobs import JobStatus
from warehouse.models import utc_now
from warehouse.queries import breakdowns, dashboard, jobs

router = APIRouter(prefix="/dashboard", tags=["dashboard"])

_RECENT = timedelta(days=7)
_LIVE_GROUPS = (
    ("by_file_state", "file_state", 10),
    ("by_base_model", "base_model", 50),
    ("by_archetype", "archetype", 50),
    ("by_nsfw_level", "nsfw_level", 50),
    ("by_author", "author_username", 20),
    ("top_tags", "tag", 20),
)
_PUBLISHED = ("file_bytes", "wasted_bytes", "documents", "documents_quarantined", "files_invalid", "findings")


def _library(services: Services) -> dict[str, Any]:
    published = services.figures.published()
    with services.database.read() as connection:
        total = facets.count_of(connection)
        embedded = services.figures.embedded(connection)
        groups = {
            name: [
                {"value": value or None, "count": count}
                for value, count in breakdowns.counted(connection, facet, limit=limit)
            ]
            for name, facet, limit in _LIVE_GROUPS
        }
        return {
            "total_loras": total,
            "active_loras": facets.count_of(connection, "active", "true"),
            "embeddings_coverage": min(1.0, embedded / total) if total else 0.0,
            "loras_with_embeddings": embedded,
            "recent_imports": dashboard.recent_imports(connection, utc_now() - _RECENT),
            **groups,
            "deliveries_by_status": jobs.counts_by_status(connection),
            **{name: published.values.get(name) for name in _PUBLISHED},
            "published_at": published.at,
        }


def _system(services: Services, dagster: str, queue: dict[str, int]) -> dict[str, Any]:
    disk = shutil.disk_usage(services.settings.data_dir)
    devices = services.figures.devices()
    gpus = [device for device in devices if device.kind != "cpu"]
    memory = sum(device.memory_bytes or 0 for device in gpus)
    index = services.recommender.state().status
    healthy = index in ("ready", "absent")
    return {
        "status": "healthy" if healthy else "degraded",
        "gpu_status": ", ".join(device.name for device in gpus) if gpus else "none",
        "gpu_memory": f"{memory / 2**30:.1f} GiB" if memory else None,
        "queue_status": _queue_status(queue),
        "storage_usage": round(disk.used / disk.total, 4),
        "storage_free_bytes": disk.free,
        "memory_usage": round(psutil.virtual_memory().percent / 100, 4),
        "index_status": index,
        "dagster_status": dagster,
        "dagster_url": services.settings.dagster_url,
    }


def _queue_status(counted: dict[str, int]) -> str:
    running, waiting = counted[JobStatus.RUNNING.value], counted[JobStatus.PENDING.value]
    return f"{running} running, {waiting} waiting" if running or waiting else "idle"


@router.get(
    "/stats",
    summary="Count the library and say how the system is",
    operation_id="get_dashboard_stats",
    response_model=DashboardStats,
    responses=problems.documented(),
)
async def get_stats(services: ServicesDep) -> Response:
    """Totals and groups are of this moment; figures that need a scan are as of the last publication."""
    dagster = await services.orchestrator.state()
    stats = await run_in_threadpool(_library, services)
    system = await run_in_threadpool(_system, services, dagster.status, stats["deliveries_by_status"])
    return encoding.answer({"stats": stats, "system_health": system})


@router.get(
    "/featured-loras",
    summary="List adapters worth a look",
    operation_id="list_featured_loras",
    response_model=list[FeaturedLora],
    responses=problems.documented(422),
)
def list_featured(
    services: ServicesDep, limit: Annotated[int, Query(ge=1, le=50, description="Adapters at most.")] = 10
) -> Response:
    """Active, popular, well rated and new adapters in turn, each with the reason."""
    with services.database.read() as connection:
        chosen = dashboard.featured(connection, limit=limit)
    return encoding.answer(
        [{**encoding.adapter(item.adapter, services.signer), "reason": item.reason.value} for item in chosen]
    )


@router.get(
    "/activity-feed",
    summary="List what happened, newest first",
    operation_id="list_activity",
    response_model=list[FeedItem],
    responses=problems.documented(422),
)
def list_activity(
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=200, description="Items at most.")] = 50,
    before: Annotated[
        int | None, Query(ge=1, lt=2**63, description="The `id` of the oldest item seen: what came before it.")
    ] = None,
) -> Response:
    """Ingests, changes of adapters, deliveries, generations and materializations. A bulk change is one item."""
    with services.database.read() as connection:
        items = dashboard.activity(connection, limit=limit, before=before)
    return encoding.answer(
        [
            {
                "id": item.number,
                "timestamp": item.at,
                "type": item.kind,
                "subject_id": item.subject_id,
                "summary": item.summary,
                "data": item.data,
            }
            for item in items
        ]
    )
