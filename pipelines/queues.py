"""Which runs are worked on where, when Celery workers execute them: the queues, and what launcher and workers agree on.

Belongs here: names of queues, the tags that choose them, the configuration of Celery. Does not: the worker (`worker`),
and how Dagster's instance is configured (`instance`). The tags say nothing where no Celery is, so every job has them.
"""

from collections.abc import Mapping
from typing import Any, Final

from warehouse.settings import Settings

_TAG = "dagster-celery/queue"


class Queue:
    """The queues; a worker takes runs from one or more of them."""

    DEFAULT: Final = "default"
    """What needs tables and files alone; runs without a queue come here too."""
    DELIVERY: Final = "delivery"
    """Lanes: each run stays for minutes and mostly waits."""
    GPU: Final = "gpu"
    """What computes vectors; a worker for each accelerator."""

    ALL: Final = (DEFAULT, DELIVERY, GPU)


ON_DEFAULT: Mapping[str, str] = {_TAG: Queue.DEFAULT}
"""Tags of a job of the queue `default`."""
ON_DELIVERY: Mapping[str, str] = {_TAG: Queue.DELIVERY}
"""Tags of a job of the queue `delivery`."""
ON_GPU: Mapping[str, str] = {_TAG: Queue.GPU}
"""Tags of a job of the queue `gpu`."""


def celery_arguments(settings: Settings) -> dict[str, Any]:
    """What `dagster_celery` makes an app of, the launcher's and the workers': broker, backend and `config_source`.

    A message is acknowledged when its run begins. Later, a run that outlives Redis's visibility timeout would be given
    to another worker every hour, and one whose worker died to another as well, for nothing: Dagster ignores a second
    worker of a run. So a run dies with its worker; who notices is `lost_run_watch`, and for the jobs of lanes their
    leases.
    """
    url = settings.celery_broker_url.get_secret_value()
    return {
        "broker": url,
        "backend": url,
        "config_source": {
            # A message that waits in the memory of a busy worker is lost with it; one that waits in Redis is not.
            "worker_prefetch_multiplier": 1,
            "worker_disable_prefetch": True,
            # Every run in a process of its own, which is gone with all that it loaded when the run ends.
            "worker_max_tasks_per_child": 1,
            # Dagster formats and stores what runs print; Celery would print it again as warnings of its own.
            "worker_redirect_stdouts": False,
            "broker_connection_retry_on_startup": True,
            "broker_connection_max_retries": None,
        },
    }


def run_launcher(settings: Settings) -> Mapping[str, Any]:
    """The part `run_launcher` of `dagster.yaml`; nothing where the code servers start runs themselves."""
    if settings.run_launcher == "default":
        return {}
    config = {"default_queue": Queue.DEFAULT}
    return {"run_launcher": {"module": "pipelines.launcher", "class": "QueueRunLauncher", "config": config}}
