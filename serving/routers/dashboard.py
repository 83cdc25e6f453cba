"""`/dashboard`: the library at a glance."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from serving import conditions, encoding, problems, status
from serving.deps import AddressDep, Services, ServicesDep
from serving.schemas.dashboard import DashboardStats, FeaturedLora, FeedItem
from warehouse import facets
from warehouse.models import utc_now
from warehouse.queries import breakdowns, dashboard, embeddings
from warehouse.queries.job_figures import deliveries_by_status

router = APIRouter(prefix="/dashboard", tags=["dashboard"])

_RECENT = timedelta(days=7)
_PATIENCE = 0.25
"""Seconds that a dashboard waits for news of Dagster."""
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
        by_space = embeddings.coverage(connection)
        deliveries = deliveries_by_status(connection)
        groups = {
            name: [
                {"value": value or None, "count": count}
                for value, count in breakdowns.counted(connection, facet, limit=limit)
            ]
            for name, facet, limit in _LIVE_GROUPS
        }
        embedded = max(by_space.values(), default=0)
        return {
            "total_loras": total,
            "active_loras": facets.count_of(connection, "active", "true"),
            "embeddings_coverage": min(1.0, embedded / total) if total else 0.0,
            "loras_with_embeddings": embedded,
            "embeddings_by_space": by_space,
            "recent_imports": dashboard.recent_imports(connection, utc_now() - _RECENT),
            **groups,
            "deliveries_by_status": deliveries,
            "active_jobs": deliveries.get("pending", 0) + deliveries.get("running", 0),
            **{name: published.values.get(name) for name in _PUBLISHED},
            "published_at": published.at,
        }


@router.get(
    "/stats",
    summary="Count the library and say how the system is",
    operation_id="get_dashboard_stats",
    response_model=DashboardStats,
    responses=problems.documented(),
)
async def get_stats(services: ServicesDep, address: AddressDep) -> Response:
    """Totals and groups are of this moment; figures that need a scan are as of the last publication."""
    dagster = await services.orchestrator.state(_PATIENCE)

    def stats() -> dict[str, Any]:
        library = _library(services)
        found = conditions.look(services, dagster, address)
        return {"stats": library, "system_health": status.system_health(services, found, dagster)}

    return encoding.answer(await run_in_threadpool(stats))


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
