"""The attended run, as a process on a real instance."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import func, select

from pipelines.instance import open_instance
from tests.pipelines.conftest import ADAPTERS, ROOT, Synced, environment_of, run_job, settings_in, state_of
from warehouse.contracts import ExitCode, Tag
from warehouse.engine import open_database
from warehouse.locks import exclusive
from warehouse.models import Activity, Lock


def test_first_sync_answers_with_the_state_of_the_library(synced: Synced) -> None:
    assert synced.ran.code == ExitCode.OK, synced.ran.err
    summary = synced.ran.summary
    assert summary["status"] == "success"
    assert summary["adapters"] >= ADAPTERS
    assert sum(summary["adapters_by_state"].values()) == summary["adapters"]
    assert summary["documents"]["quarantined"] == len(summary["quarantined"]) > 0
    assert all(Path(entry["path"]).is_relative_to(synced.library) for entry in summary["quarantined"])
    assert all(entry["code"] and entry["reason"] for entry in summary["quarantined"])
    assert set(summary["coverage"].values()) == {1.0}
    assert summary["index"]["n"] == summary["adapters"]


def test_broken_files_show_on_checks_and_not_as_a_failed_run(synced: Synced) -> None:
    failed = {check["check"]: check["severity"] for check in synced.ran.summary["failed_checks"]}
    assert failed.get("weights_valid") == "WARN"
    assert failed.get("documents_usable") == "WARN"
    assert "ERROR" not in failed.values()


def test_the_run_is_seen_by_the_instance_and_told_in_the_feed(synced: Synced) -> None:
    with open_instance(synced.settings) as instance:
        run = instance.get_run_by_id(synced.ran.summary["run_id"])
        assert run is not None
        assert run.status is dg.DagsterRunStatus.SUCCESS
        assert run.tags[Tag.TRIGGER] == "command"
        assert instance.get_latest_materialization_event(dg.AssetKey(["marts", "analytics"])) is not None
    database = open_database(synced.settings)
    with database.read() as connection:
        rows = connection.execute(select(Activity).where(Activity.subject_id == run.run_id)).all()
        assert [row.kind for row in rows] == ["sync"]
        assert rows[0].summary.startswith("Library synced: ")
        assert connection.execute(select(func.count()).select_from(Lock)).scalar_one() == 0
    database.dispose()


def test_second_sync_changes_nothing(synced: Synced, tmp_path: Path) -> None:
    settings = settings_in(tmp_path / "data")
    shutil.copytree(synced.settings.data_dir, settings.data_dir, symlinks=True)
    before = state_of(settings)
    ran = run_job(settings, "sync_library", "--json")
    assert ran.code == ExitCode.OK, ran.err
    changed = {stage: counts["changed"] for stage, counts in ran.summary["stages"].items()}
    assert not any(count for stage, count in changed.items() if not stage.startswith("marts/"))
    assert state_of(settings) == before
    database = open_database(settings)
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(Activity)).scalar_one() == 1
    database.dispose()


@pytest.mark.parametrize(
    ("name", "words"),
    [("nowhere", "does not exist"), ("file.txt", "is a file"), ("empty", "")],
)
def test_what_is_no_library_is_refused_with_a_reason(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "file.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    settings = settings_in(tmp_path / "data")
    ran = run_job(settings, "sync_library", "--path", str(tmp_path / name), "--no-progress")
    assert ran.code == ExitCode.USAGE
    assert ran.out == ""
    assert str(tmp_path / name) in ran.err
    assert words in ran.err
    assert "Traceback" not in ran.err
    assert len(ran.err.strip().splitlines()) == 1


def test_no_folder_at_all_is_refused_with_the_remedy(tmp_path: Path) -> None:
    ran = run_job(settings_in(tmp_path / "data"), "sync_library")
    assert ran.code == ExitCode.USAGE
    assert "LORA_MANAGER_LIBRARY_ROOTS" in ran.err


def test_a_held_lock_ends_at_once_with_one_line(library: Path, tmp_path: Path) -> None:
    settings = settings_in(tmp_path / "data")
    assert run_job(settings, "prune_history", "--json").code == ExitCode.OK
    database = open_database(settings)
    with exclusive(database, "ingest"):
        ran = run_job(settings, "sync_library", "--path", str(library))
    database.dispose()
    assert ran.code == ExitCode.TEMPORARY
    assert ran.err.strip().splitlines() == [line for line in ran.err.strip().splitlines() if "'ingest'" in line]
    assert str(os.getpid()) in ran.err


def test_a_database_of_another_version_is_refused_with_the_remedy(library: Path, tmp_path: Path) -> None:
    settings = settings_in(tmp_path / "data")
    database = open_database(settings)
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('9999')")
    database.dispose()
    ran = run_job(settings, "sync_library", "--path", str(library))
    assert ran.code == ExitCode.CONFIGURATION
    assert "lora-manager upgrade" in ran.err


@pytest.mark.platform
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_cancels_the_run_and_frees_the_lock(
    models_dir: Path, tmp_path: Path, number: signal.Signals
) -> None:
    from warehouse.samples import generate_library

    folder = tmp_path / "large"
    generate_library(folder, adapters=150, weights=False)
    settings = settings_in(tmp_path / "data", models=models_dir)
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.run", "sync_library", "--path", str(folder)],
        env=environment_of(settings),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("Embedding"):
            break
    time.sleep(0.2)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED, err
    assert "Traceback" not in err
    with open_instance(settings) as instance:
        statuses = [run.status for run in instance.get_runs()]
    assert statuses == [dg.DagsterRunStatus.CANCELED]
    database = open_database(settings)
    with database.read() as connection:
        assert connection.execute(select(Lock.name)).all() == []
    database.dispose()
