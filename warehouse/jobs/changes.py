"""The record of a change: events in an order that readers can follow, counters, and the call that wakes who waits.

Belongs here: what every change of a job has in common. Does not: when a job changes.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection, func, insert, select

from warehouse.dialects import insert_or
from warehouse.models import JobCount, JobEvent, Lane
from warehouse.models.base import JsonObject

CHANNEL: Final = "lora_manager_jobs"
"""PostgreSQL's channel of changes; the payload is the lane."""

_EVENT_LOCK: Final = 0x6C6F7261
"""Key of the advisory lock under which events get their numbers."""


class JobKind(StrEnum):
    """What a job is."""

    DELIVERY = "delivery"
    GENERATION = "generation"


class JobStatus(StrEnum):
    """Where a job stands."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing more happens unless somebody asks for it."""
        return self not in (JobStatus.PENDING, JobStatus.RUNNING)


class EventType(StrEnum):
    """What an event tells."""

    STATUS = "status"
    """A change of the status; the payload has `status`, `attempts`, and `error` where there is one."""
    PROGRESS = "progress"
    """The payload has `progress`, and what else the backend knows: `step`, `steps`, `eta`, `preview`."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one job; equal statuses before and after mean an event that is no change of the status."""

    pk: int
    kind: str
    mode: str
    lane: str
    before: JobStatus | None
    """None: the job is new."""
    after: JobStatus | None
    """None: the job is deleted, which is no event."""
    type: EventType
    payload: JsonObject


def record(connection: Connection, changes: Sequence[Change], now: datetime) -> None:
    """Write events and counters of changes, and wake who waits for them once the transaction commits.

    The last statements of a transaction: on PostgreSQL events are numbered under a lock that is held until the commit,
    because a number that becomes visible after a higher one would be missed by a reader who goes on after the higher.
    """
    count(connection, changes)
    events = [
        {"job_pk": change.pk, "type": change.type.value, "payload": change.payload, "at": now}
        for change in changes
        if change.after is not None
    ]
    if not events:
        return
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_EVENT_LOCK)))
    connection.execute(insert(JobEvent), events)
    notify(connection, {change.lane for change in changes})


def notify(connection: Connection, lanes: Iterable[str]) -> None:
    """Wake who listens on PostgreSQL; on SQLite the commit itself is noticed."""
    if connection.dialect.name == "postgresql":
        for lane in sorted(lanes):
            connection.execute(select(func.pg_notify(CHANNEL, lane)))


def count(connection: Connection, changes: Sequence[Change]) -> None:
    """Bring the counters up to changes; keys in order, so that two writers cannot wait for each other."""
    difference: Counter[tuple[str, str, str]] = Counter()
    for change in changes:
        if change.before is not change.after:
            if change.before is not None:
                difference[change.kind, change.mode, change.before.value] -= 1
            if change.after is not None:
                difference[change.kind, change.mode, change.after.value] += 1
    rows = [
        {"kind": kind, "mode": mode, "status": status, "count": number}
        for (kind, mode, status), number in sorted(difference.items())
        if number
    ]
    if not rows:
        return
    statement = insert_or(connection, JobCount)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["kind", "mode", "status"],
            set_={"count": JobCount.__table__.c.count + statement.excluded.count},
        ),
        rows,
    )


def want(connection: Connection, lane: str, kind: str) -> None:
    """Say that a job of a lane is due: a run that was about to leave sees the number change, and stays."""
    statement = insert_or(connection, Lane).values(name=lane, kind=kind, wanted=1, heir_wanted=False)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["name"], set_={"wanted": Lane.__table__.c.wanted + 1})
    )


def status_event(status: JobStatus, attempts: int, error: str | None = None) -> JsonObject:
    """The payload of a change of the status."""
    payload: JsonObject = {"status": status.value, "attempts": attempts}
    return payload if error is None else {**payload, "error": error}
