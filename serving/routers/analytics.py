"""`/analytics`: questions in SQL over the published tables, their catalog, and the summary of a span of time."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from fastapi.responses import Response
from starlette.requests import Request

from serving import encoding, problems, summary
from serving.deps import ServicesDep
from serving.schemas.analytics import AnalyticsAnswer, AnalyticsCatalog, AnalyticsQuestion, AnalyticsSummary
from warehouse.marts import MARTS, Fact
from warehouse.queries.trends import TimeRange

router = APIRouter(prefix="/analytics", tags=["analytics"])

ARROW = "application/vnd.apache.arrow.stream"


def _wants_arrow(accept: str) -> bool:
    """Whether a client names Arrow, without a weight of 0; whoever takes anything gets JSON."""
    for part in accept.split(","):
        media_type, _, options = part.partition(";")
        if media_type.strip().lower() == ARROW:
            weights = (option.strip().removeprefix("q=") for option in options.split(";") if "q=" in option)
            return all(weight.strip("0.") != "" for weight in weights)
    return False


@router.post(
    "/query",
    summary="Ask the published tables in SQL",
    operation_id="query_analytics",
    response_model=AnalyticsAnswer,
    responses={
        200: {"content": {ARROW: {}}, "description": "The rows, as JSON or as the stream that was asked for."},
        **problems.documented(422, 429, 503, 504),
    },
)
async def query(request: Request, services: ServicesDep, question: AnalyticsQuestion) -> Response:
    """Runs one SELECT in a process of its own: it reads the views of `/analytics/catalog` and nothing else, and writes
    nothing. It may run for 30 seconds and take 1 GiB of memory; two run at once, others wait for up to 5 seconds.

    With `Accept: application/vnd.apache.arrow.stream` the answer is an Arrow IPC stream, whose schema metadata say
    `row_count`, `truncated`, `generation` and `published_at`."""
    arrow = _wants_arrow(request.headers.get("accept", ""))
    result = await services.analysts.ask(
        question.sql,
        parameters=question.parameters,
        limit=question.limit,
        form="arrow" if arrow else "json",
        gone=request.is_disconnected,
    )
    if arrow:
        return Response(result.payload, media_type=ARROW)
    return encoding.answer(
        {
            "columns": [{"name": column.name, "type": column.type} for column in result.columns],
            "rows": msgspec.Raw(result.payload),
            "row_count": result.row_count,
            "truncated": result.truncated,
            "generation": result.generation.name,
            "published_at": result.generation.created_at,
            "processing_time": round(result.seconds, 4),
        }
    )


@router.get(
    "/catalog",
    summary="List the tables that queries can read",
    operation_id="get_analytics_catalog",
    response_model=AnalyticsCatalog,
    responses=problems.documented(),
)
def get_catalog(services: ServicesDep) -> Response:
    """Every view with its columns and what they mean, and how many rows the current publication has."""
    current = services.figures.current()
    written = {} if current is None else current.manifest["marts"]
    return encoding.answer(
        {
            "generation": None if current is None else current.name,
            "published_at": None if current is None else current.created_at,
            "views": [
                {
                    "name": mart.name,
                    "description": mart.description,
                    "grain": mart.grain,
                    "kind": "fact" if isinstance(mart, Fact) else "aggregate",
                    "rows": written[mart.name]["rows"] if mart.name in written else None,
                    "columns": [
                        {"name": column.name, "type": column.type.value, "description": column.description}
                        for column in mart.columns
                    ],
                }
                for mart in MARTS
            ],
        }
    )


@router.get(
    "/summary",
    summary="Say what happened in a span of time",
    operation_id="get_analytics_summary",
    response_model=AnalyticsSummary,
    responses=problems.documented(422),
)
def get_summary(
    services: ServicesDep,
    time_range: Annotated[TimeRange, Query(description="How far back: by hours for 24h, by months for all.")] = (
        TimeRange.DAY
    ),
) -> Response:
    """What came, what was activated, what jobs did and what the community downloaded: totals, a series of buckets in
    UTC, and the adapters in front. Days that are over at the last publication are as published."""
    return encoding.answer(summary.summarise(services.database, services.figures, time_range))
