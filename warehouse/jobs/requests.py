"""What a person asks for: a new job, the end of one, another try. Each inside the caller's transaction.

Belongs here: requests and their refusals. Does not: HTTP (`serving`), and whether parameters suit a mode
(`warehouse.backends`).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, func, insert, select, update

from warehouse.dialects import insert_or
from warehouse.engine import AnyRow
from warehouse.ids import new_id
from warehouse.jobs.changes import Change, EventType, JobKind, JobStatus, record, status_event, want
from warehouse.models import Activity, Job, utc_now
from warehouse.models.base import JsonObject

TOLD_PER_MINUTE: Final = 100
"""Rows about jobs of a kind that the activity feed gets in a minute before new ones are left out."""


class KeyReused(RuntimeError):  # noqa: N818 - a state of the world, not a fault
    """The idempotency key came before, with another request."""


class JobStateError(RuntimeError):
    """The job is not in a state in which this can be done; the message says which it is in."""


class UnstorableError(ValueError):
    """A text or number that no database or no target could hold.

    Attributes:
        loc: where it stands, from `prompt` or `params` on.
    """

    def __init__(self, loc: Sequence[str | int], message: str) -> None:
        super().__init__(message)
        self.loc = tuple(loc)


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be done. Parameters are those that the mode's backend has checked."""

    kind: JobKind
    mode: str
    lane: str
    prompt: str
    params: JsonObject
    max_attempts: int = 1
    priority: int = 0
    actor: str | None = None
    """The name of the API key that asks; None where none are configured."""


@dataclass(frozen=True, slots=True)
class Enqueued:
    """A job that waits, or the one that an idempotency key brought before."""

    id: str
    lane: str
    is_new: bool


def request_digest(*parts: Any) -> str:
    """What tells two requests apart, for `enqueue`; parts are JSON values."""
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()


def _require_storable(value: Any, loc: tuple[str | int, ...]) -> None:
    if isinstance(value, str):
        if "\x00" in value:
            raise UnstorableError(loc, "contains a NUL character: leave it away")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise UnstorableError(loc, "contains half of a surrogate pair, which is no character: send whole ones")
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise UnstorableError(loc, "is a whole number beyond 64 bits")
    elif isinstance(value, float) and value - value != 0:
        raise UnstorableError(loc, "is no number that JSON knows (NaN or infinite)")
    elif isinstance(value, dict):
        for key, item in value.items():
            _require_storable(key, (*loc, key))
            _require_storable(item, (*loc, key))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            _require_storable(item, (*loc, position))


def enqueue(
    connection: Connection, job: NewJob, *, idempotency_key: str | None = None, digest: str | None = None
) -> Enqueued:
    """Put a job into its lane. The caller commits, then has the lane's run looked after.

    To be called last in a transaction: from here on it holds what other requests wait for.

    Args:
        idempotency_key: the same key again gives the same job instead of a second one.
        digest: what tells the request that brought the key from others (`request_digest`); None: the job itself.

    Raises:
        KeyReused: the key came before with another request.
        UnstorableError: the prompt or a parameter holds what cannot be stored.
    """
    _require_storable(job.prompt, ("prompt",))
    _require_storable(job.params, ("params",))
    digest = digest or request_digest(job.kind, job.mode, job.prompt, job.params)
    now = utc_now()
    values: dict[str, Any] = {
        "id": new_id(),
        "kind": job.kind.value,
        "mode": job.mode,
        "lane": job.lane,
        "prompt": job.prompt,
        "params": job.params,
        "priority": job.priority,
        "status": JobStatus.PENDING.value,
        "progress": 0.0,
        "attempts": 0,
        "max_attempts": job.max_attempts,
        "cancel_requested": False,
        "idempotency_key": idempotency_key,
        "request_digest": digest if idempotency_key is not None else None,
        "actor": job.actor,
        "created_at": now,
    }
    statement = insert_or(connection, Job).on_conflict_do_nothing(index_elements=["idempotency_key"]).returning(Job.pk)
    pk = connection.execute(statement, values).scalar()
    if pk is None:
        return _known(connection, idempotency_key, digest)
    _tell_new(connection, values["id"], job, now)
    want(connection, job.lane, job.kind.value)
    payload = status_event(JobStatus.PENDING, 0)
    change = Change(pk, job.kind.value, job.mode, job.lane, None, JobStatus.PENDING, EventType.STATUS, payload)
    record(connection, [change], now)
    return Enqueued(values["id"], job.lane, True)


