"""The same library by every way: from the command line, from Dagster's UI, by the watch, and directly."""

import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import insert

from pipelines.definitions import build_definitions
from pipelines.instance import open_instance
from pipelines.resources import warehouse_resource
from tests.databases import migrated_sqlite
from tests.pipelines.conftest import ROOT, Synced, assert_same_library, environment_of, settings_in
from warehouse import migrations
from warehouse.contracts import CODE_LOCATION, REPOSITORY, Job, Tag, sync_config
from warehouse.engine import open_database
from warehouse.models import Root, utc_now
from warehouse.settings import Settings

LAUNCH = """
mutation Launch($parameters: ExecutionParams!) {
  launchRun(executionParams: $parameters) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
RUNS = "{ runsOrError { ... on Runs { results { runId status jobName tags { key value } } } } }"
READY = "{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError { __typename } } } } }"
ENDS = {"SUCCESS", "FAILURE", "CANCELED"}


def _migrated(settings: Settings) -> Settings:
    migrated_sqlite(settings.data_dir / "warehouse.sqlite3")
    return settings


def test_materialising_directly_gives_what_the_command_line_gave(
    synced: Synced, models_dir: Path, tmp_path: Path
) -> None:
    settings = _migrated(settings_in(tmp_path / "data", models=models_dir))
    job = build_definitions(warehouse_resource(settings)).resolve_job_def(Job.SYNC_LIBRARY)
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance, run_config=dict(sync_config([synced.library])))
    assert result.success
    assert_same_library(settings, synced.settings)
    for event in result.get_asset_materialization_events():
        metadata = event.materialization.metadata
        assert {"rows", "changed", "skipped", "rejected", "seconds", "preview"} <= set(metadata), event.asset_key
        assert len(str(metadata["preview"].value).encode()) < 50_000, event.asset_key


class Deployment:
    """A webserver and a daemon of their own on a data folder."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        with open_instance(settings):  # creates Dagster's tables, as `python -m pipelines.instance` does
            pass
        tools = Path(sys.executable).parent
        self._log = (settings.data_dir / "processes.log").open("wb")
        self._processes = [
            subprocess.Popen(
                command, cwd=ROOT, env=environment_of(settings), stdout=self._log, stderr=subprocess.STDOUT
            )
            for command in (
                [tools / "dagster-webserver", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(self.port)],
                [tools / "dagster-daemon", "run", "-w", "workspace.yaml"],
            )
        ]

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """An answer of the GraphQL API."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql",
            data=json.dumps({"query": query, "variables": variables}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer
        data: dict[str, Any] = answer["data"]
        return data

    def wait_ready(self) -> None:
        """Wait until it answers and has loaded the definitions."""
        for _ in range(240):
            with contextlib.suppress(OSError):
                entries = self.ask(READY)["workspaceOrError"]["locationEntries"]
                loaded = [entry["locationOrLoadError"] for entry in entries]
                if loaded == [{"__typename": "RepositoryLocation"}] * 2:
                    return
            time.sleep(0.5)
        pytest.fail(self.log())

    def wait_for_runs(self, number: int) -> list[dict[str, Any]]:
        """Wait until so many runs have ended; the newest first."""
        for _ in range(360):
            runs: list[dict[str, Any]] = self.ask(RUNS)["runsOrError"]["results"]
            if len([run for run in runs if run["status"] in ENDS]) >= number:
                return runs
            time.sleep(0.5)
        pytest.fail(f"{runs}\n{self.log()}")

    def log(self) -> str:
        """What the processes wrote."""
        return (self.settings.data_dir / "processes.log").read_text(errors="replace")[-8_000:]

    def close(self) -> None:
        """End the processes and wait for them."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(timeout=60)
        self._log.close()


@pytest.fixture
def deployment(models_dir: Path, tmp_path: Path) -> Iterator[Deployment]:
    deployment = Deployment(_migrated(settings_in(tmp_path / "data", models=models_dir)))
    try:
        deployment.wait_ready()
        yield deployment
    finally:
        deployment.close()


def _forget_everything_but(folder: Path, settings: Settings) -> None:
    database = open_database(settings)
    migrations.downgrade(database, "base")
    migrations.upgrade(database)
    with database.write() as connection:
        connection.execute(insert(Root).values(path=str(folder), created_at=utc_now()))
    database.dispose()


@pytest.mark.platform
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_ui_and_the_watch_give_what_the_command_line_gave(synced: Synced, deployment: Deployment) -> None:
    launched = deployment.ask(
        LAUNCH,
        parameters={
            "selector": {
                "repositoryLocationName": CODE_LOCATION,
                "repositoryName": REPOSITORY,
                "jobName": Job.SYNC_LIBRARY,
            },
            "runConfigData": dict(sync_config([synced.library])),
        },
    )["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    first = deployment.wait_for_runs(1)[0]
    assert first["status"] == "SUCCESS", deployment.log()
    assert_same_library(deployment.settings, synced.settings)

    # A folder that is known and was never scanned: nobody asks for anything, the watch does.
    _forget_everything_but(synced.library, deployment.settings)
    watched = deployment.wait_for_runs(2)[0]
    assert {"key": Tag.TRIGGER, "value": "watch"} in watched["tags"]
    assert watched["status"] == "SUCCESS", deployment.log()
    assert_same_library(deployment.settings, synced.settings)
