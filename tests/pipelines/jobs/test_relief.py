"""Two processes on one lane of PostgreSQL, handing it to each other in the middle of a thousand deliveries."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import func, select

from pipelines.backends.http import PLUGIN
from tests.databases import scratch_postgresql
from tests.pipelines.receiver import receiving
from warehouse.engine import connect
from warehouse.jobs import NewJob, enqueue
from warehouse.models import Job

NUMBER = 1000


@pytest.mark.slow
def test_two_processes_relieve_each_other_and_deliver_each_job_once(
    postgresql_server: str, postgresql_template: str, tmp_path: Path
) -> None:
    url = scratch_postgresql(postgresql_server, template=postgresql_template)
    database = connect(url)
    with receiving() as receiver:
        job = NewJob(
            PLUGIN.kind, PLUGIN.name, PLUGIN.lane, "p", {"url": f"{receiver.url}/pause/0.4"}, PLUGIN.max_attempts
        )
        command = [sys.executable, "-m", "tests.pipelines.jobs.relieved", url, str(tmp_path)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        workers = [subprocess.Popen(command, text=True, **pipes) for _ in range(2)]
        try:
            for worker in workers:
                assert worker.stdout is not None
                assert worker.stdout.readline() == "ready\n"
            with database.write() as connection:
                ids = [enqueue(connection, job).id for _ in range(NUMBER)]
            for worker in workers:
                assert worker.stdin is not None
                worker.stdin.write("\n")
                worker.stdin.flush()
            outputs = [worker.communicate(timeout=180)[0] for worker in workers]
        finally:
            for worker in workers:
                worker.kill()
        assert receiver.times() == Counter(ids)
    said = [json.loads(output) for output in outputs]
    with database.read() as connection:
        groups = select(Job.status, Job.attempts, func.count()).group_by(Job.status, Job.attempts)
        rows = [tuple(row) for row in connection.execute(groups)]
    database.dispose()
    assert rows == [("succeeded", 1, NUMBER)]
    assert sum(each["ended"] for each in said) == NUMBER
    assert all(each["ended"] for each in said), said
    assert sum(each["endings"].get("relieved", 0) for each in said), said
