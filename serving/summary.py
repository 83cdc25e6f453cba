"""The summary of a span of time: what came into the library, what was used, what jobs did, what the community liked.

Belongs here: putting figures of several sources into the shapes that answers have. Does not: reading tables
(`warehouse.queries`) and published rows (`figures`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from sqlalchemy import Connection

from serving.figures import Figures
from warehouse import facets
from warehouse.engine import Database
from warehouse.models import utc_now
from warehouse.queries import adapters, trends
from warehouse.queries.job_figures import JobCounts, JobFigures, job_figures
from warehouse.queries.trends import Span, TimeRange

TOP = 10
_DAYS_READ = 10_000
"""Days of history that are read: 27 years."""
_MOVERS_READ = 500
"""100 of each of five spans."""


@dataclass(frozen=True, slots=True)
class _Community:
    """What the community did in each bucket; None where buckets are shorter than a day."""

    downloads: list[int] | None
    likes: int
    total_downloads: int


def summarise(database: Database, figures: Figures, time_range: TimeRange) -> dict[str, Any]:
    """The answer of the route, in plain values."""
    now = utc_now()
    current = figures.current()
    growth = {row["day"]: row["adapters_added"] for row in figures.rows(current, "library_growth", limit=_DAYS_READ)}
    trend = figures.rows(current, "community_trends", limit=_DAYS_READ)
    movers = figures.rows(current, "community_movers", limit=_MOVERS_READ)
    with database.read() as connection:
        span = trends.span_of(time_range, now, trends.first_import(connection))
        total = facets.count_of(connection)
        active = facets.count_of(connection, "active", "true")
        # Days before that of the publication are over: their adapters stand in it.
        exported = None if current is None else datetime.fromisoformat(current.manifest["exported_at"])
        added = _imports(connection, span, growth, None if exported is None else exported.astimezone(UTC).date())
        activations = trends.activations(connection, span.edges)
        jobs = job_figures(connection, span.edges)
        before = job_figures(connection, span.previous()).total
        top = _top(connection, jobs, trends.most_activated(connection, span.edges[0], limit=TOP))
    community = _community(span, trend)
    return {
        "time_range": time_range.value,
        "step": span.step,
        "generated_at": now,
        "published_at": None if current is None else current.created_at,
        "stats": {
            "total_loras": total,
            "active_loras": active,
            "loras_added": sum(added),
            "activations": sum(activations),
            "generations": jobs.total.generations,
            "deliveries": jobs.total.deliveries,
            "succeeded": jobs.total.succeeded,
            "failed": jobs.total.failed,
            "success_rate": _success_rate(jobs.total),
            "mean_generation_seconds": jobs.total.mean_seconds,
            "downloads_gained": community.total_downloads,
            "likes_gained": community.likes,
        },
        "series": [
            {
                "timestamp": start,
                "loras_added": added[number],
                "activations": activations[number],
                "generations": jobs.buckets[number].generations,
                "deliveries": jobs.buckets[number].deliveries,
                "failed": jobs.buckets[number].failed,
                "downloads_gained": None if community.downloads is None else community.downloads[number],
            }
            for number, start in enumerate(span.starts)
        ],
        "top_loras": top,
        "top_movers": [
            {
                "lora_id": row["adapter_id"],
                "name": row["name"],
                "version": row["version"],
                "downloads_gained": row["downloads_gained"],
                "likes_gained": row["likes_gained"],
            }
            for row in movers
            if row["time_range"] == time_range.value
        ][:TOP],
        **_for_front_ends(span, jobs, before, top, total=total, active=active),
    }


def _imports(connection: Connection, span: Span, growth: Mapping[date, int], day: date | None) -> list[int]:
    """Adapters that came, by bucket: days that were over at the publication as published, all else counted."""
    if day is None or span.step == "hour":
        return trends.imports(connection, span.edges)
    counts = [0] * len(span.starts)
    for added_on, count in growth.items():
        number = _bucket(span, added_on)
        if added_on < day and number is not None:
            counts[number] += count
    midnight = datetime.combine(day, time.min, UTC)
    live = [(number, end) for number, end in enumerate(span.edges[1:]) if end > midnight]
    edges = [max(midnight, span.edges[live[0][0]]), *(end for _, end in live)] if live else []
    for (number, _), count in zip(live, trends.imports(connection, edges), strict=True):
        counts[number] += count
    return counts


def _bucket(span: Span, day: date) -> int | None:
    """The number of the bucket that a day lies in."""
    moment = datetime.combine(day, time.min, UTC)
    if not span.edges[0] <= moment < span.edges[-1]:
        return None
    return next(number for number, end in enumerate(span.edges[1:]) if moment < end)


def _community(span: Span, trend: Sequence[Mapping[str, Any]]) -> _Community:
    downloads = [0] * len(span.starts)
    likes = 0
    first = span.edges[0].date()
    total = 0
    for row in trend:
        if row["day"] < first:
            continue
        likes += row["likes_gained"]
        total += row["downloads_gained"]
        number = _bucket(span, row["day"])
        if number is not None:
            downloads[number] += row["downloads_gained"]
    return _Community(None if span.step == "hour" else downloads, likes, total)


def _top(connection: Connection, jobs: JobFigures, activated: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
    used, counted = dict(jobs.most_used), dict(activated)
    best = sorted(used.keys() | counted.keys(), key=lambda each: (-used.get(each, 0), -counted.get(each, 0), each))
    names = adapters.names_of(connection, best[:TOP])
    return [
        {
            "lora_id": each,
            "name": names[each][0],
            "version": names[each][1],
            "usage_count": used.get(each, 0),
            "activations": counted.get(each, 0),
        }
        for each in best[:TOP]
        # One that was deleted has a history and no name.
        if each in names
    ]


def _success_rate(counts: JobCounts) -> float | None:
    ended = counts.succeeded + counts.failed
    return round(counts.succeeded / ended, 4) if ended else None


def _growth(now: float | None, before: float | None) -> float:
    """Percent by which a figure is larger than before; 0 where there was nothing."""
    return round(100 * (now - before) / before, 1) if now is not None and before else 0.0


def _percent(share: float | None) -> float:
    return round(100 * share, 2) if share is not None else 0.0


def _for_front_ends(
    span: Span, jobs: JobFigures, before: JobCounts, top: Sequence[Mapping[str, Any]], *, total: int, active: int
) -> dict[str, Any]:
    """The same figures under the names that front ends for such servers read: numbers, never null."""
    failures = sum(jobs.errors.values())
    points = list(zip(span.starts, jobs.buckets, strict=True))
    return {
        "kpis": {
            "total_generations": jobs.total.generations,
            "generation_growth": _growth(jobs.total.generations, before.generations),
            "avg_generation_time": jobs.total.mean_seconds or 0.0,
            "time_improvement": -_growth(jobs.total.mean_seconds, before.mean_seconds) + 0.0,
            "success_rate": _percent(_success_rate(jobs.total)),
            "total_failed": jobs.total.failed,
            "active_loras": active,
            "total_loras": total,
        },
        "chart_data": {
            "generation_volume": [{"timestamp": at, "count": counts.generations} for at, counts in points],
            "performance": [
                {
                    "timestamp": at,
                    "avg_time": counts.mean_seconds or 0.0,
                    "success_rate": _percent(_success_rate(counts)),
                }
                for at, counts in points
                if counts.succeeded + counts.failed
            ],
            "lora_usage": [
                {"name": item["name"], "usage_count": item["usage_count"] or item["activations"]} for item in top
            ],
            "resource_usage": [],
        },
        "error_breakdown": [
            {
                "type": reason,
                "count": count,
                "percentage": round(100 * count / failures, 1),
                "description": reason,
            }
            for reason, count in jobs.errors.items()
        ],
        "performance_insights": [],
    }
