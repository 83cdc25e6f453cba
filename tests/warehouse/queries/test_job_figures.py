"""What jobs did in a span of time: counted by when they ended, on both dialects."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, update

from tests.warehouse.jobs.work import put
from warehouse.engine import Database
from warehouse.ids import new_id
from warehouse.models import AdapterUse, Job, utc_now
from warehouse.queries.job_figures import deliveries_by_status, job_figures


def _end(database: Database, job_id: str, **values: Any) -> None:
    with database.write() as connection:
        connection.execute(update(Job).where(Job.id == job_id).values(**values))


def test_jobs_count_where_they_ended(database: Database) -> None:
    now = utc_now()
    edges = [now - timedelta(hours=2), now - timedelta(hours=1), now]
    early, late = now - timedelta(minutes=90), now - timedelta(minutes=30)
    made = {"kind": "generation", "status": "succeeded"}
    _end(database, put(database).id, **made, started_at=early - timedelta(seconds=4), finished_at=early)
    _end(database, put(database).id, **made, started_at=late - timedelta(seconds=8), finished_at=late)
    _end(database, put(database).id, status="failed", error="gone", started_at=late, finished_at=late)
    _end(database, put(database).id, status="failed", error="before", finished_at=now - timedelta(hours=3))
    put(database)
    with database.read() as connection:
        found = job_figures(connection, edges)
    first, second = found.buckets
    assert (first.generations, first.deliveries, first.succeeded, first.failed) == (1, 1, 1, 0)
    assert (second.generations, second.deliveries, second.succeeded, second.failed) == (1, 2, 1, 1)
    assert (found.total.generations, found.total.deliveries) == (2, 3)
    assert found.total.mean_seconds == pytest.approx(6, abs=0.01)
    assert found.errors == {"gone": 1}


def test_adapters_are_used_by_their_ids(database: Database) -> None:
    now = utc_now()
    often, once = new_id(), new_id()

    def use(adapter_id: str | None, hours: int) -> dict[str, Any]:
        values = {"job_id": new_id(), "kind": "delivery", "mode": "http", "name": "Ink", "weight": 1.0}
        used_at = now - timedelta(hours=hours)
        return {**values, "adapter_id": adapter_id, "status": "sent", "others": [], "used_at": used_at}

    with database.write() as connection:
        uses = [use(often, 1), use(often, 2), use(once, 1), use(None, 1), use(once, 30)]
        connection.execute(insert(AdapterUse), uses)
    with database.read() as connection:
        assert job_figures(connection, [now - timedelta(days=1), now]).most_used == [(often, 2), (once, 1)]


def test_statuses_are_those_of_the_counters(database: Database) -> None:
    put(database)
    with database.read() as connection:
        assert deliveries_by_status(connection)["pending"] == 1
