"""What was asked for and is done by somebody else: jobs, their events, their counters, and the lanes that do them.

A delivery and a generation are the same row. The rules of how a job changes stand in `warehouse.jobs`, which writes a
job, its event and its counters in one transaction; nothing else writes these tables.
"""

from datetime import datetime

from sqlalchemy import BigInteger, Float, ForeignKey, Index, Integer, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from warehouse.models.base import Base, Json, JsonObject, UtcDateTime
from warehouse.models.library import Pk

_PENDING = text("status = 'pending'")
_RUNNING = text("status = 'running'")
_FINISHED = text("finished_at IS NOT NULL")


class Job(Base):
    """One delivery or generation, from the request to its end."""

    __tablename__ = "jobs"
    __table_args__ = (
        # What a lane claims next, and what is in flight: small, however many jobs are finished.
        Index(
            "ix_jobs_pending", "lane", "priority", "pk", "not_before", sqlite_where=_PENDING, postgresql_where=_PENDING
        ),
        Index("ix_jobs_running", "lane", "lease_expires_at", sqlite_where=_RUNNING, postgresql_where=_RUNNING),
        Index("ix_jobs_finished", "finished_at", sqlite_where=_FINISHED, postgresql_where=_FINISHED),
        Index("ix_jobs_mode", "mode", "status", "pk"),
        {"sqlite_autoincrement": True, "comment": "Deliveries and generations."},
    )

    pk: Mapped[int] = mapped_column(Pk, primary_key=True, autoincrement=True, comment="In order of arrival")
    id: Mapped[str] = mapped_column(String(36), unique=True, comment="Public id (UUID)")
    kind: Mapped[str] = mapped_column(String(16), comment="delivery | generation")
    mode: Mapped[str] = mapped_column(String(32), comment="The backend: http, cli, sdnext, …")
    lane: Mapped[str] = mapped_column(String(48))
    prompt: Mapped[str] = mapped_column(Text)
    params: Mapped[JsonObject] = mapped_column(Json, comment="Of the mode, as they were checked")
    priority: Mapped[int] = mapped_column(Integer, comment="Lower is sooner; equal ones in order of arrival")

    status: Mapped[str] = mapped_column(String(16), comment="pending | running | succeeded | failed | cancelled")
    result: Mapped[JsonObject | None] = mapped_column(Json, comment="What the target answered; NULL until the end")
    error: Mapped[str | None] = mapped_column(Text, comment="Why it failed, for people")
    progress: Mapped[float] = mapped_column(Float, comment="0..100, never falling")
    attempts: Mapped[int] = mapped_column(Integer, comment="How often it was started")
    max_attempts: Mapped[int] = mapped_column(Integer)
    not_before: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="When a repeated attempt is due")
    cancel_requested: Mapped[bool] = mapped_column(comment="Read by the lane, which interrupts the target")

    run_id: Mapped[str | None] = mapped_column(String(36), comment="The Dagster run that last started it")
    lease_holder: Mapped[str | None] = mapped_column(Text, comment="Who works on it: process and token")
    lease_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    idempotency_key: Mapped[str | None] = mapped_column(String(255), unique=True)
    request_digest: Mapped[str | None] = mapped_column(String(64), comment="Of the request that brought the key")
    actor: Mapped[str | None] = mapped_column(Text, comment="Name of the API key that asked for it")

    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="Of the first attempt")
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class JobEvent(Base):
    """Something that happened to a job. Numbers rise in the order in which they can be seen, so a reader that goes on
    after the last number it saw misses nothing."""

    __tablename__ = "job_events"
    __table_args__ = (
        Index("ix_job_events_job", "job_pk", "seq"),
        Index("ix_job_events_at", "at"),
        {"sqlite_autoincrement": True, "comment": "What happened to jobs, in order."},
    )

    seq: Mapped[int] = mapped_column(Pk, primary_key=True, autoincrement=True)
    job_pk: Mapped[int] = mapped_column(Pk, ForeignKey("jobs.pk", ondelete="CASCADE"))
    type: Mapped[str] = mapped_column(String(16), comment="status | progress")
    payload: Mapped[JsonObject] = mapped_column(Json)
    at: Mapped[datetime] = mapped_column(UtcDateTime)


class JobCount(Base):
    """How many jobs there are of each kind, mode and status, kept by the transactions that change jobs."""

    __tablename__ = "job_counts"
    __table_args__ = {"comment": "Maintained counters of jobs.", "sqlite_with_rowid": False}

    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    mode: Mapped[str] = mapped_column(String(32), primary_key=True)
    status: Mapped[str] = mapped_column(String(16), primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)


class Lane(Base):
    """A queue of jobs and the one run that works on it."""

    __tablename__ = "lanes"
    __table_args__ = {"comment": "Queues of jobs, each worked on by at most one run.", "sqlite_with_rowid": False}

    name: Mapped[str] = mapped_column(String(48), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16), comment="Of its jobs: delivery | generation")
    wanted: Mapped[int] = mapped_column(BigInteger, comment="Raised with every job that becomes due")
    holder: Mapped[str | None] = mapped_column(Text, comment="Process and token of the run that works on it")
    run_id: Mapped[str | None] = mapped_column(String(36), comment="Its Dagster run")
    heartbeat_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    linger_until: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="When it leaves, if nothing comes")
    heir_wanted: Mapped[bool] = mapped_column(comment="The holder is to be relieved by a fresh run")
    heir: Mapped[str | None] = mapped_column(Text, comment="The run that waits to take over")
    requested_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="When a run was last asked for")
