"""Dagster's webserver and daemon hang, and the API is gone: what was asked for waits, and is done afterwards."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import httpx
from sqlalchemy import select

from tests.failures.service import eventually
from tests.pipelines.receiver import receiving
from tests.platform.conftest import Up
from warehouse.engine import connect
from warehouse.models import Job, Lane

PATH = "/api/v1/deliveries"


def _pid(up: Up, service: str) -> int:
    children = json.loads((up.data / "run" / "up.json").read_text())["children"]
    return int(children[service][0])


def test_deliveries_while_neighbours_hang(make_up: Callable[..., Up], tmp_path: Path, shared_data: Path) -> None:
    library, data = tmp_path / "library", tmp_path / "data"
    library.mkdir()
    data.mkdir()
    (data / "models").symlink_to(shared_data / "models")
    up = make_up("--library", str(library))
    up.start()
    database = connect(f"sqlite:///{data / 'warehouse.sqlite3'}")

    def status_of(delivery_id: str) -> str:
        with database.read() as connection:
            return str(connection.execute(select(Job.status).where(Job.id == delivery_id)).scalar_one())

    with receiving() as receiver, up.api as api:

        def post(path: str = "") -> str:
            answer = api.post(PATH, json={"prompt": "a knight", "mode": "http", "params": {"url": receiver.url + path}})
            assert answer.status_code == httpx.codes.CREATED, answer.text
            return str(answer.json()["delivery_id"])

        # The webserver hangs: the delivery is taken at once, and the watch of the daemon brings its run.
        os.kill(_pid(up, "dagster-webserver"), signal.SIGSTOP)
        waiting = post()
        assert status_of(waiting) == "pending"
        eventually(lambda: status_of(waiting) == "succeeded", "the watch has asked for a run", within=180)
        os.kill(_pid(up, "dagster-webserver"), signal.SIGCONT)

        # The API is gone while its lane works: the run goes on.
        slow = post("/slow")
        eventually(lambda: receiver.times()[slow] == 1, "it is being delivered")
        gone = _pid(up, "api")
        os.kill(gone, signal.SIGKILL)
        receiver.let_go.set()
        eventually(lambda: status_of(slow) == "succeeded", "the run has ended it without the API")
        up.until(lambda: _pid(up, "api") != gone, within=60)

        # The daemon hangs, and no run works on the lane: the delivery waits, and comes when the daemon is back.
        with database.read() as connection:
            holder = str(connection.execute(select(Lane.holder).where(Lane.name == "http")).scalar_one())
        os.kill(_pid(up, "dagster-daemon"), signal.SIGSTOP)
        os.kill(int(holder.split("|")[1]), signal.SIGKILL)

        def is_there() -> bool:
            try:
                return api.get("/health").status_code == httpx.codes.OK
            except httpx.TransportError:
                return False

        eventually(is_there, "the API is back")
        late = post()
        assert status_of(late) == "pending"
        os.kill(_pid(up, "dagster-daemon"), signal.SIGCONT)
        eventually(lambda: status_of(late) == "succeeded", "the daemon starts its run", within=180)
        assert receiver.times() == {waiting: 1, slow: 1, late: 1}
    database.dispose()
    assert up.stop(signal.SIGINT) == 0
    assert up.processes() == []
