"""`/generation`: pictures by a backend, at once or queued, and the jobs that they are.

Does not belong here: pictures that are there (`routers.results`), live progress (`routers.live`).
"""

import dataclasses
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from serving import composing, encoding, generating, job_lists, problems, waiting
from serving.backends import Report
from serving.composing import Ingredient
from serving.deps import ActorDep, IdempotencyKey, Services, ServicesDep
from serving.generating import Prepared, Stack, Texts
from serving.job_lists import Paging
from serving.live import Listener
from serving.live.messages import GENERATION_STATUS
from serving.schemas.compose import ComposeAdapter
from serving.schemas.generation import (
    JOB_ID,
    BackendList,
    CancelledGeneration,
    ComposedGenerationAnswer,
    ComposedGenerationQuestion,
    GenerationAnswer,
    GenerationJob,
    GenerationJobPage,
    GenerationProgress,
    GenerationQuestion,
    GenerationStatus,
    QueuedGeneration,
)
from serving.waiting import Ending
from warehouse import jobs
from warehouse.audit import Actor
from warehouse.generating import FAILURE, LORA_REPORT, Failure
from warehouse.jobs import Enqueued, JobKind, JobStateError, JobStatus
from warehouse.queries import jobs as queries
from warehouse.queries.filters import storable
from warehouse.queries.jobs import JobFilter, JobRow

router = APIRouter(prefix="/generation", tags=["generation"])

JobId = Annotated[str, Path(description="The generation's id.", examples=[JOB_ID])]

_STATUS_OF_JOBS: Final = {shown: status.value for status, shown in GENERATION_STATUS.items()}
_ACTIVE: Final = (JobStatus.PENDING.value, JobStatus.RUNNING.value)
_ANSWERED: Final = {
    Failure.TIMEOUT: HTTPStatus.GATEWAY_TIMEOUT,
    Failure.BUSY: HTTPStatus.SERVICE_UNAVAILABLE,
    # What the backend does not take, or was told not to do without, another request can do otherwise.
    Failure.REFUSED: HTTPStatus.UNPROCESSABLE_ENTITY,
    Failure.LORAS: HTTPStatus.UNPROCESSABLE_ENTITY,
}
"""The status with which a failure is answered; any other is the backend's: 502."""
_BUSY_SECONDS: Final = 60
_PROBLEMS: Final = (413, 422, 502, 503, 504, 409)


# The backends.


def _details(number: int, report: Report) -> dict[str, Any]:
    return {
        "name": report.plugin.name,
        "description": report.plugin.description,
        "is_default": number == 0,
        "reachable": report.reachable,
        **dataclasses.asdict(report.said),
        "error": report.error,
    }


@router.get(
    "/backends",
    summary="List the backends that generate",
    operation_id="list_generation_backends",
    response_model=BackendList,
    responses=problems.documented(),
)
async def list_backends(services: ServicesDep) -> Response:
    """Those that are installed and configured, reachable or not, the default one first.

    Each is asked for its version, checkpoints and samplers, for at most three seconds; answers are ten seconds old at
    most. Packages add backends by entry points.
    """
    reports = await services.backends.reports()
    return encoding.answer(
        {
            "backends": [report.plugin.name for report in reports],
            "details": [_details(number, report) for number, report in enumerate(reports)],
        }
    )


@router.post(
    "/backends",
    summary="List the backends that generate, by POST",
    operation_id="ask_generation_backends",
    response_model=BackendList,
    responses=problems.documented(),
)
async def ask_backends(services: ServicesDep) -> Response:
    """The same as `GET`, for clients that ask this way; a body is not read."""
    return await list_backends(services)


# Asking for pictures.


def _ingredients(adapters: list[ComposeAdapter]) -> list[Ingredient]:
    return [Ingredient(each.id, each.weight) for each in adapters]


def _plain(services: Services, question: GenerationQuestion, priority: int) -> Prepared:
    stack = Stack(_ingredients(question.lora_adapters)) if question.lora_adapters else None
    return generating.prepare(
        services.database,
        services.settings,
        backend=question.backend,
        texts=Texts(question.prompt),
        stack=stack,
        params=question.sent("prompt", "lora_adapters"),
        priority=priority,
    )


