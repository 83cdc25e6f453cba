"""The figures that alerts are rung by: a lane that nobody works on, a library that nobody scans."""

from datetime import timedelta

import pytest
from sqlalchemy import insert, update

from tests.warehouse.jobs.work import put
from warehouse.engine import Database
from warehouse.jobs import take_lane
from warehouse.models import Lane, Root, utc_now
from warehouse.processes import new_holder
from warehouse.queries.gauges import GAUGES


def _read(database: Database, name: str) -> dict[tuple[str, ...], float]:
    gauge = next(gauge for gauge in GAUGES if gauge.name == name)
    with database.read() as connection:
        return {sample.labels: sample.value for sample in gauge.read(connection)}


def test_a_lane_is_unattended_where_jobs_are_due_and_no_living_run_is(database: Database) -> None:
    assert _read(database, "lane_unattended") == {}
    put(database)
    assert _read(database, "lane_unattended") == {("http",): 1}
    with database.write() as connection:
        take_lane(connection, "http", "delivery", new_holder(), "run")
    assert _read(database, "lane_unattended") == {("http",): 0}
    with database.write() as connection:
        connection.execute(update(Lane).values(heartbeat_at=utc_now() - timedelta(minutes=2)))
    assert _read(database, "lane_unattended") == {("http",): 1}


def test_the_age_is_that_of_the_folder_scanned_longest_ago(database: Database) -> None:
    assert _read(database, "library_scan_age_seconds") == {}
    now = utc_now()
    rows = [
        {"path": f"/{hours}", "created_at": now, "scanned_at": now - timedelta(hours=hours) if hours else None}
        for hours in (0, 1, 3)
    ]
    with database.write() as connection:
        connection.execute(insert(Root), rows)
    assert _read(database, "library_scan_age_seconds") == {(): pytest.approx(3 * 3600, abs=60)}
