"""The clock is set while deliveries run, forward and back: none is lost, none is done twice."""

import subprocess
import sys
from pathlib import Path

import httpx
from sqlalchemy import select

from tests.failures.clock import set_clock
from tests.failures.service import environment, eventually, served
from tests.pipelines.receiver import receiving
from tests.programs import ROOT
from warehouse.engine import connect
from warehouse.models import Job

HOURS = 3600.0
JUMPS = (8 * HOURS, -16 * HOURS, 400 * 24 * HOURS, 0.0)
"""A laptop that slept, a clock that was wrong, a year too many, and back."""
EACH = 12


def test_deliveries_while_the_clock_is_set(data: Path, tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    set_clock(clock, 0)
    moved = (sys.executable, "-m", "tests.failures.clock", str(clock))
    with receiving() as receiver, served(data, program=moved) as service:
        lane = subprocess.Popen(
            (*moved, "tests.failures.lane", "3"),
            env=environment(data),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
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
            out, err = lane.communicate(timeout=120)
        finally:
            lane.kill()
            lane.wait()
        assert (lane.returncode, out) == (0, "idle\n"), err
        assert service.client.get("/health").status_code == httpx.codes.OK
    database = connect(f"sqlite:///{data / 'warehouse.sqlite3'}")
    with database.read() as connection:
        rows = connection.execute(select(Job.id, Job.status, Job.attempts)).all()
    database.dispose()
    assert {(row.id, row.status, row.attempts) for row in rows} == {(each, "succeeded", 1) for each in ids}
    assert receiver.times() == dict.fromkeys(ids, 1)
