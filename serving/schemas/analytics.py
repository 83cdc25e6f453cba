"""Analytics: questions in SQL and their answers, the catalog, the summary."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints

from serving.schemas.adapters import ADAPTER_ID

_Integer = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Scalar = bool | _Integer | FiniteFloat | str | None
_Name = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class AnalyticsQuestion(BaseModel):
    """One SELECT over the published tables."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "sql": "SELECT base_model, count(*) AS adapters FROM adapters WHERE downloads > ? "
                    "GROUP BY base_model ORDER BY adapters DESC",
                    "parameters": [1000],
                    "limit": 100,
                }
            ]
        },
    )

    sql: str = Field(min_length=1, max_length=100_000, description="One SELECT, FROM, DESCRIBE, SHOW or SUMMARIZE.")
    parameters: (
        Annotated[list[Scalar | list[Scalar]], Field(max_length=1_000)]
        | Annotated[dict[_Name, Scalar | list[Scalar]], Field(max_length=1_000)]
        | None
    ) = Field(None, description="Values for `?` and `$1` in their order, or by name for `$name`.")
    limit: int = Field(1_000, ge=1, le=100_000, description="Rows at most; beyond it the answer is cut and says so.")


class QueryColumn(BaseModel):
    """A column of an answer."""

    name: str
    type: str = Field(description="DuckDB's name of the type.")


class AnalyticsAnswer(BaseModel):
    """The rows of a query."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "columns": [{"name": "base_model", "type": "VARCHAR"}, {"name": "adapters", "type": "BIGINT"}],
                    "rows": [["SDXL 1.0", 4100], [None, 900]],
                    "row_count": 2,
                    "truncated": False,
                    "generation": "20260101T080000-ab12cd34",
                    "published_at": "2026-01-01T08:00:00Z",
                    "processing_time": 0.21,
                }
            ]
        }
    )

    columns: list[QueryColumn]
    rows: list[list[Any]] = Field(
        description="Values in the order of the columns. Moments are RFC 3339 in UTC, days and intervals ISO 8601, "
        "binary base64; an integer beyond ±(2⁵³ − 1) and a decimal of more than 15 digits are text, so that "
        "nobody's number loses digits; infinity and NaN are null; lists are arrays, structs and maps objects."
    )
    row_count: int = Field(description="How many rows there are here.")
    truncated: bool = Field(description="Whether there were more rows than `limit`, or more than 16 MiB of them.")
    generation: str = Field(description="The publication that was read.")
    published_at: datetime
    processing_time: float = Field(description="Seconds, with the start of the query's own process.")


class CatalogColumn(BaseModel):
    """A column of a view."""

    name: str
    type: str = Field(description="DuckDB's name of the type.")
    description: str


class CatalogView(BaseModel):
    """A view that queries can read."""

    name: str
    description: str
    grain: str = Field(description="What one row is.")
    kind: str = Field(description="`fact`: rows of the library; `aggregate`: computed from facts.")
    rows: int | None = Field(description="Rows in the current publication; null where it does not hold the view.")
    columns: list[CatalogColumn]


class AnalyticsCatalog(BaseModel):
    """Everything that queries can read."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "generation": "20260101T080000-ab12cd34",
                    "published_at": "2026-01-01T08:00:00Z",
                    "views": [
                        {
                            "name": "adapter_tags",
                            "description": "Tags of adapters, folded so that spellings of one tag meet.",
                            "grain": "adapter and tag",
                            "kind": "fact",
                            "rows": 24100,
                            "columns": [{"name": "tag", "type": "VARCHAR", "description": "The tag"}],
                        }
                    ],
                }
            ]
        }
    )

    generation: str | None = Field(description="The current publication; null before the first.")
    published_at: datetime | None
    views: list[CatalogView]


class SummaryStats(BaseModel):
    """Totals of the span. A count of one bucket stops at 10,000, which stands for as many or more."""

    total_loras: int = Field(description="Of this moment.")
    active_loras: int = Field(description="Of this moment.")
    loras_added: int
    activations: int
    generations: int
    deliveries: int = Field(description="All deliveries; a generation is one of them.")
    succeeded: int
    failed: int
    success_rate: float | None = Field(description="Succeeded of those that ended, 0..1; null where none ended.")
    mean_generation_seconds: float | None
    downloads_gained: int = Field(description="On Civitai, as of the last publication.")
    likes_gained: int = Field(description="On Civitai, as of the last publication.")


class SummaryPoint(BaseModel):
    """One bucket."""

    timestamp: datetime = Field(description="When the bucket begins.")
    loras_added: int
    activations: int
    generations: int
    deliveries: int
    failed: int
    downloads_gained: int | None = Field(description="Known by days: null for hours.")


