"""`/deliveries`: a prompt to a target, and what became of it."""

from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header, Path, Query
from fastapi.responses import Response

from serving import delivering, encoding, problems
from serving.deps import Services, ServicesDep
from serving.schemas.deliveries import (
    DELIVERY_ID,
    Delivery,
    DeliveryAccepted,
    DeliveryPage,
    ModeList,
    NewDelivery,
    Status,
)
from warehouse import jobs
from warehouse.backends import plugins
from warehouse.jobs import JobStateError, JobStatus
from warehouse.queries import cursors
from warehouse.queries import jobs as queries
from warehouse.queries.jobs import JobFilter, JobRow

router = APIRouter(prefix="/deliveries", tags=["deliveries"])

DeliveryId = Annotated[str, Path(description="The delivery's id.", examples=[DELIVERY_ID])]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="A name of the client's for this request: sent again with the same body, it gives the same answer "
        "and delivers once.",
    ),
]


def shown(row: JobRow) -> dict[str, Any]:
    """A job as answers show it."""
    fields = msgspec.structs.asdict(row)
    del fields["pk"], fields["lane"]
    return fields


@router.post(
    "",
    summary="Deliver a prompt",
    operation_id="create_delivery",
    response_model=DeliveryAccepted,
    status_code=HTTPStatus.CREATED,
    responses=problems.documented(422),
)
def create_delivery(services: ServicesDep, body: NewDelivery, idempotency_key: IdempotencyKey = None) -> Response:
    """Queues the delivery and answers at once, whatever the target does; `GET` of its id tells the rest."""
    job = delivering.prepare(body.mode, body.prompt, body.params, services.settings)
    with services.database.write() as connection:
        queued = delivering.put(connection, job, idempotency_key=idempotency_key)
    services.runs.look_after(queued.lane)
    answer = encoding.answer({"delivery_id": queued.id, "status": JobStatus.PENDING.value}, HTTPStatus.CREATED)
    answer.headers["Location"] = f"{encoding.API}/deliveries/{queued.id}"
    return answer


@router.get(
    "",
    summary="List deliveries",
    operation_id="list_deliveries",
    response_model=DeliveryPage,
    responses=problems.documented(422),
)
def list_deliveries(
    services: ServicesDep,
    *,
    status: Annotated[list[Status], Query(description="Only these; repeated: any of them.")] = [],  # noqa: B006 - FastAPI copies it
    mode: Annotated[str | None, Query(max_length=32, description="Only those of a mode.")] = None,
    limit: Annotated[int, Query(ge=1, le=500, description="Deliveries a page.")] = 100,
    offset: Annotated[int, Query(ge=0, description="Deliveries to skip, up to 10,000; beyond that use `cursor`.")] = 0,
    page: Annotated[int | None, Query(ge=1, description="Page number from 1, instead of `offset`.")] = None,
    per_page: Annotated[int | None, Query(ge=1, le=500, description="The same as `limit`.")] = None,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before, instead of `offset`.")] = None,
) -> Response:
    """Deliveries, newest first; those of a mode that generates images are generations too. `total` is exact."""
    size = per_page or limit
    skip = (page - 1) * size if page is not None else offset
    narrowed = JobFilter(mode=mode, statuses=tuple(sorted({each.value for each in status})))
    try:
        with services.database.read() as connection:
            found = queries.page(connection, narrowed, limit=size, offset=skip, cursor=cursor or None)
    except cursors.CursorError as error:
        raise problems.invalid(("query", "cursor"), str(error)) from error
    except queries.OffsetError as error:
        raise problems.invalid(("query", "page" if page is not None else "offset"), str(error)) from error
    return encoding.answer(
        {
            "items": [shown(row) for row in found.rows],
            "total": found.total,
            "limit": size,
            "offset": found.offset,
            "next_cursor": found.next_cursor,
            "filtered": found.total,
            "page": found.offset // size + 1,
            "pages": -(-found.total // size),
            "per_page": size,
        }
    )


@router.get(
    "/modes",
    summary="List the ways to deliver",
    operation_id="list_delivery_modes",
    response_model=ModeList,
    responses=problems.documented(),
)
async def list_modes(services: ServicesDep) -> Response:
    """The installed modes with their parameters. Packages add modes by entry points."""
    return encoding.answer(
        {
            "modes": [
                {
                    "name": plugin.name,
                    "description": plugin.description,
                    "kind": plugin.kind.value,
                    "configured": plugin.is_configured(services.settings),
                    "params": plugin.params.model_json_schema(),
                }
                for plugin in plugins().values()
            ]
        }
    )


def _get(services: Services, delivery_id: str) -> Response:
    with services.database.read() as connection:
        row = queries.get(connection, problems.canonical_id("delivery", delivery_id))
    if row is None:
        raise problems.not_found("delivery", delivery_id)
    return encoding.answer(shown(row))


@router.get(
    "/{delivery_id}",
    summary="Get one delivery",
    operation_id="get_delivery",
    response_model=Delivery,
    responses=problems.documented(404),
)
def get_delivery(services: ServicesDep, delivery_id: DeliveryId) -> Response:
    """One delivery; `result` and `finished_at` are null until its end."""
    return _get(services, delivery_id)


@router.post(
    "/{delivery_id}/cancel",
    summary="Cancel a delivery",
    operation_id="cancel_delivery",
    response_model=Delivery,
    responses=problems.documented(404, 409),
)
def cancel_delivery(services: ServicesDep, delivery_id: DeliveryId) -> Response:
    """One that waits is cancelled at once. One that runs is interrupted: `cancel_requested` until it has ended."""
    try:
        with services.database.write() as connection:
            jobs.cancel(connection, problems.canonical_id("delivery", delivery_id))
    except JobStateError as error:
        raise problems.Problem(HTTPStatus.CONFLICT, str(error)) from error
    return _get(services, delivery_id)


@router.post(
    "/{delivery_id}/retry",
    summary="Deliver again what failed",
    operation_id="retry_delivery",
    response_model=Delivery,
    responses=problems.documented(404, 409),
)
def retry_delivery(services: ServicesDep, delivery_id: DeliveryId) -> Response:
    """Queues a delivery that failed or was cancelled again, under its id: a receiver that has it already can tell."""
    canonical = problems.canonical_id("delivery", delivery_id)
    try:
        with services.database.write() as connection:
            jobs.retry(connection, canonical)
    except JobStateError as error:
        raise problems.Problem(HTTPStatus.CONFLICT, str(error)) from error
    with services.database.read() as connection:
        row = queries.get(connection, canonical)
    if row is None:
        raise problems.not_found("delivery", delivery_id)
    services.runs.look_after(row.lane)
    return encoding.answer(shown(row))
