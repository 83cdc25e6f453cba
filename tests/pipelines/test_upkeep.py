"""Pruning removes what is old and keeps what is shown."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import select, update

from pipelines.jobs.upkeep import prune_history
from pipelines.resources import Warehouse
from tests.warehouse.jobs.work import put
from warehouse.engine import Database
from warehouse.generations import Manifest, current, publish
from warehouse.jobs import cancel
from warehouse.models import Job
from warehouse.settings import Settings


@dg.asset
def thing() -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(metadata={"rows": 1})


@dg.op
def nothing() -> None: ...


@dg.job
def idle() -> None:
    nothing()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def _prune(instance: dg.DagsterInstance, database: Database, settings: Settings) -> dg.ExecuteInProcessResult:
    resource = dg.ResourceDefinition.hardcoded_resource(Warehouse(database, settings))
    return (
        dg.Definitions(jobs=[prune_history], resources={"warehouse": resource})
        .resolve_job_def("prune_history")
        .execute_in_process(instance=instance)
    )


def test_old_runs_go_and_the_last_result_of_an_asset_stays(
    instance: dg.DagsterInstance, sqlite_database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    idle_run = idle.execute_in_process(instance=instance).run_id
    first = dg.materialize([thing], instance=instance).run_id
    last = dg.materialize([thing], instance=instance).run_id

    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + timedelta(days=100)

    monkeypatch.setattr("pipelines.jobs.upkeep.datetime", Later)
    result = _prune(instance, sqlite_database, settings)
    assert result.output_for_node("delete_old_runs") == 2
    left = {run.run_id for run in instance.get_runs()}
    assert not {idle_run, first} & left
    assert last in left
    event = instance.get_latest_materialization_event(dg.AssetKey("thing"))
    assert event is not None
    assert event.run_id == last


def test_what_is_young_stays(instance: dg.DagsterInstance, sqlite_database: Database, settings: Settings) -> None:
    run = idle.execute_in_process(instance=instance).run_id
    result = _prune(instance, sqlite_database, settings)
    assert result.output_for_node("delete_old_runs") == 0
    assert instance.get_run_by_id(run) is not None


def test_old_generations_are_collected_and_the_current_one_stays(
    instance: dg.DagsterInstance, sqlite_database: Database, settings: Settings
) -> None:
    def build(folder: Path) -> Manifest:
        (folder / "part").write_text("x")
        return {}

    names = [publish(sqlite_database, settings, "indices/recommend", build).name for _ in range(5)]
    result = _prune(instance, sqlite_database, settings)
    assert result.output_for_node("collect_old_generations") == 2
    now = current(sqlite_database, settings, "indices/recommend")
    assert now is not None
    assert now.name == names[-1]
    assert (now.path / "part").exists()


def test_old_jobs_go(instance: dg.DagsterInstance, sqlite_database: Database, settings: Settings) -> None:
    ids = [put(sqlite_database).id for _ in range(2)]
    with sqlite_database.write() as connection:
        cancel(connection, ids[0])
        connection.execute(
            update(Job).where(Job.id == ids[0]).values(finished_at=datetime.now(UTC) - timedelta(days=31))
        )
    assert _prune(instance, sqlite_database, settings).output_for_node("delete_old_jobs") == 1
    with sqlite_database.read() as connection:
        assert connection.execute(select(Job.id)).scalars().all() == ids[1:]