_COMPOSED_FIELDS: Final = ("prefix", "suffix", "prompt", "include_triggers", "adapters", "lora_adapters", "delivery")


def _composed(services: Services, question: ComposedGenerationQuestion) -> Prepared:
    name = "lora_adapters" if question.adapters is None else "adapters"
    adapters: list[ComposeAdapter] | None = getattr(question, name)
    loc = ("body", "prefix" if question.prompt is None else "prompt")
    return generating.prepare(
        services.database,
        services.settings,
        backend=question.backend,
        texts=Texts(question.prefix or question.prompt or "", question.suffix or "", question.include_triggers, loc),
        stack=Stack(None if adapters is None else _ingredients(adapters), ("body", name)),
        params=question.sent(*_COMPOSED_FIELDS),
        priority=generating.WAITED_FOR,
    )


def _put(services: Services, actor: Actor, prepared: Prepared, key: str | None) -> Enqueued:
    with services.database.write() as connection:
        queued = generating.put(connection, prepared, actor, idempotency_key=key)
    services.runs.look_after(queued.lane)
    return queued


async def _made(
    services: Services, request: Request, actor: Actor, prepared: Prepared, key: str | None
) -> dict[str, Any]:
    """Queue a generation and wait for its end; its pictures as answers show them."""
    async with services.hub.listening() as listener:
        listener.unsubscribe(None)
        queued = await run_in_threadpool(_put, services, actor, prepared, key)
        await _wait(services, request, listener, queued.id, is_ours=key is None)
    row = await run_in_threadpool(waiting.read, services.database, queued.id)
    if row is None or row.status != JobStatus.SUCCEEDED.value:
        raise _failed(queued.id, row)
    result = await run_in_threadpool(services.results.shown, row) or {}
    warnings = [*prepared.warnings, *result.get("warnings", ())]
    shown = {"job_id": row.id, "status": GENERATION_STATUS[JobStatus.SUCCEEDED], **result, "prompt": row.prompt}
    return shown | {"backend": row.mode, "warnings": warnings}


async def _wait(services: Services, request: Request, listener: Listener, job_id: str, *, is_ours: bool) -> None:
    """Wait for a job. Whose client hangs up is cancelled, unless a key says that it will be asked for again."""
    listener.subscribe([job_id])
    seconds = services.settings.generate_wait_seconds
    ending = await waiting.wait_for_end(services.database, listener, job_id, request, seconds)
    if ending is Ending.GONE and is_ours:
        await run_in_threadpool(_cancel_unasked, services, job_id)
    if ending is not Ending.DONE:
        raise problems.Problem(
            HTTPStatus.GATEWAY_TIMEOUT,
            f"the generation is not done after {seconds:g} s and goes on: follow job {job_id} at "
            f"{encoding.API}/generation/jobs/{job_id}",
            kind="generation-unfinished",
            title="Generation Unfinished",
            members={"job_id": job_id},
        )


def _cancel_unasked(services: Services, job_id: str) -> None:
    with services.database.write() as connection:
        try:
            jobs.cancel(connection, job_id)
        except JobStateError:
            return  # It has ended meanwhile.


def _failed(job_id: str, row: JobRow | None) -> problems.Problem:
    """The problem of a generation that was waited for and made no pictures."""
    if row is None or row.status == JobStatus.CANCELLED.value:
        return problems.Problem(
            HTTPStatus.CONFLICT,
            f"the generation was cancelled: job {job_id}",
            kind="generation-cancelled",
            title="Generation Cancelled",
            members={"job_id": job_id},
        )
    failure = _failure(row)
    status = _ANSWERED.get(failure, HTTPStatus.BAD_GATEWAY) if failure else HTTPStatus.BAD_GATEWAY
    detail = f"{row.mode}: {row.error or 'the generation failed, and no reason is known'}"
    refused = {"loc": ["body"], "msg": detail, "type": failure.value} if failure else None
    return problems.Problem(
        status,
        detail,
        kind="generation-failed",
        title="Generation Failed",
        errors=[refused] if refused and status == HTTPStatus.UNPROCESSABLE_ENTITY else None,
        headers={"Retry-After": str(_BUSY_SECONDS)} if status == HTTPStatus.SERVICE_UNAVAILABLE else None,
        members={"job_id": job_id, "failure": failure.value if failure else None},
    )


