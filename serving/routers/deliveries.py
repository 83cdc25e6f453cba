"""`/deliveries`: a prompt to a target, and what became of it."""

from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import Response

from serving import delivering, encoding, job_lists, problems
from serving.deps import ActorDep, IdempotencyKey, Services, ServicesDep
from serving.job_lists import Paging
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
from warehouse.queries import jobs as queries
from warehouse.queries.filters import storable
from warehouse.queries.jobs import JobFilter, JobRow

router = APIRouter(prefix="/deliveries", tags=["deliveries"])

DeliveryId = Annotated[str, Path(description="The delivery's id.", examples=[DELIVERY_ID])]


def shown(row: JobRow, result: dict[str, Any] | None) -> dict[str, Any]:
    """A job as answers show it, with its result as they show that."""
    fields = msgspec.structs.asdict(row)
    del fields["pk"], fields["lane"]
    return fields | {"result": result}


@router.post(
    "",
    summary="Deliver a prompt",
    operation_id="create_delivery",
    response_model=DeliveryAccepted,
    status_code=HTTPStatus.CREATED,
    responses=problems.documented(422),
)
def create_delivery(
    services: ServicesDep, actor: ActorDep, body: NewDelivery, idempotency_key: IdempotencyKey = None
) -> Response:
    """Queues the delivery and answers at once, whatever the target does; `GET` of its id tells the rest."""
    job = delivering.prepare(body.mode, body.prompt, body.params, services.settings)
    with services.database.write() as connection:
        queued = delivering.put(connection, job, actor, idempotency_key=idempotency_key)
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
    paging: Annotated[Paging, Depends()],
    *,
    status: Annotated[list[Status], Query(description="Only these; repeated: any of them.")] = [],  # noqa: B006 - FastAPI copies it
    mode: Annotated[str | None, Query(max_length=32, description="Only those of a mode.")] = None,
) -> Response:
    """Deliveries, newest first; those of a mode that generates images are generations too. `total` is exact.

    A result in a list names its pictures by URL, without their bytes.
    """
    narrowed = JobFilter(mode=storable(mode) if mode else mode, statuses=tuple(sorted({each.value for each in status})))
    found = job_lists.read(services.database, narrowed, paging)
    items = [shown(row, services.results.listed(row)) for row in found.rows]
    return encoding.answer(job_lists.content(found, paging, items))


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
    return encoding.answer(shown(row, services.results.shown(row)))


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
    return encoding.answer(shown(row, services.results.shown(row)))
