"""Work changes hands: a lane claims what is due under a lease, and jobs whose holder is lost are given back.

Belongs here: pending to running, and back. Does not: how a job ends (`finishing`), who may claim (`lanes`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, or_, select, update

from warehouse.dialects import shared_now
from warehouse.jobs.changes import Change, EventType, JobStatus, record, status_event, want
from warehouse.models import Job, Lane, utc_now
from warehouse.models.base import JsonObject

LEASE = timedelta(seconds=30)
"""How long a job stays its holder's without a sign of life; renewed with the heartbeat of the lane."""


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A job in the hands of a lane."""

    pk: int
    id: str
    kind: str
    mode: str
    lane: str
    prompt: str
    params: JsonObject
    attempts: int
    """This one included."""
    max_attempts: int
    progress: float
    """Where an earlier attempt stood: progress never falls."""
    created_at: datetime
    started_at: datetime
    """Of the first attempt."""
    actor: str | None = None
    """The name of the API key that asked for it."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a look into a lane showed."""

    is_due: bool
    """Whether a job can be started now."""
    wanted: int
    """The lane's counter before the look: leaving is safe only while it is the same."""
    due_in: timedelta | None
    """Until the earliest repeated attempt is due; None if none waits for its time."""


_COLUMNS = (
    *(Job.pk, Job.id, Job.kind, Job.mode, Job.lane, Job.prompt, Job.params, Job.attempts, Job.max_attempts),
    *(Job.progress, Job.created_at, Job.started_at, Job.actor),
)


def is_due(now: datetime) -> ColumnElement[bool]:
    """Whether a job waits and may be started."""
    return (Job.status == JobStatus.PENDING.value) & or_(Job.not_before.is_(None), Job.not_before <= now)


def look(connection: Connection, lane: str) -> Look:
    """Look into a lane, changing nothing."""
    # First of all: what comes after it is seen below, or changes it.
    wanted = connection.execute(select(Lane.wanted).where(Lane.name == lane)).scalar() or 0
    now = shared_now(connection)
    waiting = select(Job.pk).where(Job.lane == lane, is_due(now)).limit(1)
    later = select(func.min(Job.not_before)).where(Job.lane == lane, Job.status == JobStatus.PENDING.value)
    is_waiting = connection.execute(waiting).first() is not None
    next_due = connection.execute(later).scalar()
    return Look(is_waiting, wanted, None if next_due is None else next_due - now)


def claim(connection: Connection, lane: str, holder: str, run_id: str | None, *, limit: int) -> list[ClaimedJob]:
    """Take up to `limit` due jobs of a lane, the most urgent first, under a lease."""
    now = shared_now(connection)
    due = (
        select(Job.pk)
        .where(Job.lane == lane, is_due(now))
        .order_by(Job.priority, Job.pk)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    pks = connection.execute(due).scalars().all()
    if not pks:
        return []
    rows = connection.execute(
        update(Job)
        .where(Job.pk.in_(pks))
        .values(
            status=JobStatus.RUNNING.value,
            attempts=Job.attempts + 1,
            not_before=None,
            run_id=run_id,
            lease_holder=holder,
            lease_expires_at=now + LEASE,
            started_at=func.coalesce(Job.started_at, now),
        )
        .returning(*_COLUMNS)
    ).all()
    order = {pk: position for position, pk in enumerate(pks)}
    jobs = sorted((ClaimedJob(*tuple(row)) for row in rows), key=lambda job: order[job.pk])
    record(connection, [_started(job) for job in jobs], now)
    return jobs


def _started(job: ClaimedJob) -> Change:
    payload = status_event(JobStatus.RUNNING, job.attempts)
    return Change(job.pk, job.kind, job.mode, job.lane, JobStatus.PENDING, JobStatus.RUNNING, EventType.STATUS, payload)


def give_back(connection: Connection, lost: ColumnElement[bool], reason: str) -> list[str]:
    """Take running jobs from who had them: each waits again, or has failed if that was its last attempt, or is
    cancelled if that was asked for.

    Args:
        lost: which running jobs.
        reason: what became of their holder, for people.

    Returns:
        The lanes of those that wait again.
    """
    now = utc_now()
    columns = (Job.pk, Job.kind, Job.mode, Job.lane, Job.attempts, Job.max_attempts, Job.cancel_requested)
    rows = connection.execute(
        select(*columns)
        .where(Job.status == JobStatus.RUNNING.value, lost)
        .order_by(Job.pk)
        .with_for_update(skip_locked=True)
    ).all()
    changes: list[Change] = []
    due: dict[str, str] = {}
    for row in rows:
        status, error = JobStatus.PENDING, None
        if row.cancel_requested:
            status = JobStatus.CANCELLED
        elif row.attempts >= row.max_attempts:
            status = JobStatus.FAILED
            error = f"{reason}, in attempt {row.attempts} of {row.max_attempts}; whether it took effect is not known"
        else:
            due[row.lane] = row.kind
        values: dict[str, Any] = {"status": status.value, "lease_holder": None, "lease_expires_at": None}
        if status.is_final:
            values |= {"finished_at": now, "error": error}
        connection.execute(update(Job).where(Job.pk == row.pk).values(**values))
        payload = status_event(status, row.attempts, error or reason)
        changes.append(
            Change(row.pk, row.kind, row.mode, row.lane, JobStatus.RUNNING, status, EventType.STATUS, payload)
        )
    for lane in sorted(due):
        want(connection, lane, due[lane])
    record(connection, changes, now)
    return sorted(due)


def in_flight_of(holder: str) -> ColumnElement[bool]:
    """The jobs that a holder has."""
    return Job.lease_holder == holder


def cancelled_among(connection: Connection, pks: Sequence[int]) -> list[int]:
    """Which of the running jobs are to be cancelled."""
    if not pks:
        return []
    statement = select(Job.pk).where(Job.pk.in_(pks), Job.cancel_requested.is_(True))
    return list(connection.execute(statement).scalars())
