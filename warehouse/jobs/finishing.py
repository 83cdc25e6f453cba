"""What a lane reports of the jobs it has: progress, another attempt later, the end. Many in one transaction.

A report counts only while the job is its reporter's: a lane that lost its lease is told so, and changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, delete, update

from warehouse.generating import PREVIEW
from warehouse.jobs.changes import Change, EventType, JobStatus, record, status_event
from warehouse.jobs.claiming import ClaimedJob
from warehouse.jobs.traces import Succeeded, record_traces
from warehouse.models import Job, JobEvent, utc_now
from warehouse.models.base import JsonObject


@dataclass(frozen=True, slots=True)
class Tick:
    """How far a job is."""

    job: ClaimedJob
    progress: float
    """0..100."""
    details: JsonObject
    """What the backend knows besides: `step`, `steps`, `eta`, `preview`."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt ended."""

    job: ClaimedJob
    status: JobStatus
    """A final one; or PENDING, for another attempt."""
    result: JsonObject | None = None
    error: str | None = None
    retry_in: float = 0.0
    """Seconds until the next attempt, with PENDING."""


Update = Tick | Ended


def update_jobs(connection: Connection, holder: str, updates: Sequence[Update]) -> list[Update]:
    """Write reports, in the given order; returns those that counted."""
    now = utc_now()
    counted: list[Update] = []
    changes: list[Change] = []
    for report in updates:
        for written in _alternatives(report):
            change = _write(connection, holder, written)
            if change is not None:
                counted.append(written)
                changes.append(change)
                break
    done = [each for each in counted if isinstance(each, Ended) and each.status is JobStatus.SUCCEEDED]
    record_traces(connection, [Succeeded(each.job, each.result) for each in done], now)
    record(connection, _with_last_previews(connection, changes), now)
    return counted


def _with_last_previews(connection: Connection, changes: Sequence[Change]) -> list[Change]:
    """Changes without the ticks that a later tick with a picture takes the place of; those written before are deleted.

    Who comes late needs the newest alone, and pictures in all of them would make of the events a table of pictures.
    """
    kept: list[Change] = []
    shown: set[int] = set()
    for change in reversed(changes):
        if change.type is not EventType.PROGRESS:
            kept.append(change)
        elif change.pk not in shown:
            kept.append(change)
            if PREVIEW in change.payload:
                shown.add(change.pk)
    if shown:
        ticks = JobEvent.type == EventType.PROGRESS.value
        connection.execute(delete(JobEvent).where(JobEvent.job_pk.in_(shown), ticks))
    return kept[::-1]


def _alternatives(report: Update) -> list[Update]:
    """A job that somebody wants cancelled gets no further attempt."""
    if isinstance(report, Ended) and report.status is JobStatus.PENDING:
        return [report, replace(report, status=JobStatus.CANCELLED)]
    return [report]


def _write(connection: Connection, holder: str, report: Update) -> Change | None:
    values, change = _tick(report) if isinstance(report, Tick) else _end(report)
    statement = update(Job).where(
        Job.pk == report.job.pk, Job.lease_holder == holder, Job.status == JobStatus.RUNNING.value
    )
    if change.after is JobStatus.PENDING:
        statement = statement.where(Job.cancel_requested.is_(False))
    return change if connection.execute(statement.values(**values)).rowcount else None


def _change(job: ClaimedJob, after: JobStatus, kind: EventType, payload: JsonObject) -> Change:
    return Change(job.pk, job.kind, job.mode, job.lane, JobStatus.RUNNING, after, kind, payload)


def _tick(tick: Tick) -> tuple[dict[str, Any], Change]:
    payload = {"progress": tick.progress, **tick.details}
    return {"progress": tick.progress}, _change(tick.job, JobStatus.RUNNING, EventType.PROGRESS, payload)


def _end(ended: Ended) -> tuple[dict[str, Any], Change]:
    now = utc_now()
    values: dict[str, Any] = {"status": ended.status.value, "lease_holder": None, "lease_expires_at": None}
    if ended.status is JobStatus.PENDING:
        values |= {"not_before": now + timedelta(seconds=ended.retry_in), "error": ended.error}
    else:
        values |= {"finished_at": now, "result": ended.result, "error": ended.error, "cancel_requested": False}
    if ended.status is JobStatus.SUCCEEDED:
        values |= {"progress": 100.0}
    payload = status_event(ended.status, ended.job.attempts, ended.error)
    if ended.status is JobStatus.PENDING:
        payload["retry_in"] = round(ended.retry_in, 3)
    return values, _change(ended.job, ended.status, EventType.STATUS, payload)
