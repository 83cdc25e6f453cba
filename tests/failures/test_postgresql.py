"""PostgreSQL stops, or crashes, and comes back: under the API, under a lane at work, and under a sync."""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import func, select

from tests.failures.postgresql import Server, postgresql
from tests.failures.service import (
    Service,
    assert_stopped_by_nothing_else,
    environment,
    eventually,
    lane_of,
    served,
)
from tests.pipelines.receiver import Receiver, receiving
from tests.programs import ROOT
from warehouse.engine import connect
from warehouse.models import Adapter, Job, Lock
from warehouse.samples import generate_library

PATH = "/api/v1/deliveries"
JOBS = 120


def _post(service: Service, receiver: Receiver) -> str:
    """One delivery, asked for again under its key until the API says that it has it."""
    body = {"prompt": "a knight", "mode": "http", "params": {"url": f"{receiver.url}/pause/0.05"}}
    headers = {"Idempotency-Key": str(uuid4())}
    asked: list[httpx.Response] = []

    def accepted() -> bool:
        asked.append(service.client.post(PATH, json=body, headers=headers))
        assert asked[-1].status_code in (httpx.codes.CREATED, httpx.codes.SERVICE_UNAVAILABLE), asked[-1].text
        return asked[-1].status_code == httpx.codes.CREATED

    eventually(accepted, "the delivery is taken")
    return str(asked[-1].json()["delivery_id"])


def _statuses(server: Server) -> set[str]:
    database = connect(server.url)
    with database.read() as connection:
        found = set(connection.execute(select(Job.status)).scalars())
    database.dispose()
    return found


@pytest.mark.parametrize("end", [Server.stop, Server.kill])
def test_deliveries_go_on_through_a_restart(tmp_path: Path, end: Callable[[Server], None]) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with postgresql() as server, receiving() as receiver:
        variables = {"LORA_MANAGER_DATABASE_URL": server.url}
        with served(data, variables=variables) as service:
            lane = lane_of(data, variables=variables)
            try:
                with ThreadPoolExecutor(4) as pool:
                    asked = [pool.submit(_post, service, receiver) for _ in range(JOBS)]
                    eventually(lambda: len(receiver.received) > JOBS // 4, "a quarter has arrived")
                    end(server)
                    down = len(receiver.received)
                    assert service.client.get("/health/ready").status_code == httpx.codes.SERVICE_UNAVAILABLE
                    server.start()
                    ids = {each.result() for each in asked}
                assert len(ids) == JOBS
                eventually(lambda: _statuses(server) == {"succeeded"}, "all have ended")
                # The same run worked to the end.
                assert_stopped_by_nothing_else(lane)
            finally:
                lane.kill()
                lane.wait()
            assert down < JOBS
            database = connect(server.url)
            with database.read() as connection:
                rows = connection.execute(select(Job.id, Job.attempts)).all()
            database.dispose()
            assert {row.id for row in rows} == ids
            # What was in flight may have arrived again, and says so.
            twice = {each for each, times in receiver.times().items() if times > 1}
            assert twice <= {row.id for row in rows if row.attempts > 1}
            assert ids <= set(receiver.times())


def test_a_sync_goes_on_through_a_restart(tmp_path: Path, models_dir: Path) -> None:
    data, folder = tmp_path / "data", tmp_path / "library"
    data.mkdir()
    (data / "models").symlink_to(models_dir)
    generate_library(folder, adapters=40, seed=5)
    with postgresql() as server:
        database = connect(server.url)
        variables = environment(data, LORA_MANAGER_DATABASE_URL=server.url, LORA_MANAGER_INGEST_WORKERS="1")
        command = (sys.executable, "-m", "pipelines.run", "sync_library", "--path", os.fspath(folder), "--no-progress")

        def count(model: type) -> int:
            with database.read() as connection:
                return connection.execute(select(func.count()).select_from(model)).scalar_one()

        run = subprocess.Popen(command, env=variables, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            eventually(lambda: count(Lock) == 1, "the sync is at work")
            server.stop()
            server.start()
            out, _ = run.communicate(timeout=240)
        finally:
            run.kill()
            run.wait()
        # It got over it, or says that it is to be run again; either way nothing is half done.
        if run.returncode:
            assert b"sync again" in out or b"Run it again" in out, out.decode()
        again = subprocess.run(
            command, env=variables, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
        )
        assert again.returncode == 0, again.stderr
        assert count(Adapter) >= 40
        assert count(Lock) == 0
        database.dispose()
