"""`python -m pipelines.worker --queue NAME`: a Celery worker that executes Dagster's runs.

Belongs here: the life of a worker: what it takes, how it tells that it lives, how it stops. Does not: which run goes to
which queue (`queues`), and what runs do. The worker imports the definitions once and forks a process for each run, so
that a run begins without paying for the imports.
"""

import argparse
import importlib
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.instance import BATCH_RUNS, prepare_home
from pipelines.queues import Queue, celery_arguments
from warehouse.backends import plugins
from warehouse.contracts import CODE_LOCATION, DELIVERY_LOCATION, ExitCode
from warehouse.settings import Settings, get_settings

if TYPE_CHECKING:
    from celery import Celery


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipelines.worker", description="Execute runs from queues.")
    parser.add_argument(
        "--queue", action="append", required=True, choices=Queue.ALL, help="take runs from this queue (repeatable)"
    )
    parser.add_argument(
        "--concurrency",
        type=int,
        default=0,
        metavar="N",
        help="runs at once; default: 1 where the queue gpu is among them, else as many as Dagster lets go",
    )
    parser.add_argument("--name", default="", help="name of the worker; default: its queues, and this host")
    parser.add_argument("--alive-file", type=Path, metavar="FILE", help="touch it while the broker is connected")
    return parser.parse_args(argv)


def concurrency_of(queues: Sequence[str]) -> int:
    """As many as Dagster's own queue lets go: what waits there can be seen and cancelled, and waits without limit."""
    if Queue.GPU in queues:
        return 1
    lanes = 2 * len(plugins()) if Queue.DELIVERY in queues else 0
    return lanes + (BATCH_RUNS if Queue.DEFAULT in queues else 0)


def make_app(settings: Settings) -> "Celery":
    """The Celery app that the launcher's messages are for."""
    from dagster_celery.make_app import make_app as make
    from dagster_celery.tasks import create_execute_job_task, create_resume_job_task

    app: Celery = make({**celery_arguments(settings), "task_default_queue": Queue.DEFAULT})  # type: ignore[no-untyped-call]
    create_execute_job_task(app)
    create_resume_job_task(app)
    return app


def _bind(settings: Settings) -> None:
    """What the processes of runs find in their environment."""
    os.environ["DAGSTER_HOME"] = str(settings.dagster_home)
    os.environ["LORA_MANAGER_DATA_DIR"] = str(settings.data_dir)
    if settings.visible_devices:
        for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
            os.environ[name] = settings.visible_devices


def _end_runs(**_: Any) -> None:
    """Interrupt what runs, as Ctrl-C would: Celery alone would wait for its end, and lanes linger for minutes."""
    from celery.worker.state import active_requests

    for request in tuple(active_requests):
        if request.worker_pid:
            with suppress(ProcessLookupError):
                os.kill(request.worker_pid, signal.SIGTERM)


def _watch(alive_file: Path | None) -> list[Any]:
    """Connect to Celery's signals; returns the receivers, which Celery keeps by weak reference only."""
    from celery import signals

    def beat(**_: Any) -> None:
        if alive_file is not None:
            alive_file.touch()

    signals.worker_shutting_down.connect(_end_runs)
    signals.heartbeat_sent.connect(beat)
    return [beat, _end_runs]


def main(argv: Sequence[str] | None = None) -> int:
    """Work until told to stop; returns the exit code."""
    options = _arguments(argv)
    settings = get_settings()
    if settings.run_launcher != "celery":
        sys.stderr.write("there is nothing to take runs from: set LORA_MANAGER_RUN_LAUNCHER=celery\n")
        return ExitCode.CONFIGURATION
    prepare_home(settings)
    _bind(settings)
    app, receivers = make_app(settings), _watch(options.alive_file)
    for location in (DELIVERY_LOCATION, CODE_LOCATION):
        importlib.import_module(location)
    name = options.name or "-".join(options.queue)
    worker = app.Worker(
        hostname=f"{name}@{socket.gethostname()}",
        queues=options.queue,
        concurrency=options.concurrency or concurrency_of(options.queue),
        pool="prefork",
        loglevel=settings.log_level,
        without_gossip=True,
        without_mingle=True,
    )
    worker.start()
    del receivers
    return int(worker.exitcode or ExitCode.OK)


if __name__ == "__main__":
    sys.exit(main())
