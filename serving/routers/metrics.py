"""`/metrics`: what those who watch the service scrape."""

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST

from serving.deps import ServicesDep

router = APIRouter(include_in_schema=False)


@router.get("/metrics")
def get_metrics(services: ServicesDep) -> Response:
    """Every metric of this process in Prometheus' text format."""
    return Response(services.metrics.scrape(), media_type=CONTENT_TYPE_LATEST)
