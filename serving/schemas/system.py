"""Health reports and the status of the system."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field


class Alive(BaseModel):
    """The process answers."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "alive", "version": "0.1.0"}]})

    status: str
    version: str


class Part(BaseModel):
    """The state of one thing that answers depend on."""

    status: str = Field(description="`ready`, or why not: loading, absent, failed, unreachable, daemon_down.")
    needed: bool = Field(description="Whether the service is not ready without it.")
    detail: str


class Readiness(BaseModel):
    """Whether every question can be answered now."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "status": "ready",
                    "checks": {
                        "database": {"status": "ready", "needed": True, "detail": "schema 0001"},
                        "index": {
                            "status": "ready",
                            "needed": True,
                            "detail": "20260101T080000-ab12cd34, 5000 adapters",
                        },
                        "dagster": {
                            "status": "unreachable",
                            "needed": False,
                            "detail": "Dagster's webserver does not answer",
                        },
                    },
                }
            ]
        }
    )

    status: str = Field(description="`ready`, or `unready` while something that is needed is not ready.")
    checks: dict[str, Part]


class CpuMetrics(BaseModel):
    """The processor."""

    percent: float = Field(description="Load of all cores together, 0..100, measured within the last seconds.")
    cores: int
    load_average: tuple[float, float, float] = Field(description="Of 1, 5 and 15 minutes.")


class MemoryMetrics(BaseModel):
    """The memory of the machine."""

    total: int = Field(description="MiB.")
    used: int = Field(description="MiB: what is not available.")
    available: int = Field(description="MiB.")
    percent: float = Field(description="Used share, 0..100.")


class DiskMetrics(BaseModel):
    """The disk of the data folder."""

    total: int = Field(description="MiB.")
    used: int = Field(description="MiB.")
    percent: float = Field(description="Used share, 0..100.")


class GpuMetrics(BaseModel):
    """A GPU whose driver answers; what it does not tell is null."""

    id: int
    name: str
    memory_total: int | None = Field(description="MiB.")
    memory_used: int | None = Field(description="MiB.")
    memory_percent: float | None = Field(description="Used share, 0..100.")
    utilization: float | None = Field(description="Share of the time in which it computed, 0..100.")
    temperature: float | None = Field(description="Degrees Celsius.")


class Metrics(BaseModel):
    """The machine in numbers: sizes in MiB, shares in percent, as front ends for such servers read them."""

    cpu: CpuMetrics
    memory: MemoryMetrics
    disk: DiskMetrics
    gpus: list[GpuMetrics] = Field(description="As read within the last seconds; empty where no driver answers.")
    cpu_percent: float
    memory_percent: float
    memory_used: int = Field(description="MiB.")
    memory_total: int = Field(description="MiB.")
    disk_percent: float
    disk_used: int = Field(description="MiB.")
    disk_total: int = Field(description="MiB.")
    uptime_seconds: int = Field(description="Since the machine started.")
    timestamp: datetime


class QueueFigures(BaseModel):
    """Jobs by what becomes of them."""

    active: int = Field(description="Waiting or running.")
    running: int
    failed: int


class SdnextFigures(BaseModel):
    """The generator."""

    configured: bool = Field(description="Whether LORA_MANAGER_SDNEXT_URL is set.")


class ImporterFigures(BaseModel):
    """The library as syncs left it."""

    total_adapters: int
    last_ingested_at: datetime | None = Field(description="When a sync last changed an adapter.")


class RecommendationFigures(BaseModel):
    """What recommends."""

    models_loaded: bool
    gpu_available: bool
    index_status: str = Field(description="ready, loading, absent or failed.")


class SystemStatus(BaseModel):
    """The system at a glance."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "status": "warning",
                    "queue_length": 0,
                    "warnings": ["Adapters whose file is gone: 3. Mount their disk, or delete them."],
                    "metrics": {
                        "cpu": {"percent": 12.5, "cores": 8, "load_average": [0.9, 0.7, 0.5]},
                        "memory": {"total": 32000, "used": 12000, "available": 20000, "percent": 37.5},
                        "disk": {"total": 953674, "used": 381469, "percent": 40.0},
                        "gpus": [
                            {
                                "id": 0,
                                "name": "NVIDIA GeForce RTX 4090",
                                "memory_total": 24564,
                                "memory_used": 8120,
                                "memory_percent": 33.1,
                                "utilization": 4.0,
                                "temperature": 41.0,
                            }
                        ],
                        "cpu_percent": 12.5,
                        "memory_percent": 37.5,
                        "memory_used": 12000,
                        "memory_total": 32000,
                        "disk_percent": 40.0,
                        "disk_used": 381469,
                        "disk_total": 953674,
                        "uptime_seconds": 86400,
                        "timestamp": "2026-01-01T08:00:00Z",
                    },
                    "gpu_available": True,
                    "gpu_status": "NVIDIA GeForce RTX 4090, available",
                    "memory_used": 8120,
                    "memory_total": 24564,
                    "active_workers": 0,
                    "message": "1 thing to look at",
                    "updated_at": "2026-01-01T08:00:00Z",
                    "queue": {"active": 0, "running": 0, "failed": 0},
                    "sdnext": {"configured": False},
                    "importer": {"total_adapters": 5000, "last_ingested_at": "2026-01-01T07:00:00Z"},
                    "recommendations": {"models_loaded": True, "gpu_available": True, "index_status": "ready"},
                    "dagster_status": "ready",
                    "version": "0.1.0",
                }
            ]
        }
    )

    status: str = Field(description="`healthy`, `warning`, or `error` where something does not work at all.")
    queue_length: int = Field(description="Jobs that wait or run.")
    warnings: list[str] = Field(description="What is not as it should be, each with what to do.")
    metrics: Metrics
    gpu_available: bool = Field(description="Whether the installed software can compute on a GPU.")
    gpu_status: str
    memory_used: int = Field(description="MiB of the GPUs; of the machine where there is none.")
    memory_total: int = Field(description="MiB of the GPUs; of the machine where there is none.")
    active_workers: int = Field(description="Jobs that run.")
    message: str
    updated_at: datetime
    queue: QueueFigures
    sdnext: SdnextFigures
    importer: ImporterFigures
    recommendations: RecommendationFigures
    dagster_status: str
    version: str
