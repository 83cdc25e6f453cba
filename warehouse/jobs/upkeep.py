"""What becomes of jobs by themselves: leases run out, history is cut.

Each function commits as it goes, in chunks.
"""

from datetime import datetime, timedelta

from sqlalchemy import delete, select

from warehouse.dialects import shared_now
from warehouse.engine import Database
from warehouse.jobs.changes import Change, EventType, JobStatus, count
from warehouse.jobs.claiming import give_back
from warehouse.jobs.lanes import HOLDER_GONE
from warehouse.models import Job, JobEvent, utc_now

_CHUNK = 500
TICKS_KEPT = timedelta(days=1)
"""Progress is of interest while a job runs and a little after; the changes of its status stay as long as it does."""


def expire_leases(database: Database) -> list[str]:
    """Give back the jobs whose holder has given no sign of life; returns the lanes in which jobs wait again."""
    with database.read() as connection:
        lost = Job.lease_expires_at < shared_now(connection)
        if connection.execute(select(Job.pk).where(Job.status == "running", lost).limit(1)).first() is None:
            return []
    with database.write() as connection:
        return give_back(connection, lost, HOLDER_GONE)


def prune(database: Database, finished_before: datetime) -> int:
    """Delete jobs that ended long ago with their events, and old progress of the others; returns how many jobs."""
    deleted = 0
    while chunk := _prune_jobs(database, finished_before):
        deleted += chunk
    while _prune_ticks(database, utc_now() - TICKS_KEPT):
        pass
    return deleted


def _prune_jobs(database: Database, before: datetime) -> int:
    columns = (Job.pk, Job.kind, Job.mode, Job.lane, Job.status)
    with database.write() as connection:
        rows = connection.execute(
            select(*columns)
            .where(Job.finished_at.is_not(None), Job.finished_at < before)
            .order_by(Job.finished_at)
            .limit(_CHUNK)
            .with_for_update(skip_locked=True)
        ).all()
        connection.execute(delete(Job).where(Job.pk.in_([row.pk for row in rows])))
        gone = [
            Change(row.pk, row.kind, row.mode, row.lane, JobStatus(row.status), None, EventType.STATUS, {})
            for row in rows
        ]
        count(connection, gone)
    return len(rows)


def _prune_ticks(database: Database, before: datetime) -> int:
    with database.write() as connection:
        old = select(JobEvent.seq).where(JobEvent.at < before, JobEvent.type == EventType.PROGRESS.value)
        seqs = connection.execute(old.order_by(JobEvent.at).limit(_CHUNK)).scalars().all()
        connection.execute(delete(JobEvent).where(JobEvent.seq.in_(seqs)))
    return len(seqs)
