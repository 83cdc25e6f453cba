"""Figures of deliveries and generations: what waits and runs now, and what happened in a span of time.

Belongs here: the shape of these figures, and reading them by an index. Does not: the jobs themselves, and lists of them
(`jobs`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

from sqlalchemy import Connection, extract, func, select

from warehouse.jobs import JobKind, JobStatus
from warehouse.models import AdapterUse, Job
from warehouse.queries import jobs

BUCKET_LIMIT: Final = 10_000
"""Jobs that are read for one bucket: more are counted as so many."""
USES_LIMIT: Final = 10_000
"""Uses of adapters among which the most used are found, the newest."""
TOP: Final = 10


@dataclass(frozen=True, slots=True)
class JobCounts:
    """How many jobs ended how, in a span of time."""

    generations: int = 0
    deliveries: int = 0
    """All deliveries; a generation is one of them."""
    succeeded: int = 0
    failed: int = 0
    mean_seconds: float | None = None
    """From start to end of the generations that succeeded; None without any."""
    made: int = 0
    """Generations that succeeded."""


@dataclass(frozen=True, slots=True)
class JobFigures:
    """What happened in a span of time. `buckets` are in the order of the spans that were asked for."""

    total: JobCounts = JobCounts()
    buckets: Sequence[JobCounts] = ()
    most_used: Sequence[tuple[str, int]] = ()
    """Public ids of adapters and in how many generations each was, the most used first."""
    errors: Mapping[str, int] = field(default_factory=dict)
    """Reasons of failures and how often each came, the most frequent first."""


def deliveries_by_status(connection: Connection) -> dict[str, int]:
    """How many deliveries there are of each status, generations among them, from the kept counters."""
    return jobs.counts_by_status(connection)


def job_figures(connection: Connection, edges: Sequence[datetime]) -> JobFigures:
    """What ended between the first and the last edge, and between each two that follow each other.

    Args:
        edges: moments, ascending, at least two; a bucket begins with its first moment and ends before its last.

    Returns:
        As many buckets as there are pairs of edges. Each is a range of the index of the jobs' ends, of which at most
        `BUCKET_LIMIT` are read.
    """
    buckets = [_counts(connection, start, end) for start, end in pairwise(edges)]
    return JobFigures(_sum(buckets), buckets, _most_used(connection, edges[0], edges[-1]), _errors(connection, edges))


def _ended(start: datetime, end: datetime) -> Any:
    columns = (Job.kind, Job.status, Job.error, Job.started_at, Job.finished_at)
    within = (Job.finished_at.is_not(None), Job.finished_at >= start, Job.finished_at < end)
    return select(*columns).where(*within).order_by(Job.finished_at).limit(BUCKET_LIMIT)


def _counts(connection: Connection, start: datetime, end: datetime) -> JobCounts:
    ended = _ended(start, end).subquery()
    seconds = _seconds_between(connection, ended.c.started_at, ended.c.finished_at)
    rows = connection.execute(
        select(ended.c.kind, ended.c.status, func.count().label("number"), func.avg(seconds).label("seconds")).group_by(
            ended.c.kind, ended.c.status
        )
    ).all()
    generations = [row for row in rows if row.kind == JobKind.GENERATION.value]
    made = next((row for row in generations if row.status == JobStatus.SUCCEEDED.value), None)
    return JobCounts(
        generations=sum(row.number for row in generations),
        deliveries=sum(row.number for row in rows),
        succeeded=sum(row.number for row in rows if row.status == JobStatus.SUCCEEDED.value),
        failed=sum(row.number for row in rows if row.status == JobStatus.FAILED.value),
        mean_seconds=float(made.seconds) if made is not None and made.seconds is not None else None,
        made=made.number if made is not None else 0,
    )


def _seconds_between(connection: Connection, start: Any, end: Any) -> Any:
    if connection.dialect.name == "sqlite":
        return (func.julianday(end) - func.julianday(start)) * 86_400
    return extract("epoch", end - start)


def _sum(buckets: Sequence[JobCounts]) -> JobCounts:
    made = sum(bucket.made for bucket in buckets)
    spent = sum(bucket.made * bucket.mean_seconds for bucket in buckets if bucket.mean_seconds is not None)
    return JobCounts(
        generations=sum(bucket.generations for bucket in buckets),
        deliveries=sum(bucket.deliveries for bucket in buckets),
        succeeded=sum(bucket.succeeded for bucket in buckets),
        failed=sum(bucket.failed for bucket in buckets),
        mean_seconds=spent / made if made else None,
        made=made,
    )


def _most_used(connection: Connection, start: datetime, end: datetime) -> list[tuple[str, int]]:
    within = (AdapterUse.used_at >= start, AdapterUse.used_at < end)
    used = select(AdapterUse.adapter_id).where(*within).order_by(AdapterUse.used_at.desc()).limit(USES_LIMIT).subquery()
    number = func.count().label("number")
    statement = (
        select(used.c.adapter_id, number)
        .where(used.c.adapter_id.is_not(None))
        .group_by(used.c.adapter_id)
        .order_by(number.desc(), used.c.adapter_id)
        .limit(TOP)
    )
    return [(adapter_id, count) for adapter_id, count in connection.execute(statement)]


def _errors(connection: Connection, edges: Sequence[datetime]) -> dict[str, int]:
    ended = _ended(edges[0], edges[-1]).subquery()
    number = func.count().label("number")
    statement = (
        select(ended.c.error, number)
        .where(ended.c.status == JobStatus.FAILED.value, ended.c.error.is_not(None))
        .group_by(ended.c.error)
        .order_by(number.desc(), ended.c.error)
        .limit(TOP)
    )
    return dict(connection.execute(statement).all())
