"""Dashboard answers."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from serving.schemas.adapters import ADAPTER_EXAMPLE, ADAPTER_ID, Adapter


class Group(BaseModel):
    """A value and how many adapters have it."""

    value: str | None = Field(description="Null: unknown.")
    count: int


class LibraryStats(BaseModel):
    """Figures of the library. Those that need a scan are as of `published_at`; all others are of this moment."""

    total_loras: int
    active_loras: int
    embeddings_coverage: float = Field(description="Share of the adapters that have vectors, 0..1.")
    loras_with_embeddings: int
    recent_imports: int = Field(description="Adapters added within seven days; 10,000 stands for as many or more.")
    by_file_state: list[Group]
    by_base_model: list[Group] = Field(description="The 50 most frequent.")
    by_archetype: list[Group]
    by_author: list[Group] = Field(description="The 20 most frequent.")
    by_nsfw_level: list[Group]
    top_tags: list[Group] = Field(description="The 20 most frequent.")
    deliveries_by_status: dict[str, int] = Field(description="Generations are deliveries too. Zeros included.")
    file_bytes: int | None = Field(description="Bytes of the weight files that are there.")
    wasted_bytes: int | None = Field(description="Bytes that one copy of every duplicated file would free.")
    documents: int | None
    documents_quarantined: int | None
    files_invalid: int | None
    findings: int | None
    published_at: datetime | None = Field(description="When the published figures were computed; null before that.")


class SystemHealth(BaseModel):
    """Figures of the machine and of the services."""

    status: str = Field(description="`healthy`, or `degraded` while something is not ready.")
    gpu_status: str
    gpu_memory: str | None
    queue_status: str = Field(description="`idle`, or how many deliveries and generations run and wait.")
    storage_usage: float = Field(description="Share of the data folder's disk that is used, 0..1.")
    storage_free_bytes: int
    memory_usage: float = Field(description="Share of the machine's memory that is used, 0..1.")
    index_status: str
    dagster_status: str
    dagster_url: str = Field(description="Where Dagster's UI is, seen from the machine of the service.")


class DashboardStats(BaseModel):
    """Everything at a glance."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "stats": {
                        "total_loras": 5000,
                        "active_loras": 3,
                        "embeddings_coverage": 1.0,
                        "loras_with_embeddings": 5000,
                        "recent_imports": 12,
                        "by_file_state": [{"value": "present", "count": 5000}],
                        "by_base_model": [{"value": "SDXL 1.0", "count": 4100}, {"value": None, "count": 900}],
                        "by_archetype": [{"value": "style", "count": 5000}],
                        "by_author": [{"value": "brushwork", "count": 41}],
                        "by_nsfw_level": [{"value": "1", "count": 5000}],
                        "top_tags": [{"value": "style", "count": 2100}],
                        "deliveries_by_status": {
                            "pending": 0,
                            "running": 1,
                            "succeeded": 41,
                            "failed": 2,
                            "cancelled": 0,
                        },
                        "file_bytes": 912680550400,
                        "wasted_bytes": 0,
                        "documents": 5000,
                        "documents_quarantined": 2,
                        "files_invalid": 1,
                        "findings": 17,
                        "published_at": "2026-01-01T08:00:00Z",
                    },
                    "system_health": {
                        "status": "healthy",
                        "gpu_status": "none",
                        "gpu_memory": None,
                        "queue_status": "1 running, 0 waiting",
                        "storage_usage": 0.41,
                        "storage_free_bytes": 812680550400,
                        "memory_usage": 0.37,
                        "index_status": "ready",
                        "dagster_status": "ready",
                        "dagster_url": "http://127.0.0.1:3000",
                    },
                }
            ]
        }
    )

    stats: LibraryStats
    system_health: SystemHealth


class FeaturedLora(Adapter):
    """An adapter worth a look."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{**ADAPTER_EXAMPLE, "reason": "popular: among the most downloaded"}]}
    )

    reason: str = Field(description="Why it is featured.")


class FeedItem(BaseModel):
    """Something that happened."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": 17,
                    "timestamp": "2026-01-01T08:00:00Z",
                    "type": "activation",
                    "subject_id": ADAPTER_ID,
                    "summary": "activated Ink Dragon",
                    "data": None,
                }
            ]
        }
    )

    id: int = Field(description="Pass it as `before` for what happened earlier.")
    timestamp: datetime
    type: str = Field(
        description="sync, creation, edit, activation, deletion, delivery, generation, materialization, …"
    )
    subject_id: str | None
    summary: str
    data: dict[str, Any] | None
