"""Small words for tests about jobs."""

from collections import Counter
from typing import Any

from sqlalchemy import func, select

from warehouse.engine import Database
from warehouse.jobs import ClaimedJob, Enqueued, JobKind, Look, NewJob, claim, enqueue, look
from warehouse.models import Job, JobCount
from warehouse.queries import jobs
from warehouse.queries.jobs import JobRow


def put(database: Database, mode: str = "http", *, key: str | None = None, **values: Any) -> Enqueued:
    """Enqueue a delivery in the lane of its mode."""
    given = {"prompt": "a knight", "params": {"url": "http://example.org/"}, "max_attempts": 2, **values}
    with database.write() as connection:
        return enqueue(connection, NewJob(JobKind.DELIVERY, mode, mode, **given), idempotency_key=key)


def take(database: Database, holder: str = "me", *, lane: str = "http", limit: int = 10) -> list[ClaimedJob]:
    """Claim jobs."""
    with database.write() as connection:
        return claim(connection, lane, holder, "run", limit=limit)


def peek(database: Database, *, lane: str = "http") -> Look:
    """Look into a lane."""
    with database.read() as connection:
        return look(connection, lane)


def show(database: Database, job_id: str) -> JobRow:
    """The job as it is shown."""
    with database.read() as connection:
        row = jobs.get(connection, job_id)
    assert row is not None
    return row


def events(database: Database, job_id: str) -> list[str]:
    """The statuses of a job's events, and `progress` for ticks."""
    with database.read() as connection:
        found = jobs.events_of(connection, job_id, limit=100)
    return [event.payload.get("status", event.type) for event in found]


def assert_counters_are_true(database: Database) -> None:
    """The maintained counters are what a full count gives."""
    with database.read() as connection:
        truth = Counter(
            {
                (kind, mode, status): number
                for kind, mode, status, number in connection.execute(
                    select(Job.kind, Job.mode, Job.status, func.count()).group_by(Job.kind, Job.mode, Job.status)
                )
            }
        )
        kept = {
            (row.kind, row.mode, row.status): row.count
            for row in connection.execute(select(JobCount.kind, JobCount.mode, JobCount.status, JobCount.count))
            if row.count
        }
    assert kept == dict(truth)
