"""Pruning removes what is old and keeps what is shown."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import insert, select, update

from pipelines.jobs.upkeep import prune_history
from pipelines.resources import Warehouse
from tests.warehouse.jobs.work import put
from warehouse.audit import Actor, Change, record, tell
from warehouse.engine import Database
from warehouse.generations import Manifest, current, publish
from warehouse.ids import new_id
from warehouse.jobs import cancel
from warehouse.models import Activity, AuditEntry, Job, RecommendationCache
from warehouse.queries import recommendations
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


def test_recommendations_that_expired_are_forgotten(
    instance: dg.DagsterInstance, sqlite_database: Database, settings: Settings
) -> None:
    with sqlite_database.read() as connection:
        valid = recommendations.origin(connection, None)

    def row(name: str, expires_at: datetime) -> dict[str, object]:
        return {
            "id": new_id(),
            "cache_key": f"{valid}{name}",
            "recommendations": b"x",
            "similarity_threshold": 0.1,
            "limit_used": 10,
            "weights_used": {},
            "created_at": expires_at,
            "expires_at": expires_at,
        }

    now = datetime.now(UTC)
    with sqlite_database.write() as connection:
        rows = [row("old", now - timedelta(seconds=1)), row("young", now + timedelta(hours=1))]
        connection.execute(insert(RecommendationCache), rows)
    assert _prune(instance, sqlite_database, settings).output_for_node("forget_recommendations") == 1
    with sqlite_database.read() as connection:
        assert connection.execute(select(RecommendationCache.cache_key)).scalars().all() == [f"{valid}young"]


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


@pytest.mark.parametrize(("kept", "left"), [(365, [10, 300]), (100, [10]), (0, [10, 300, 400])])
def test_old_records_of_changes_go_as_the_settings_say(
    instance: dg.DagsterInstance, sqlite_database: Database, settings: Settings, kept: int, left: list[int]
) -> None:
    now = datetime.now(UTC)
    with sqlite_database.write() as connection:
        for days in (400, 300, 10):
            at = now - timedelta(days=days)
            record(connection, Actor(None, "r"), at, [Change("update", "adapter", str(days), None, None)])
            tell(connection, at, kind="activation", subject_id=str(days), summary="", data={})
    chosen = settings.model_copy(update={"audit_keep_days": kept, "activity_keep_days": kept})
    result = _prune(instance, sqlite_database, chosen)
    for op, table in (("delete_old_audit_entries", AuditEntry), ("delete_old_activity", Activity)):
        assert result.output_for_node(op) == 3 - len(left)
        with sqlite_database.read() as connection:
            subjects = connection.execute(select(table.subject_id).order_by(table.pk.desc())).scalars()
            assert [int(subject or 0) for subject in subjects] == left
