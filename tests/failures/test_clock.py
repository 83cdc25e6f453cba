"""The clock is set while deliveries run, forward and back: none is lost, none is done twice."""

import sys
from pathlib import Path

import httpx
from sqlalchemy import func, select

from tests.failures.clock import set_clock
from tests.failures.service import assert_stopped_by_nothing_else, eventually, lane_of, served
from tests.pipelines.receiver import receiving
from warehouse.engine import connect
from warehouse.models import Job

HOURS = 3600.0
JUMPS = (8 * HOURS, -16 * HOURS, 400 * 24 * HOURS, 0.0)
"""A laptop that slept, a clock that was wrong, a year too many, and back."""
EACH = 12


def _unfinished(data: Path) -> int:
    database = connect(f"sqlite:///{data / 'warehouse.sqlite3'}")
    with database.read() as connection:
        statement = select(func.count()).where(Job.status.in_(["pending", "running"]))
        number: int = connection.execute(statement).scalar_one()
    database.dispose()
    return number


def test_deliveries_while_the_clock_is_set(data: Path, tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    set_clock(clock, 0)
    moved = (sys.executable, "-m", "tests.failures.clock", str(clock))
    with receiving() as receiver, served(data, program=moved) as service:
        lane = lane_of(data, program=moved)
        body = {"prompt": "a knight", "mode": "http", "params": {"url": f"{receiver.url}/pause/0.3"}}
        ids = []
        try:
            for jump in JUMPS:
                for _ in range(EACH):
                    answer = service.client.post("/api/v1/deliveries", json=body)
                    assert answer.status_code == httpx.codes.CREATED, answer.text
                    ids.append(answer.json()["delivery_id"])
                arrived = len(receiver.received)
                eventually(lambda seen=arrived: len(receiver.received) > seen, "deliveries are at work")
                set_clock(clock, jump)
            eventually(lambda: set(receiver.times()) == set(ids) and not receiver.busy, "all have arrived")
            eventually(lambda: not _unfinished(data), "all have ended")
            assert_stopped_by_nothing_else(lane)
        finally:
            lane.kill()
            lane.wait()
        assert service.client.get("/health").status_code == httpx.codes.OK
    database = connect(f"sqlite:///{data / 'warehouse.sqlite3'}")
    with database.read() as connection:
        rows = connection.execute(select(Job.id, Job.status, Job.attempts)).all()
    database.dispose()
    assert {(row.id, row.status, row.attempts) for row in rows} == {(each, "succeeded", 1) for each in ids}
    assert receiver.times() == dict.fromkeys(ids, 1)
