"""Jobs as they are shown: one, lists with exact totals, counts, and their events in order.

A list of one mode or status is read from the index of (mode, status, number), one walk for each pair that the
counters know, so that no page reads what it does not show. Does not belong here: changes of jobs (`warehouse.jobs`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, func, select, union_all

from warehouse.jobs.changes import EventType, JobStatus
from warehouse.models import Job, JobCount, JobEvent
from warehouse.queries import cursors

MAX_OFFSET = 10_000
"""Rows that a page may skip by number: skipping reads them, a cursor does not."""


class OffsetError(ValueError):
    """A page was asked for by a number that is too deep."""


class JobRow(msgspec.Struct, frozen=True):
    """A job as it is shown."""

    pk: int
    id: str
    kind: str
    mode: str
    lane: str
    prompt: str
    params: dict[str, Any]
    status: str
    result: dict[str, Any] | None
    error: str | None
    progress: float
    attempts: int
    max_attempts: int
    priority: int
    not_before: datetime | None
    cancel_requested: bool
    run_id: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


_ROW = tuple(Job.__table__.c[name] for name in JobRow.__struct_fields__)


@dataclass(frozen=True, slots=True)
class JobFilter:
    """What a list is narrowed to; every condition given must hold."""

    kind: str | None = None
    mode: str | None = None
    statuses: tuple[str, ...] = ()
    """Any of them; none: all."""

    @property
    def is_empty(self) -> bool:
        """Whether it lets everything through."""
        return self.kind is None and self.mode is None and not self.statuses


@dataclass(frozen=True, slots=True)
class JobPage:
    """One page of a list, newest first."""

    rows: list[JobRow]
    total: int
    offset: int
    next_cursor: str | None


def get(connection: Connection, job_id: str) -> JobRow | None:
    """The job of a public id."""
    row = connection.execute(select(*_ROW).where(Job.id == job_id)).first()
    return JobRow(*row) if row is not None else None


def counts_by_status(connection: Connection, *, kind: str | None = None) -> dict[str, int]:
    """How many jobs there are in each status, zeros included, from the counters."""
    statement = select(JobCount.status, func.sum(JobCount.count)).group_by(JobCount.status)
    if kind is not None:
        statement = statement.where(JobCount.kind == kind)
    found = {status: int(number) for status, number in connection.execute(statement)}
    return {status.value: found.get(status.value, 0) for status in JobStatus}


def _groups(connection: Connection, narrowed: JobFilter) -> list[tuple[str, str, int]]:
    """(mode, status, count) of what passes a filter; at most the number of modes times the number of statuses."""
    statement = select(JobCount.mode, JobCount.status, func.sum(JobCount.count)).group_by(
        JobCount.mode, JobCount.status
    )
    if narrowed.kind is not None:
        statement = statement.where(JobCount.kind == narrowed.kind)
    if narrowed.mode is not None:
        statement = statement.where(JobCount.mode == narrowed.mode)
    if narrowed.statuses:
        statement = statement.where(JobCount.status.in_(narrowed.statuses))
    return [(mode, status, int(number)) for mode, status, number in connection.execute(statement) if number > 0]


def _keys(
    groups: Sequence[tuple[str, str, int]], narrowed: JobFilter, before: int | None, offset: int, limit: int
) -> Select[int]:
    """The numbers of a page, newest first."""

    def walk(statement: Select[int], depth: int) -> Select[int]:
        if before is not None:
            statement = statement.where(Job.pk < before)
        return statement.order_by(Job.pk.desc()).limit(depth)

    if narrowed.is_empty:
        return walk(select(Job.pk), limit).offset(offset)
    walks = []
    for mode, status, _ in groups:
        statement = select(Job.pk).where(Job.mode == mode, Job.status == status)
        if narrowed.kind is not None:
            statement = statement.where(Job.kind == narrowed.kind)
        walks.append(select(walk(statement, offset + limit).subquery()))
    merged = union_all(*walks).subquery("merged")
    return select(merged.c.pk).order_by(merged.c.pk.desc()).limit(limit).offset(offset)


def page(
    connection: Connection, narrowed: JobFilter, *, limit: int, offset: int = 0, cursor: str | None = None
) -> JobPage:
    """One page of jobs, newest first, from a number of rows to skip or from where a cursor stands (which then wins).

    Raises:
        CursorError: the cursor is not one of this list.
        OffsetError: so many rows cannot be skipped by number; the message says what to do instead.
    """
    listing = cursors.listing_digest("jobs", narrowed.kind, narrowed.mode, narrowed.statuses)
    after = cursors.decode(cursor, listing) if cursor is not None else None
    start = after.rank if after is not None else offset
    groups = _groups(connection, narrowed)
    total = sum(number for _, _, number in groups)
    if not groups or (after is None and start >= total):
        return JobPage([], total, start, None)
    if after is None and start > MAX_OFFSET:
        raise OffsetError(f"offset is at most {MAX_OFFSET}: follow next_cursor to reach the rows beyond")
    before, skip = (after.pk, 0) if after is not None else (None, start)
    pks = list(connection.execute(_keys(groups, narrowed, before, skip, limit + 1)).scalars())
    shown = pks[:limit]
    found = {row.pk: row for row in connection.execute(select(*_ROW).where(Job.pk.in_(shown)))}
    more = len(pks) > limit
    next_cursor = cursors.encode(cursors.Position(listing, start + limit, shown[-1], None)) if more else None
    return JobPage([JobRow(*found[pk]) for pk in shown if pk in found], total, start, next_cursor)


@dataclass(frozen=True, slots=True)
class EventRow:
    """Something that happened to a job."""

    seq: int
    job_id: str
    kind: str
    mode: str
    type: str
    payload: dict[str, Any]
    at: datetime


_EVENT = (JobEvent.seq, Job.id, Job.kind, Job.mode, JobEvent.type, JobEvent.payload, JobEvent.at)


def events_after(connection: Connection, seq: int, *, limit: int) -> list[EventRow]:
    """The events after a number, in order; who goes on after the last one misses none."""
    statement = select(*_EVENT).join(Job, Job.pk == JobEvent.job_pk).where(JobEvent.seq > seq)
    return [EventRow(*row) for row in connection.execute(statement.order_by(JobEvent.seq).limit(limit))]


def events_of(connection: Connection, job_id: str, *, limit: int) -> list[EventRow]:
    """The last events of a job, in order."""
    statement = select(*_EVENT).join(Job, Job.pk == JobEvent.job_pk).where(Job.id == job_id)
    rows = connection.execute(statement.order_by(JobEvent.seq.desc()).limit(limit)).all()
    return [EventRow(*row) for row in reversed(rows)]


def last_tick(connection: Connection, pk: int) -> dict[str, Any]:
    """What was last told of the progress of a job; empty before the first."""
    statement = select(JobEvent.payload).where(JobEvent.job_pk == pk, JobEvent.type == EventType.PROGRESS.value)
    return connection.execute(statement.order_by(JobEvent.seq.desc()).limit(1)).scalar() or {}


def last_seq(connection: Connection) -> int:
    """The number of the newest event; 0 before the first."""
    return connection.execute(select(func.max(JobEvent.seq))).scalar() or 0
