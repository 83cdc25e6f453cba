"""Figures of deliveries and generations: what waits and runs now, and what happened in a span of time.

Belongs here: the shape of these figures, and reading them by an index. Does not: the jobs themselves. No table holds
jobs yet, so every figure is that of no jobs; whoever adds the table fills in the two functions, and every answer that
shows such figures has them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection


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


@dataclass(frozen=True, slots=True)
class JobFigures:
    """What happened in a span of time. `buckets` are in the order of the spans that were asked for."""

    total: JobCounts = JobCounts()
    buckets: Sequence[JobCounts] = ()
    most_used: Sequence[tuple[str, int]] = ()
    """Public ids of adapters and in how many generations each was, the most used first."""
    errors: Mapping[str, int] = field(default_factory=dict)
    """Reasons of failures and how often each came, the most frequent first."""


def deliveries_by_status(_connection: Connection) -> dict[str, int]:
    """How many deliveries there are of each status, from a kept counter: pending, running, succeeded, failed,
    cancelled; a status that none has may be left out."""
    return {}


def job_figures(_connection: Connection, edges: Sequence[datetime]) -> JobFigures:
    """What happened between the first and the last edge, and between each two that follow each other.

    Args:
        edges: moments, ascending, at least two; a bucket begins with its first moment and ends before its last.

    Returns:
        As many buckets as there are pairs of edges. A range read of an index of the jobs' times, bounded per bucket.
    """
    return JobFigures(buckets=[JobCounts()] * (len(edges) - 1))
