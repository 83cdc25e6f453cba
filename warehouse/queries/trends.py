"""What happened over time: spans and their buckets, and counts of rows by bucket.

Belongs here: range reads of an index of times, each bounded. Does not: days that are over, which marts hold, nor what
jobs did (`job_figures`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import pairwise

from sqlalchemy import ColumnElement, Connection, func, literal, select, union_all
from sqlalchemy.orm import InstrumentedAttribute

from warehouse.models import Activity, Adapter

BUCKET_LIMIT = 10_000
"""Rows of a bucket are counted up to this many: the first sync of a large library is one bucket."""
ACTIVATION = "activation"
"""The kind of the activity that tells of an adapter put to use."""


class TimeRange(StrEnum):
    """How far back to look."""

    DAY = "24h"
    WEEK = "7d"
    MONTH = "30d"
    QUARTER = "90d"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Span:
    """A span of time in buckets: bucket n begins at `edges[n]` and ends before `edges[n + 1]`."""

    time_range: TimeRange
    step: str
    """hour, day or month."""
    edges: tuple[datetime, ...]

    @property
    def starts(self) -> tuple[datetime, ...]:
        """When the buckets begin."""
        return self.edges[:-1]

    def previous(self) -> tuple[datetime, datetime]:
        """The span of the same length just before this one."""
        first, last = self.edges[0], self.edges[-1]
        return first - (last - first), first


_DAYS = {TimeRange.WEEK: 7, TimeRange.MONTH: 30, TimeRange.QUARTER: 90}


def span_of(time_range: TimeRange, now: datetime, first: datetime | None) -> Span:
    """The buckets of a range, the one that is not over included.

    Args:
        first: when the library's history begins; None where it has none.
    """
    now = now.astimezone(UTC)
    if time_range is TimeRange.DAY:
        hour = now.replace(minute=0, second=0, microsecond=0)
        return Span(time_range, "hour", tuple(hour + timedelta(hours=number) for number in range(-23, 2)))
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if time_range in _DAYS:
        days = _DAYS[time_range]
        return Span(time_range, "day", tuple(today + timedelta(days=number) for number in range(1 - days, 2)))
    return Span(time_range, "month", _months(min(first or now, now).astimezone(UTC), now))


def _months(first: datetime, last: datetime) -> tuple[datetime, ...]:
    begin, end = first.year * 12 + first.month - 1, last.year * 12 + last.month
    return tuple(datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC) for number in range(begin, end + 1))


def first_import(connection: Connection) -> datetime | None:
    """When the library got the first of its adapters."""
    return connection.execute(select(func.min(Adapter.created_at))).scalar()


def imports(connection: Connection, edges: Sequence[datetime]) -> list[int]:
    """How many adapters came in each bucket, at most BUCKET_LIMIT."""
    return _counts(connection, Adapter.created_at, edges)


def activations(connection: Connection, edges: Sequence[datetime]) -> list[int]:
    """How many activations there were in each bucket, at most BUCKET_LIMIT."""
    return _counts(connection, Activity.at, edges, Activity.kind == ACTIVATION)


def most_activated(connection: Connection, since: datetime, *, limit: int) -> list[tuple[str, int]]:
    """Public ids of the adapters that were activated most often, of the last BUCKET_LIMIT activations of the span."""
    newest = (
        select(Activity.subject_id)
        .where(Activity.kind == ACTIVATION, Activity.at >= since, Activity.subject_id.is_not(None))
        .order_by(Activity.at.desc())
        .limit(BUCKET_LIMIT)
        .subquery()
    )
    uses = func.count()
    statement = select(newest.c.subject_id, uses).group_by(newest.c.subject_id)
    found = connection.execute(statement.order_by(uses.desc(), newest.c.subject_id).limit(limit))
    return [(subject_id, count) for subject_id, count in found]


def _counts(
    connection: Connection,
    moment: InstrumentedAttribute[datetime],
    edges: Sequence[datetime],
    *where: ColumnElement[bool],
) -> list[int]:
    parts = []
    for number, (begin, end) in enumerate(pairwise(edges)):
        within = select(moment).where(moment >= begin, moment < end, *where).limit(BUCKET_LIMIT).subquery()
        parts.append(select(literal(number), func.count()).select_from(within))
    if not parts:
        return []
    counted = dict(connection.execute(union_all(*parts)).all())
    return [counted[number] for number in range(len(parts))]
