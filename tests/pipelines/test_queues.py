"""Which run goes where, and what the launcher does beyond dagster-celery's.

The workers themselves are tested on a whole system (`tests/platform/test_workers.py`).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.launcher import WorkerStatus

from pipelines.definitions import build_definitions
from pipelines.delivery_definitions import build_delivery_definitions
from pipelines.instance import BATCH_RUNS, configuration, render
from pipelines.launcher import QueueRunLauncher
from pipelines.queues import Queue
from pipelines.worker import concurrency_of, main
from warehouse.backends import plugins
from warehouse.contracts import ExitCode, Job, LaneJob
from warehouse.settings import Settings

TAG = "dagster-celery/queue"


def test_jobs_go_to_the_queue_of_what_they_need() -> None:
    named = {
        job.name: job.tags.get(TAG)
        for definitions in (build_definitions(), build_delivery_definitions())
        for job in definitions.resolve_all_job_defs()
        if not job.name.startswith("__")
    }
    wanted = {
        Job.SYNC_LIBRARY: Queue.GPU,
        Job.REFRESH_VECTORS: Queue.GPU,
        Job.REFRESH_MARTS: Queue.DEFAULT,
        Job.LEARN_FROM_USE: Queue.DEFAULT,
        Job.PRUNE_HISTORY: Queue.DEFAULT,
        LaneJob.DELIVER: Queue.DELIVERY,
        LaneJob.GENERATE: Queue.DELIVERY,
    }
    assert wanted.items() <= named.items()
    # One without a tag goes to the default queue.
    assert set(named.values()) <= {None, *Queue.ALL}


def test_the_instance_says_who_starts_runs(settings: Settings, tmp_path: Path) -> None:
    assert "run_launcher" not in configuration(settings)
    celery = Settings(
        _env_file=None,  # type: ignore[call-arg]
        data_dir=tmp_path,
        database_url="postgresql://u:p@h/d",
        run_launcher="celery",
        celery_broker_url="redis://:secret@broker/0",  # type: ignore[arg-type]
    )
    launcher = configuration(celery)["run_launcher"]
    assert (launcher["module"], launcher["class"]) == ("pipelines.launcher", "QueueRunLauncher")
    assert launcher["config"] == {"default_queue": Queue.DEFAULT}
    assert "secret" not in render(celery)


def test_the_launcher_takes_the_broker_from_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    celery = Settings(
        _env_file=None,  # type: ignore[call-arg]
        database_url="postgresql://u:p@h/d",
        run_launcher="celery",
        celery_broker_url="redis://:secret@broker/0",  # type: ignore[arg-type]
    )
    monkeypatch.setattr("pipelines.launcher.get_settings", lambda: celery)
    app = QueueRunLauncher(Queue.DEFAULT).celery
    assert app.conf.broker_url == app.conf.result_backend == "redis://:secret@broker/0"
    assert app.conf.worker_max_tasks_per_child == 1


def test_a_worker_takes_as_much_as_dagster_lets_go() -> None:
    assert concurrency_of([Queue.GPU]) == 1
    assert concurrency_of([Queue.DEFAULT, Queue.GPU]) == 1
    assert concurrency_of([Queue.DEFAULT]) == BATCH_RUNS
    assert concurrency_of([Queue.DELIVERY]) == 2 * len(plugins())


def test_a_worker_without_a_broker_says_so(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipelines.worker.get_settings", lambda: settings)
    assert main(["--queue", "default"]) == ExitCode.CONFIGURATION
    assert "LORA_MANAGER_RUN_LAUNCHER=celery" in capsys.readouterr().err
    assert not settings.dagster_home.exists()


@dg.op
def nothing() -> None: ...


@dg.job
def idle() -> None:
    nothing()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance whose launcher speaks to a broker in memory, which has forgotten every task."""
    launcher: dict[str, Any] = {
        "module": "pipelines.launcher",
        "class": "QueueRunLauncher",
        "config": {"broker": "memory://", "backend": "cache+memory://"},
    }
    with dg.instance_for_test(temp_dir=str(tmp_path), overrides={"run_launcher": launcher}) as made:
        yield made


def _launcher(instance: dg.DagsterInstance) -> QueueRunLauncher:
    launcher = instance.run_launcher
    assert isinstance(launcher, QueueRunLauncher)
    return launcher


def test_a_run_that_is_terminated_is_one_that_somebody_cancels(instance: dg.DagsterInstance) -> None:
    run = instance.create_run_for_job(idle, status=dg.DagsterRunStatus.STARTED)
    assert not _launcher(instance).terminate(run.run_id)
    instance.add_run_tags(run.run_id, {"dagster-celery/task_id": "a-task"})
    assert _launcher(instance).terminate(run.run_id)
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    assert found.status is dg.DagsterRunStatus.CANCELING
    instance.report_run_canceled(found)
    assert not _launcher(instance).terminate(run.run_id)
    assert not _launcher(instance).terminate("0190a6f2-0000-7000-8000-000000000000")


def test_a_task_that_redis_has_forgotten_did_not_die(instance: dg.DagsterInstance) -> None:
    launcher = _launcher(instance)
    untold = instance.create_run_for_job(idle, status=dg.DagsterRunStatus.STARTED)
    assert launcher.check_run_worker_health(untold).status is WorkerStatus.RUNNING
    told = instance.create_run_for_job(
        idle, status=dg.DagsterRunStatus.STARTED, tags={"dagster-celery/task_id": "a-task"}
    )
    assert launcher.check_run_worker_health(told).status is WorkerStatus.RUNNING
    launcher.celery.backend.store_result("a-task", RuntimeError("killed"), "FAILURE")
    assert launcher.check_run_worker_health(told).status is WorkerStatus.FAILED