def _failure(row: JobRow) -> Failure | None:
    said = (row.result or {}).get(FAILURE)
    return Failure(said) if isinstance(said, str) and said in set(Failure) else None


@router.post(
    "/generate",
    summary="Generate pictures and wait for them",
    operation_id="generate_images",
    response_model=GenerationAnswer,
    responses=problems.documented(*_PROBLEMS),
)
async def generate(
    services: ServicesDep,
    request: Request,
    actor: ActorDep,
    body: GenerationQuestion,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Pictures by the backend, which is given one generation at a time: this one comes before those that were queued.

    The tokens of `lora_adapters` are put behind the prompt. A LoRA that was not applied is in `lora_report` and a
    warning, or with `strict_loras` an error. Hanging up cancels the generation, unless it has an `Idempotency-Key`,
    with which it can be asked for again. Where it fails or takes longer than is waited for, `job_id` is in the problem:
    502 the backend is down or failed, 504 it took too long, 503 it is over its limit of requests or none is configured,
    422 it does not take these parameters, 409 somebody cancelled it.
    """
    prepared = await run_in_threadpool(_plain, services, body, generating.WAITED_FOR)
    return encoding.answer(await _made(services, request, actor, prepared, idempotency_key))


@router.post(
    "/compose-and-generate",
    summary="Compose a prompt and generate with it",
    operation_id="compose_and_generate",
    response_model=ComposedGenerationAnswer,
    responses=problems.documented(*_PROBLEMS),
)
async def compose_and_generate(
    services: ServicesDep,
    request: Request,
    actor: ActorDep,
    body: ComposedGenerationQuestion,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """The fields of `POST /compose` beside the parameters of `generate`; answers like it, with the composition."""
    prepared = await run_in_threadpool(_composed, services, body)
    answer = await _made(services, request, actor, prepared, idempotency_key)
    assert prepared.composed is not None
    return encoding.answer(answer | {"composition": composing.content(prepared.composed)})


@router.post(
    "/queue-generation",
    summary="Queue a generation",
    operation_id="queue_generation",
    response_model=QueuedGeneration,
    status_code=HTTPStatus.ACCEPTED,
    responses=problems.documented(413, 422, 503),
)
def queue_generation(
    services: ServicesDep, actor: ActorDep, body: GenerationQuestion, idempotency_key: IdempotencyKey = None
) -> Response:
    """Takes what `generate` takes and answers at once, whatever the backend does; the job tells the rest."""
    prepared = _plain(services, body, generating.QUEUED)
    queued = _put(services, actor, prepared, idempotency_key)
    answer = encoding.answer(
        {
            "job_id": queued.id,
            "status": GENERATION_STATUS[JobStatus.PENDING],
            "backend": prepared.job.mode,
            "prompt": prepared.job.prompt,
            "warnings": prepared.warnings,
        },
        HTTPStatus.ACCEPTED,
    )
    answer.headers["Location"] = f"{encoding.API}/generation/jobs/{queued.id}"
    return answer


# Jobs.


def shown(row: JobRow, result: Mapping[str, Any] | None) -> dict[str, Any]:
    """A job as answers show it, with its result as they show that."""
    failure = _failure(row)
    return {
        "id": row.id,
        "status": GENERATION_STATUS[JobStatus(row.status)],
        "progress": row.progress,
        "backend": row.mode,
        "prompt": row.prompt,
        "params": row.params,
        "result": result if row.status == JobStatus.SUCCEEDED.value else None,
        "error": row.error,
        "failure": failure.value if failure else None,
        "lora_report": (row.result or {}).get(LORA_REPORT),
        "attempts": row.attempts,
        "cancel_requested": row.cancel_requested,
        "created_at": row.created_at,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
    }


def _find(services: Services, job_id: str) -> JobRow:
    row = waiting.read(services.database, problems.canonical_id("generation", job_id))
    if row is None or row.kind != JobKind.GENERATION.value:
        raise problems.not_found("generation", job_id)
    return row


@router.get(
    "/jobs",
    summary="List generations",
    operation_id="list_generation_jobs",
    response_model=GenerationJobPage,
    responses=problems.documented(422),
)
def list_jobs(
    services: ServicesDep,
    paging: Annotated[Paging, Depends()],
    *,
    status: Annotated[list[GenerationStatus], Query(description="Only these; repeated: any of them.")] = [],  # noqa: B006 - FastAPI copies it
    backend: Annotated[str | None, Query(max_length=32, description="Only those of a backend.")] = None,
) -> Response:
    """Generations, newest first, deliveries to a generator among them. `total` is exact.

    A result in a list names its pictures by URL, without their bytes.
    """
    statuses = tuple(sorted({_STATUS_OF_JOBS[each.value] for each in status}))
    narrowed = JobFilter(
        kind=JobKind.GENERATION.value, mode=storable(backend) if backend else backend, statuses=statuses
    )
    found = job_lists.read(services.database, narrowed, paging)
    items = [shown(row, services.results.listed(row)) for row in found.rows]
    return encoding.answer(job_lists.content(found, paging, items))


@router.get(
    "/jobs/active",
    summary="List generations that wait or run",
    operation_id="list_active_generation_jobs",
    response_model=list[GenerationJob],
    responses=problems.documented(422),
)
def list_active(
    services: ServicesDep, limit: Annotated[int, Query(ge=1, le=500, description="Jobs at most.")] = 100
) -> Response:
    """What is at work and what waits, newest first."""
    with services.database.read() as connection:
        found = queries.page(connection, JobFilter(JobKind.GENERATION.value, None, _ACTIVE), limit=limit)
    return encoding.answer([shown(row, None) for row in found.rows])


@router.get(
    "/jobs/{job_id}",
    summary="Get one generation",
    operation_id="get_generation_job",
    response_model=GenerationJob,
    responses=problems.documented(404),
)
def get_job(services: ServicesDep, job_id: JobId) -> Response:
    """One generation with its pictures; `result` is null unless it is completed."""
    row = _find(services, job_id)
    return encoding.answer(shown(row, services.results.shown(row)))


@router.get(
    "/progress/{job_id}",
    summary="Get the progress of a generation",
    operation_id="get_generation_progress",
    response_model=GenerationProgress,
    responses=problems.documented(404),
)
def get_progress(services: ServicesDep, job_id: JobId) -> Response:
    """How far it is, as the WebSocket tells it as it happens: this is for clients that look from time to time."""
    row = _find(services, job_id)
    with services.database.read() as connection:
        tick = queries.last_tick(connection, row.pk) if row.started_at is not None else {}
    is_running = row.status == JobStatus.RUNNING.value
    answer = {
        "job_id": row.id,
        "progress": row.progress,
        "status": GENERATION_STATUS[JobStatus(row.status)],
        "eta": tick.get("eta") if is_running else None,
        "step": tick.get("step"),
        "steps": tick.get("steps"),
    }
    if is_running and tick.get("preview"):
        answer["preview"] = tick["preview"]
    return encoding.answer(answer)


@router.post(
    "/jobs/{job_id}/cancel",
    summary="Cancel a generation",
    operation_id="cancel_generation",
    response_model=CancelledGeneration,
    responses=problems.documented(404, 409),
)
def cancel_job(services: ServicesDep, job_id: JobId) -> Response:
    """One that waits is cancelled at once. One that runs is interrupted: `cancel_requested` until it has ended."""
    row = _find(services, job_id)
    try:
        with services.database.write() as connection:
            jobs.cancel(connection, row.id)
    except JobStateError as error:
        raise problems.Problem(HTTPStatus.CONFLICT, str(error)) from error
    row = _find(services, job_id)
    is_over = row.status == JobStatus.CANCELLED.value
    message = "it is cancelled" if is_over else "the backend is asked to stop"
    return encoding.answer(shown(row, None) | {"success": True, "message": message})
