"""Sensors and schedules: what they ask for, and what they leave alone."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import insert, select

from pipelines.definitions import build_definitions
from pipelines.lost_runs import end_lost_runs, end_silent_runs, presence_name
from pipelines.outcomes import changed_something, record_outcome, summarise
from pipelines.resources import Warehouse
from pipelines.schedules import nightly_full_rescan
from pipelines.sensors.library import library_watch
from pipelines.sensors.use import use_watch
from tests.stores import Store
from warehouse import ingest
from warehouse.contracts import Job, Tag
from warehouse.engine import Database
from warehouse.models import Activity, AdapterUse
from warehouse.presence import present
from warehouse.processes import identity, is_gone
from warehouse.settings import Settings
from warehouse.storage import StoreUrl


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "loras").mkdir()
    (tmp_path / "loras" / "a.safetensors").write_bytes(b"")
    return tmp_path / "loras"


@dg.op
def nothing() -> None: ...


@dg.job(name=Job.SYNC_LIBRARY)
def sync() -> None:
    nothing()


@dg.job(name=Job.LEARN_FROM_USE)
def learn() -> None:
    nothing()


def _tick(
    instance: dg.DagsterInstance, database: Database, settings: Settings, cursor: str | None = None
) -> dg.SensorResult | dg.SkipReason:
    context = dg.build_sensor_context(
        instance=instance, cursor=cursor, resources={"warehouse": Warehouse(database, settings)}
    )
    result = library_watch(context)
    assert isinstance(result, (dg.SensorResult, dg.SkipReason))
    return result


def test_without_a_folder_the_watch_says_how_to_name_one(
    instance: dg.DagsterInstance, sqlite_database: Database, settings: Settings
) -> None:
    result = _tick(instance, sqlite_database, settings)
    assert isinstance(result, dg.SkipReason)
    assert "lora-manager sync" in str(result.skip_message)


def test_a_configured_folder_is_synced_once_and_again_when_it_changes(
    instance: dg.DagsterInstance, sqlite_database: Database, settings: Settings, folder: Path
) -> None:
    settings = settings.model_copy(update={"library_roots": [folder]})
    first = _tick(instance, sqlite_database, settings)
    assert isinstance(first, dg.SensorResult)
    assert first.run_requests is not None
    assert first.run_requests[0].tags[Tag.TRIGGER] == "watch"

    again = _tick(instance, sqlite_database, settings, first.cursor)
    assert isinstance(again, dg.SkipReason)

    (folder / "b.safetensors").write_bytes(b"")
    os.utime(folder, ns=(0, 0))
    changed = _tick(instance, sqlite_database, settings, first.cursor)
    assert isinstance(changed, dg.SensorResult)
    assert changed.run_requests is not None
    assert changed.run_requests[0].run_key != first.run_requests[0].run_key


def test_an_edit_in_place_is_asked_for_once(
    instance: dg.DagsterInstance, sqlite_database: Database, settings: Settings, folder: Path
) -> None:
    document = folder / "a.json"
    document.write_text('{"activation text": "one"}')
    ingest.scan_library(sqlite_database, settings, [folder])
    known = _tick(instance, sqlite_database, settings)
    assert isinstance(known, dg.SensorResult)
    assert not known.run_requests

    document.write_text('{"activation text": "edited"}')
    asked = _tick(instance, sqlite_database, settings, known.cursor)
    assert isinstance(asked, dg.SensorResult)
    assert asked.run_requests is not None
    assert str(document) in str(asked.run_requests[0].run_key)

    assert isinstance(_tick(instance, sqlite_database, settings, asked.cursor), dg.SkipReason)
    document.write_text('{"activation text": "once more"}')
    assert isinstance(_tick(instance, sqlite_database, settings, asked.cursor), dg.SensorResult)


def test_what_the_last_scan_saw_is_not_asked_for_again(
    instance: dg.DagsterInstance, sqlite_database: Database, settings: Settings, folder: Path
) -> None:
    ingest.scan_library(sqlite_database, settings, [folder])
    result = _tick(instance, sqlite_database, settings)
    assert isinstance(result, dg.SensorResult)
    assert not result.run_requests
    assert result.cursor
    (folder / "sub").mkdir()
    os.utime(folder, ns=(0, 0))
    later = _tick(instance, sqlite_database, settings, result.cursor)
    assert isinstance(later, dg.SensorResult)
    assert later.run_requests


def test_the_watch_waits_while_a_sync_is_under_way(
    instance: dg.DagsterInstance, sqlite_database: Database, settings: Settings, folder: Path
) -> None:
    settings = settings.model_copy(update={"library_roots": [folder]})
    run = instance.create_run_for_job(sync)
    result = _tick(instance, sqlite_database, settings)
    assert isinstance(result, dg.SkipReason)
    assert run.run_id[:8] in str(result.skip_message)


def test_a_damaged_cursor_costs_no_more_than_a_sync(
    instance: dg.DagsterInstance, sqlite_database: Database, settings: Settings, folder: Path
) -> None:
    settings = settings.model_copy(update={"library_roots": [folder]})
    result = _tick(instance, sqlite_database, settings, "not json")
    assert isinstance(result, dg.SensorResult)
    assert result.run_requests


def test_the_nightly_rescan_asks_for_every_known_folder() -> None:
    context = dg.build_schedule_context(scheduled_execution_time=datetime(2026, 1, 1, 3, tzinfo=UTC))
    request = nightly_full_rescan(context)
    assert isinstance(request, dg.RunRequest)
    assert request.run_config == {"ops": {"library__files": {"config": {"paths": [], "force": False}}}}


def _dead_process() -> str:
    code = "from warehouse.processes import identity; print(identity())"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    return answer.stdout.strip()


def test_an_identity_tells_a_dead_process_from_a_living_one_and_from_one_elsewhere() -> None:
    assert not is_gone(identity())
    assert is_gone(_dead_process())
    host, pid, _ = identity().split("|")
    assert is_gone(f"{host}|{pid}|1.00")
    assert not is_gone(f"elsewhere|{pid}|1.00")
    assert not is_gone("garbage")


def test_only_runs_whose_process_died_are_ended(instance: dg.DagsterInstance) -> None:
    def started(process: str | None) -> str:
        run = instance.create_run_for_job(sync, tags={Tag.PROCESS: process} if process else {})
        instance.handle_new_event(_started_event(run))
        return run.run_id

    alive, dead, untagged = started(identity()), started(_dead_process()), started(None)
    assert end_lost_runs(instance) == [dead]
    statuses = {run.run_id: run.status for run in instance.get_runs()}
    assert statuses[dead] is dg.DagsterRunStatus.FAILURE
    assert {statuses[alive], statuses[untagged]} == {dg.DagsterRunStatus.STARTED}


def test_a_run_of_another_host_is_ended_when_it_was_silent_twice(
    instance: dg.DagsterInstance, database: Database
) -> None:
    def started() -> str:
        run = instance.create_run_for_job(sync, tags={Tag.PROCESS: "elsewhere|7|1.00"})
        instance.handle_new_event(_started_event(run))
        return run.run_id

    heard_of, silent = started(), started()
    with present(database, presence_name(heard_of)):
        assert end_silent_runs(instance, database, []) == ([], [silent])
        # One that was heard of meanwhile is no suspect any more; another one has the first doubt.
        with present(database, presence_name(silent)):
            assert end_silent_runs(instance, database, [silent]) == ([], [])
        assert end_silent_runs(instance, database, []) == ([], [silent])
        assert end_silent_runs(instance, database, [silent]) == ([silent], [])
        assert end_silent_runs(instance, database, [silent]) == ([], [])
    statuses = {run.run_id: run.status for run in instance.get_runs()}
    assert statuses == {heard_of: dg.DagsterRunStatus.STARTED, silent: dg.DagsterRunStatus.FAILURE}


def _started_event(run: dg.DagsterRun) -> dg.EventLogEntry:
    from dagster import DagsterEvent, DagsterEventType

    return dg.EventLogEntry(
        error_info=None,
        user_message="",
        level=10,
        run_id=run.run_id,
        timestamp=datetime.now(UTC).timestamp(),
        job_name=run.job_name,
        dagster_event=DagsterEvent(DagsterEventType.RUN_START.value, run.job_name),
    )


def _materialize(instance: dg.DagsterInstance, *, changed: int) -> dg.ExecuteInProcessResult:
    """A run of `sync_library` whose one asset changed so many rows."""

    @dg.asset(key=["catalog", "adapters"])
    def adapters() -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(metadata={"rows": 3, "changed": changed})

    job = dg.define_asset_job(Job.SYNC_LIBRARY, selection=[adapters])
    return (
        dg.Definitions(assets=[adapters], jobs=[job])
        .resolve_job_def(Job.SYNC_LIBRARY)
        .execute_in_process(instance=instance)
    )


def test_an_outcome_is_told_once_whoever_tells_it(instance: dg.DagsterInstance, database: Database) -> None:
    run = instance.get_run_by_id(_materialize(instance, changed=2).run_id)
    assert run is not None
    assert record_outcome(database, instance, run)
    assert not record_outcome(database, instance, run)
    with database.read() as connection:
        row = connection.execute(select(Activity)).one()
    assert (row.kind, row.subject_id, row.data["status"]) == ("sync", run.run_id, "SUCCESS")


def test_a_run_without_work_says_nothing(instance: dg.DagsterInstance, database: Database) -> None:
    idle = instance.get_run_by_id(_materialize(instance, changed=0).run_id)
    assert idle is not None
    assert not record_outcome(database, instance, idle)
    failed = instance.create_run_for_job(sync, status=dg.DagsterRunStatus.FAILURE)
    assert record_outcome(database, instance, failed)
    with database.read() as connection:
        assert connection.execute(select(Activity.summary)).scalars().all() == ["sync_library failed"]


def test_a_publication_alone_is_no_change_of_the_library() -> None:
    published = {"marts/adapters": {"changed": 12}, "marts/analytics": {"changed": 25}}
    assert changed_something(published)
    assert not changed_something({"library/files": {"changed": 0}, "catalog/adapters": {"changed": 0}, **published})
    assert changed_something({"catalog/adapters": {"changed": 1}, **published})
    assert not changed_something({})


def test_outcomes_are_whole_sentences() -> None:
    stages = {
        "catalog/adapters": {"rows": 1200, "changed": 5},
        "catalog/documents": {"rejected": 1},
        "catalog/inspections": {"rejected": 1},
        "indices/recommend": {"rows": 1200},
    }
    success = dg.DagsterRunStatus.SUCCESS
    assert summarise(Job.SYNC_LIBRARY, success, stages) == (
        "Library synced: 1,200 adapters, 5 changed, 2 files set aside"
    )
    assert summarise(Job.REFRESH_VECTORS, success, stages) == "Vectors refreshed: 1,200 adapters indexed"
    assert summarise(Job.TUNE_ENCODER, success, {"encoders/prompts": {"changed": 1}}) == "Encoder tuned and published"
    assert "in use stays" in summarise(Job.TUNE_ENCODER, success, {"encoders/prompts": {"changed": 0}})
    assert summarise(Job.REFRESH_MARTS, success, {"marts/analytics": {"rows": 25}}) == "Tables published: 25 views"
    assert summarise(Job.SYNC_LIBRARY, dg.DagsterRunStatus.FAILURE, {}) == "sync_library failed"


def _use(database: Database, job_id: str) -> None:
    """Two adapters of no library, in one prompt."""
    common = {"job_id": job_id, "kind": "delivery", "mode": "http", "weight": 1.0, "status": "sent", "others": []}
    with database.write() as connection:
        connection.execute(
            insert(AdapterUse), [{**common, "name": name, "used_at": datetime.now(UTC)} for name in ("a", "b")]
        )


def test_use_is_learned_from_once(instance: dg.DagsterInstance, database: Database, settings: Settings) -> None:
    context = dg.build_sensor_context(instance=instance, resources={"warehouse": Warehouse(database, settings)})
    assert isinstance(use_watch(context), dg.SkipReason)
    _use(database, "one")
    request = use_watch(context)
    assert isinstance(request, dg.RunRequest)
    assert request.tags[Tag.TRIGGER] == "watch"
    resource = dg.ResourceDefinition.hardcoded_resource(Warehouse(database, settings))
    run = build_definitions(resource).resolve_job_def(Job.LEARN_FROM_USE).execute_in_process(instance=instance)
    assert run.success
    assert isinstance(use_watch(context), dg.SkipReason)
    assert not record_outcome(database, instance, run.dagster_run)


def test_a_run_that_learns_is_waited_for(
    instance: dg.DagsterInstance, sqlite_database: Database, settings: Settings
) -> None:
    _use(sqlite_database, "one")
    instance.create_run_for_job(learn, status=dg.DagsterRunStatus.STARTED)
    context = dg.build_sensor_context(instance=instance, resources={"warehouse": Warehouse(sqlite_database, settings)})
    result = use_watch(context)
    assert isinstance(result, dg.SkipReason)
    assert "under way" in str(result.skip_message)


def test_a_root_in_a_store_is_synced_when_an_object_is_replaced(
    instance: dg.DagsterInstance, sqlite_database: Database, settings: Settings, store: Store
) -> None:
    settings = store.settings(settings)
    store.put("lib/a.safetensors", b"one")
    ingest.scan_library(sqlite_database, settings, [StoreUrl(store.bucket, "lib")])
    known = _tick(instance, sqlite_database, settings)
    assert isinstance(known, dg.SensorResult)
    assert not known.run_requests
    assert isinstance(_tick(instance, sqlite_database, settings, known.cursor), dg.SkipReason)

    store.put("lib/a.safetensors", b"two")
    changed = _tick(instance, sqlite_database, settings, known.cursor)
    assert isinstance(changed, dg.SensorResult)
    assert changed.run_requests
