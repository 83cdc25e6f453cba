"""Asking Dagster for the run of a lane: when, how often, and what happens when it cannot be asked."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from warehouse.contracts import DELIVERY_LOCATION, LaneJob, Tag, lane_config
from warehouse.engine import Database
from warehouse.jobs import lane_state, release_lane, take_lane
from warehouse.processes import new_holder

PRINT = {"prompt": "a knight", "mode": "cli"}


class FakeDagster:
    """Answers the one mutation, and notes it; says of its daemon what Dagster does for half an hour after its death."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answer: dict[str, Any] = {"__typename": "LaunchRunSuccess", "run": {"runId": "r"}}
        self.heartbeat = time.time()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if "variables" in content:
                    fake.asked.append(content["variables"]["parameters"])
                    data = {"launchRun": fake.answer}
                else:
                    data = fake.state()
                body = json.dumps({"data": data}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def state(self) -> dict[str, Any]:
        """What Dagster says of itself."""
        daemon = {"daemonType": "SENSOR", "required": True, "healthy": True, "lastHeartbeatTime": self.heartbeat}
        return {"version": "1", "instance": {"daemonHealth": {"allDaemonStatuses": [daemon]}}}


@pytest.fixture
def dagster() -> Iterator[FakeDagster]:
    fake = FakeDagster()
    yield fake
    fake.server.shutdown()
    fake.server.server_close()


def _deliver(client: httpx.Client, times: int = 1) -> None:
    for _ in range(times):
        assert client.post("/api/v1/deliveries", json=PRINT).status_code == httpx.codes.CREATED


def _until(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        time.sleep(0.02)
    pytest.fail("it did not come")


def test_a_cold_lane_gets_one_run_however_many_ask(
    database: Database, serve: Callable[..., httpx.Client], dagster: FakeDagster
) -> None:
    one, two = serve(database, dagster_url=dagster.url), serve(database, dagster_url=dagster.url)
    threads = [threading.Thread(target=_deliver, args=(client, 10)) for client in (one, two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _until(lambda: len(dagster.asked) == 1)
    (asked,) = dagster.asked
    assert asked["selector"]["repositoryLocationName"] == DELIVERY_LOCATION
    assert asked["selector"]["jobName"] == LaneJob.DELIVER
    assert asked["runConfigData"] == lane_config("cli")
    assert {"key": Tag.LANE, "value": "cli"} in asked["executionMetadata"]["tags"]

    # The run comes and works: nobody asks. It leaves: the next delivery asks again.
    holder = new_holder()
    with database.write() as connection:
        take_lane(connection, "cli", "delivery", holder, "run")
    _deliver(one, 3)
    time.sleep(0.2)
    assert len(dagster.asked) == 1
    with database.write() as connection:
        assert release_lane(connection, "cli", holder)
    _deliver(two)
    _until(lambda: len(dagster.asked) == 2)


@pytest.mark.parametrize("broken", ["away", "refuses"])
def test_without_dagster_a_delivery_waits_and_the_next_one_asks_again(
    sqlite_database: Database, serve: Callable[..., httpx.Client], dagster: FakeDagster, broken: str
) -> None:
    dagster.answer = {"__typename": "PipelineNotFoundError"}
    url = dagster.url if broken == "refuses" else "http://127.0.0.1:9"
    client = serve(sqlite_database, dagster_url=url)
    _deliver(client)

    def given_up() -> bool:
        with sqlite_database.read() as connection:
            state = lane_state(connection, "cli")
        return state is not None and state.requested_at is None

    _until(given_up)
    _deliver(client)
    if broken == "refuses":
        _until(lambda: len(dagster.asked) == 2)
    assert client.get("/api/v1/deliveries", params={"status": "pending"}).json()["total"] == 2


@pytest.mark.parametrize(("silent", "said"), [(60, "ready"), (600, "daemon_down")])
def test_a_daemon_that_says_nothing_is_down_long_before_dagster_says_so(
    sqlite_database: Database, serve: Callable[..., httpx.Client], dagster: FakeDagster, silent: float, said: str
) -> None:
    dagster.heartbeat = time.time() - silent
    checks = serve(sqlite_database, dagster_url=dagster.url).get("/health/ready").json()["checks"]
    assert checks["dagster"]["status"] == said
    assert ("is dagster-daemon running?" in checks["dagster"]["detail"]) is (said == "daemon_down")
