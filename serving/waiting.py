"""Waiting for the end of a job, by its events, until whoever asked is gone or has waited long enough.

Belongs here: the wait of one request. Does not: what is answered (`routers.generation`), following the rows (`live`).
"""

import asyncio
from enum import StrEnum

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from serving.live import Listener
from serving.live.messages import PING_SECONDS
from warehouse.engine import Database
from warehouse.jobs import JobStatus
from warehouse.queries import jobs
from warehouse.queries.jobs import JobRow


class Ending(StrEnum):
    """Why a wait is over."""

    DONE = "done"
    """The job has ended."""
    GONE = "gone"
    """The client has hung up."""
    LATE = "late"
    """It has waited long enough."""


async def wait_for_end(database: Database, listener: Listener, job_id: str, request: Request, seconds: float) -> Ending:
    """Wait for a job that a listener of its own was subscribed to before; the body of the request has been read."""
    ended = asyncio.create_task(_until_ended(database, listener, job_id))
    gone = asyncio.create_task(_until_gone(request))
    try:
        await asyncio.wait((ended, gone), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            ended.result()
            return Ending.DONE
        return Ending.GONE if gone.done() else Ending.LATE
    finally:
        for task in (ended, gone):
            task.cancel()
        await asyncio.gather(ended, gone, return_exceptions=True)


async def _until_ended(database: Database, listener: Listener, job_id: str) -> None:
    # What happened before the subscription is in the row.
    if await run_in_threadpool(_has_ended, database, job_id):
        return
    message = None
    while message is None or not message.is_end:
        message = await listener.get(PING_SECONDS)


def _has_ended(database: Database, job_id: str) -> bool:
    row = read(database, job_id)
    return row is None or JobStatus(row.status).is_final


def read(database: Database, job_id: str) -> JobRow | None:
    """The row of a job."""
    with database.read() as connection:
        return jobs.get(connection, job_id)


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue
