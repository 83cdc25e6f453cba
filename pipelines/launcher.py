"""The launcher of runs that Celery workers execute: dagster-celery's, with what it leaves out.

Belongs here: what Dagster's daemon and webserver do to a run of a worker. Does not: the worker itself (`worker`). A
module of its own, since it imports Celery, which only this profile has.
"""

from typing import Any

from dagster import DagsterInstance, DagsterRun
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster._serdes import ConfigurableClassData
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG

from pipelines.queues import celery_arguments
from warehouse.settings import get_settings


class QueueRunLauncher(CeleryRunLauncher):
    """Starts runs as tasks in the queue that their tags name.

    Where the broker is stands in our settings and not in Dagster's configuration, which Dagster shows to everybody who
    opens its pages, and sends with every run.
    """

    _instance: DagsterInstance

    def __init__(
        self,
        default_queue: str,
        broker: str | None = None,
        backend: str | None = None,
        include: list[str] | None = None,
        config_source: dict[str, Any] | None = None,
        inst_data: ConfigurableClassData | None = None,
    ) -> None:
        if broker is None:
            arguments = celery_arguments(get_settings())
            broker, backend, config_source = (arguments[name] for name in ("broker", "backend", "config_source"))
        super().__init__(default_queue, broker, backend, include, config_source, inst_data)

    def terminate(self, run_id: str) -> bool:
        """Interrupt a run; whether there was one to interrupt.

        dagster-celery does not say that somebody asked for it, so that the run would end as failed, and be started
        again.
        """
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished or DAGSTER_CELERY_TASK_ID_TAG not in run.tags:
            return False
        self._instance.report_run_canceling(run)
        return super().terminate(run_id)

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Whether the task of a run has failed.

        A task that Redis has forgotten is not one that died, though Dagster would end its run: whether the process of
        a run lives is known to `lost_run_watch`, which asks the process and not Redis.
        """
        if DAGSTER_CELERY_TASK_ID_TAG not in run.tags:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        health = super().check_run_worker_health(run)
        return CheckRunHealthResult(WorkerStatus.RUNNING) if health.status is WorkerStatus.UNKNOWN else health
