"""Deliveries through the whole system: cold, warm, through the death of what delivers, seen in Dagster."""

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from tests.pipelines.receiver import receiving
from tests.platform.conftest import Up
from warehouse.contracts import DELIVERY_LOCATION, REPOSITORY, LaneJob, lane_config
from warehouse.engine import Database, connect
from warehouse.models import Job, Lane
from warehouse.queries import jobs

pytestmark = [pytest.mark.platform, pytest.mark.slow]
PATH = "/api/v1/deliveries"
LAUNCH = """mutation($parameters: ExecutionParams!) {
  launchRun(executionParams: $parameters) { ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } }
}"""
RUN = """query($id: ID!) {
  runOrError(runId: $id) { ... on Run { status } }
  logsForRun(runId: $id) { ... on EventConnection { events { ... on ObservationEvent {
    description metadataEntries { label ... on MarkdownMetadataEntry { mdStr } } } } } }
}"""


def _graphql(up: Up, query: str, **variables: Any) -> dict[str, Any]:
    url = f"http://127.0.0.1:{up.dagster_port}/graphql"
    answer = httpx.post(url, json={"query": query, "variables": variables}, timeout=60, trust_env=False).json()
    assert "errors" not in answer, answer
    data: dict[str, Any] = answer["data"]
    return data


def _post(api: httpx.Client, url: str) -> str:
    answer = api.post(PATH, json={"prompt": "a knight", "mode": "http", "params": {"url": url}})
    assert answer.status_code == httpx.codes.CREATED, answer.text
    delivery_id: str = answer.json()["delivery_id"]
    return delivery_id


def _ended(up: Up, api: httpx.Client, delivery_id: str) -> dict[str, Any]:
    up.until(lambda: api.get(f"{PATH}/{delivery_id}").json()["finished_at"] is not None, within=120)
    shown: dict[str, Any] = api.get(f"{PATH}/{delivery_id}").json()
    return shown


def _holder(database: Database) -> int:
    with database.read() as connection:
        holder = connection.execute(select(Lane.holder).where(Lane.name == "http")).scalar_one()
    return int(str(holder).split("|")[1])


def test_deliveries_through_death_to_their_end(make_up: Callable[..., Up], tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    up = make_up("--library", str(library))
    up.start()
    assert "The library is empty" in up.text()
    database = connect(f"sqlite:///{up.data / 'warehouse.sqlite3'}")
    with receiving() as receiver, up.api as api:
        # Cold: a run is started for it.
        first = _ended(up, api, _post(api, receiver.url))
        assert (first["status"], first["attempts"]) == ("succeeded", 1)
        run_id = first["run_id"]

        # Another run of the lane is not needed, and ends at once.
        selector = {"repositoryLocationName": DELIVERY_LOCATION, "repositoryName": REPOSITORY}
        parameters = {"selector": {**selector, "jobName": LaneJob.DELIVER}, "runConfigData": lane_config("http")}
        second = _graphql(up, LAUNCH, parameters=parameters)["launchRun"]["run"]["runId"]
        up.until(lambda: _graphql(up, RUN, id=second)["runOrError"]["status"] == "SUCCESS", within=120)
        assert _graphql(up, RUN, id=run_id)["runOrError"]["status"] == "STARTED"

        # One that runs is cancelled.
        slow = _post(api, f"{receiver.url}/slow")
        up.until(lambda: receiver.times()[slow] == 1, within=60)
        assert api.post(f"{PATH}/{slow}/cancel").json()["cancel_requested"] is True
        assert _ended(up, api, slow)["status"] == "cancelled"

        # What delivers is killed in the middle.
        before = len(receiver.times())
        with ThreadPoolExecutor(8) as pool:
            ids = list(pool.map(lambda _: _post(api, f"{receiver.url}/pause"), range(200)))
            up.until(lambda: len(receiver.times()) - before > 30, within=120)
        victim = _holder(database)
        os.kill(victim, signal.SIGKILL)
        with database.read() as connection:
            in_flight = set(connection.execute(select(Job.id).where(Job.status == "running")).scalars())

        def all_ended() -> bool:
            with database.read() as connection:
                counts = jobs.counts_by_status(connection)
            return not counts["pending"] and not counts["running"]

        up.until(all_ended, within=180)
        with database.read() as connection:
            rows = connection.execute(select(Job.id, Job.status, Job.attempts).where(Job.id.in_(ids))).all()
        assert {row.status for row in rows} == {"succeeded"}
        assert {row.id for row in rows if row.attempts > 1} <= in_flight
        times = receiver.times()
        assert set(ids) <= set(times)
        assert {delivery_id for delivery_id, number in times.items() if number > 1} <= in_flight

        # Dagster shows the job with its preview, and that the first run was lost.
        up.until(lambda: _graphql(up, RUN, id=run_id)["runOrError"]["status"] == "FAILURE", within=120)
        events = [event for event in _graphql(up, RUN, id=run_id)["logsForRun"]["events"] if event]
        assert any(first["id"] in event["description"] for event in events)
        previews = [entry.get("mdStr", "") for event in events for entry in event["metadataEntries"]]
        assert any("a knight" in preview for preview in previews)

    database.dispose()
    assert up.process is not None
    up.process.send_signal(signal.SIGTERM)
    # The second request may arrive before the first was acted upon, or while everything is being stopped.
    assert up.stop(signal.SIGTERM) in (0, 130)
    assert up.processes() == []