def _tell_new(connection: Connection, job_id: str, job: NewJob, now: datetime) -> None:
    """Put a new job into the activity feed, unless the feed already tells of many: a thousand of them are no news."""
    theirs = (Activity.kind == job.kind.value, Activity.at > now - timedelta(minutes=1))
    lately = select(Activity.pk).where(*theirs).limit(TOLD_PER_MINUTE).subquery()
    if connection.execute(select(func.count()).select_from(lately)).scalar_one() < TOLD_PER_MINUTE:
        summary = f"{job.kind.value} by {job.mode} was asked for"
        data = {"mode": job.mode, "status": JobStatus.PENDING.value}
        connection.execute(
            insert(Activity).values(at=now, kind=job.kind.value, subject_id=job_id, summary=summary, data=data)
        )


def _known(connection: Connection, key: str | None, digest: str) -> Enqueued:
    row = connection.execute(select(Job.id, Job.lane, Job.request_digest).where(Job.idempotency_key == key)).one()
    if row.request_digest != digest:
        raise KeyReused("this Idempotency-Key came before with another request: use a fresh key for each request")
    return Enqueued(row.id, row.lane, False)


def _locked(connection: Connection, job_id: str) -> AnyRow | None:
    columns = (Job.pk, Job.kind, Job.mode, Job.lane, Job.status, Job.attempts, Job.cancel_requested)
    return connection.execute(select(*columns).where(Job.id == job_id).with_for_update()).first()


def _change(row: AnyRow, after: JobStatus, payload: JsonObject) -> Change:
    before = JobStatus(row.status)
    return Change(row.pk, row.kind, row.mode, row.lane, before, after, EventType.STATUS, payload)


def cancel(connection: Connection, job_id: str) -> bool:
    """Cancel a job: at once while it waits; while it runs its lane is asked to interrupt it.

    Returns:
        Whether there is such a job. One that is cancelled already stays so.

    Raises:
        JobStateError: it has ended otherwise.
    """
    row = _locked(connection, job_id)
    if row is None:
        return False
    status, now = JobStatus(row.status), utc_now()
    if status is JobStatus.CANCELLED or row.cancel_requested:
        return True
    if status.is_final:
        raise JobStateError(f"the job has {status.value}: only one that waits or runs can be cancelled")
    if status is JobStatus.PENDING:
        values = {"status": JobStatus.CANCELLED.value, "finished_at": now, "not_before": None}
        connection.execute(update(Job).where(Job.pk == row.pk).values(**values))
        _tell(connection, job_id, row, now)
        record(connection, [_change(row, JobStatus.CANCELLED, status_event(JobStatus.CANCELLED, row.attempts))], now)
        return True
    connection.execute(update(Job).where(Job.pk == row.pk).values(cancel_requested=True))
    payload = {**status_event(JobStatus.RUNNING, row.attempts), "cancel_requested": True}
    record(connection, [_change(row, JobStatus.RUNNING, payload)], now)
    return True


def _tell(connection: Connection, job_id: str, row: AnyRow, now: datetime) -> None:
    summary = f"{row.kind} by {row.mode} was cancelled"
    data = {"mode": row.mode, "status": JobStatus.CANCELLED.value}
    connection.execute(insert(Activity).values(at=now, kind=row.kind, subject_id=job_id, summary=summary, data=data))


def retry(connection: Connection, job_id: str) -> bool:
    """Have a job that failed or was cancelled done again, under the same id and with a fresh count of attempts.

    Returns:
        Whether there is such a job.

    Raises:
        JobStateError: it waits, runs, or has succeeded.
    """
    row = _locked(connection, job_id)
    if row is None:
        return False
    status = JobStatus(row.status)
    if status not in (JobStatus.FAILED, JobStatus.CANCELLED):
        raise JobStateError(f"the job is {status.value}: only one that failed or was cancelled can be retried")
    now = utc_now()
    connection.execute(
        update(Job)
        .where(Job.pk == row.pk)
        .values(
            status=JobStatus.PENDING.value,
            result=None,
            error=None,
            progress=0.0,
            attempts=0,
            not_before=None,
            cancel_requested=False,
            run_id=None,
            started_at=None,
            finished_at=None,
        )
    )
    want(connection, row.lane, row.kind)
    record(connection, [_change(row, JobStatus.PENDING, status_event(JobStatus.PENDING, 0))], now)
    return True
