"""`/health`: whether the process lives, and whether every question can be answered; `/system`: how everything is."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus

from anyio import to_thread
from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from sqlalchemy.exc import SQLAlchemyError

from serving import conditions, encoding, problems, status
from serving.deps import AddressDep, Services, ServicesDep
from serving.schemas.system import Alive, Readiness, SystemStatus
from serving.version import VERSION
from warehouse import migrations
from warehouse.queries import dashboard

health = APIRouter(prefix="/health", tags=["system"])
router = APIRouter(prefix="/system", tags=["system"])

_TIMEOUT = 5.0
"""Seconds after which a part of the health report counts as down."""
_PATIENCE = 0.25
"""Seconds that the status waits for news of Dagster."""


@health.get("", summary="Say that the process lives", operation_id="get_health", response_model=Alive)
async def get_health() -> Response:
    """Answers as long as the process does; nothing else is asked."""
    return encoding.answer({"status": "alive", "version": VERSION})


def _database(services: Services) -> dict[str, object]:
    try:
        found = migrations.revision_of(services.database)
    except SQLAlchemyError as error:
        # The driver's message may name hosts and files; the log has it.
        return {"status": "unreachable", "needed": True, "detail": f"{type(error).__name__}: see the log"}
    if found != migrations.head():
        return {"status": "failed", "needed": True, "detail": "another schema: run `lora-manager upgrade`"}
    return {"status": "ready", "needed": True, "detail": f"schema {found}"}


def _index(services: Services) -> dict[str, object]:
    state = services.recommender.state()
    # Before the first publication there is nothing that could be down.
    return {"status": state.status, "needed": state.status != "absent", "detail": state.detail}


async def _within_time(check: Callable[[Services], dict[str, object]], services: Services) -> dict[str, object]:
    """A part that hangs is down: whoever asks whether to send requests here must get an answer."""
    try:
        # The thread is left behind: a connection that hangs cannot be taken back.
        return await asyncio.wait_for(to_thread.run_sync(check, services, abandon_on_cancel=True), _TIMEOUT)
    except TimeoutError:
        return {"status": "unreachable", "needed": True, "detail": f"no answer within {_TIMEOUT:g} s"}


@health.get(
    "/ready",
    summary="Say whether every question can be answered",
    operation_id="get_readiness",
    response_model=Readiness,
    responses={503: {"description": "Something that is needed is not ready.", "model": Readiness}},
)
async def get_readiness(services: ServicesDep) -> Response:
    """The state of the database, of the recommendation index, and of Dagster (which answers do not need)."""
    dagster = await services.orchestrator.state()
    checks = {
        "database": await _within_time(_database, services),
        "index": await _within_time(_index, services),
        "dagster": {"status": dagster.status, "needed": False, "detail": dagster.detail},
    }
    ready = all(check["status"] == "ready" or not check["needed"] for check in checks.values())
    return encoding.answer(
        {"status": "ready" if ready else "unready", "checks": checks},
        HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE,
    )


def _last_ingest(services: Services) -> datetime | None:
    try:
        with services.database.read() as connection:
            return dashboard.last_ingest(connection)
    except SQLAlchemyError:
        return None


@router.get(
    "/status",
    summary="Say how everything is, and what to do about what is not well",
    operation_id="get_system_status",
    response_model=SystemStatus,
    responses=problems.documented(),
)
async def get_status(services: ServicesDep, address: AddressDep) -> Response:
    """Warnings in words and the machine in numbers: sizes in MiB, shares in percent. Answers also while the database
    does not; what a driver or Dagster is slow to say is as it was last known."""
    dagster = await services.orchestrator.state(_PATIENCE)

    def report() -> dict[str, object]:
        found = conditions.look(services, dagster, address)
        return status.system_status(services, found, dagster, _last_ingest(services))

    return encoding.answer(await run_in_threadpool(report))
