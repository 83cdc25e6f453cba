"""Runs of lanes in a thread, as a run of Dagster has them, and jobs for them."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from pipelines.backends.http import PLUGIN
from pipelines.jobs.lanes import Ending, Finished, LaneRun, Limits
from warehouse.backends import BackendPlugin
from warehouse.engine import Database
from warehouse.jobs import NewJob, enqueue
from warehouse.models.base import JsonObject
from warehouse.queries import jobs
from warehouse.queries.jobs import JobRow
from warehouse.settings import Settings


class Working:
    """One run at work."""

    def __init__(self, database: Database, settings: Settings, plugin: BackendPlugin, limits: Limits) -> None:
        self.finished: list[Finished] = []
        self.run = LaneRun(database, settings, plugin, run_id="a-run", report=self.finished.append, limits=limits)
        self.ending: Ending | None = None
        self._thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        self.ending = asyncio.run(self.run.run())

    def start(self) -> None:
        self._thread.start()

    def ended(self) -> Ending | None:
        """Wait for the end."""
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.ending


@contextmanager
def working(
    database: Database,
    settings: Settings,
    plugin: BackendPlugin = PLUGIN,
    *,
    linger: float = 60,
    max_jobs: int = 10_000,
) -> Iterator[Working]:
    """A run that works for the block."""
    run = Working(database, settings, plugin, Limits(timedelta(seconds=linger), max_jobs=max_jobs))
    run.start()
    try:
        yield run
    finally:
        run.run.stop()
        run.ended()


def put(database: Database, params: JsonObject, plugin: BackendPlugin = PLUGIN, *, prompt: str = "p") -> str:
    """Enqueue a job; returns its id."""
    job = NewJob(plugin.kind, plugin.name, plugin.lane, prompt, params, plugin.max_attempts)
    with database.write() as connection:
        return enqueue(connection, job).id


def show(database: Database, job_id: str) -> JobRow:
    """The job as it is shown."""
    with database.read() as connection:
        row = jobs.get(connection, job_id)
    assert row is not None
    return row


def until(condition: Callable[[], bool]) -> None:
    """Wait for something, half a minute at most."""
    for _ in range(1500):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it did not come")


def finished(database: Database, *ids: str) -> list[JobRow]:
    """Wait until all jobs have ended; they are given in order."""
    until(lambda: all(show(database, job_id).finished_at is not None for job_id in ids))
    return [show(database, job_id) for job_id in ids]