class TopLora(BaseModel):
    """An adapter that is used much."""

    lora_id: str
    name: str
    version: str | None
    usage_count: int = Field(description="Generations it was in, within the span.")
    activations: int = Field(description="Times it was activated within the span.")


class TopMover(BaseModel):
    """An adapter that the community downloads."""

    lora_id: str
    name: str
    version: str | None
    downloads_gained: int
    likes_gained: int | None


class Kpis(BaseModel):
    """The key figures that front ends show, under their names; 0 where there is nothing to measure."""

    total_generations: int
    generation_growth: float = Field(description="Percent against the span of the same length before.")
    avg_generation_time: float = Field(description="Seconds.")
    time_improvement: float = Field(description="Percent by which generations became faster.")
    success_rate: float = Field(description="Percent.")
    total_failed: int
    active_loras: int
    total_loras: int


class VolumePoint(BaseModel):
    """Generations of one bucket."""

    timestamp: datetime
    count: int


class PerformancePoint(BaseModel):
    """How generations went in one bucket that has any."""

    timestamp: datetime
    avg_time: float = Field(description="Seconds.")
    success_rate: float = Field(description="Percent.")


class UsageSlice(BaseModel):
    """How much one adapter is used."""

    name: str
    usage_count: int


class ChartData(BaseModel):
    """The series that front ends draw, under their names."""

    generation_volume: list[VolumePoint]
    performance: list[PerformancePoint]
    lora_usage: list[UsageSlice]
    resource_usage: list[dict[str, Any]] = Field(description="Always empty: the machine's load is not kept.")


class ErrorSlice(BaseModel):
    """One reason of failures."""

    type: str
    count: int
    percentage: float
    description: str


class AnalyticsSummary(BaseModel):
    """What happened in a span of time."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "time_range": "7d",
                    "step": "day",
                    "generated_at": "2026-01-07T09:30:00Z",
                    "published_at": "2026-01-07T08:00:00Z",
                    "stats": {
                        "total_loras": 5000,
                        "active_loras": 3,
                        "loras_added": 12,
                        "activations": 4,
                        "generations": 0,
                        "deliveries": 0,
                        "succeeded": 0,
                        "failed": 0,
                        "success_rate": None,
                        "mean_generation_seconds": None,
                        "downloads_gained": 1200,
                        "likes_gained": 90,
                    },
                    "series": [
                        {
                            "timestamp": "2026-01-07T00:00:00Z",
                            "loras_added": 12,
                            "activations": 4,
                            "generations": 0,
                            "deliveries": 0,
                            "failed": 0,
                            "downloads_gained": 1200,
                        }
                    ],
                    "top_loras": [
                        {
                            "lora_id": ADAPTER_ID,
                            "name": "Ink Dragon",
                            "version": "v2",
                            "usage_count": 0,
                            "activations": 4,
                        }
                    ],
                    "top_movers": [
                        {
                            "lora_id": ADAPTER_ID,
                            "name": "Ink Dragon",
                            "version": "v2",
                            "downloads_gained": 1200,
                            "likes_gained": 90,
                        }
                    ],
                    "kpis": {
                        "total_generations": 0,
                        "generation_growth": 0.0,
                        "avg_generation_time": 0.0,
                        "time_improvement": 0.0,
                        "success_rate": 0.0,
                        "total_failed": 0,
                        "active_loras": 3,
                        "total_loras": 5000,
                    },
                    "chart_data": {
                        "generation_volume": [{"timestamp": "2026-01-07T00:00:00Z", "count": 0}],
                        "performance": [],
                        "lora_usage": [{"name": "Ink Dragon", "usage_count": 4}],
                        "resource_usage": [],
                    },
                    "error_breakdown": [],
                    "performance_insights": [],
                }
            ]
        }
    )

    time_range: str
    step: str = Field(description="`hour` for 24h, `month` for all, else `day`; all in UTC.")
    generated_at: datetime
    published_at: datetime | None = Field(description="As of when figures of days that are over, and of Civitai, are.")
    stats: SummaryStats
    series: list[SummaryPoint] = Field(description="Every bucket of the span, the oldest first, with zeros.")
    top_loras: list[TopLora] = Field(description="The ten most used, then the most activated.")
    top_movers: list[TopMover] = Field(description="The ten that gained most downloads on Civitai.")
    kpis: Kpis
    chart_data: ChartData
    error_breakdown: list[ErrorSlice]
    performance_insights: list[dict[str, Any]] = Field(description="Always empty.")
