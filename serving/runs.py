"""Asks Dagster for the run of a lane, when a job was committed and none works on it.

Belongs here: seeing that a lane is worked on. Does not: jobs, and the call that queues a run (`orchestrator`). Nobody
waits for this and nothing fails with it: the job is a row, and the sensor `lane_watch` asks for the run that could not
be asked for here.
"""

import asyncio
import logging

from fastapi.concurrency import run_in_threadpool
from sqlalchemy.exc import SQLAlchemyError

from serving.orchestrator import LaunchError, Orchestrator
from warehouse import jobs
from warehouse.contracts import DELIVERY_LOCATION, LaneJob, Trigger, lane_config, lane_tags
from warehouse.engine import Database

_TIMEOUT = 10.0
"""Seconds; the call that queues a run takes a third of one."""
_log = logging.getLogger(__name__)


class LaneRuns:
    """Sees to it that the lanes in which jobs wait are worked on. Made and closed in the event loop that serves."""

    def __init__(self, database: Database, orchestrator: Orchestrator) -> None:
        self._database = database
        self._orchestrator = orchestrator
        self._loop = asyncio.get_running_loop()
        self._due: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def look_after(self, lane: str) -> None:
        """Have a lane looked at soon, from any thread. Call it when the job is committed; it does not wait.

        Many calls become few looks: one that begins after a commit covers it.
        """
        self._loop.call_soon_threadsafe(self._schedule, lane)

    def _schedule(self, lane: str) -> None:
        self._due.add(lane)
        if lane not in self._tasks:
            self._tasks[lane] = self._loop.create_task(self._look_until_done(lane))

    async def _look_until_done(self, lane: str) -> None:
        try:
            while lane in self._due:
                self._due.discard(lane)
                await self._look(lane)
        except SQLAlchemyError:
            _log.exception("lane %s could not be looked at; the watch does it", lane)
        finally:
            del self._tasks[lane]

    async def _look(self, lane: str) -> None:
        kind = await run_in_threadpool(self._kind_if_needed, lane)
        if kind is None:
            return
        error = await self._launch(lane, LaneJob.BY_KIND[kind])
        if error is not None:
            _log.warning("no run of lane %s could be asked for (%s); the watch asks again", lane, error)
            await run_in_threadpool(self._withdraw, lane)

    def _kind_if_needed(self, lane: str) -> str | None:
        """The kind of the lane's jobs if a run is to be asked for; nobody else asks for it then."""
        with self._database.read() as connection:
            state = jobs.lane_state(connection, lane)
        if state is None or state.is_alive:
            return None
        with self._database.write() as connection:
            return state.kind if jobs.ask_for_run(connection, lane) else None

    def _withdraw(self, lane: str) -> None:
        with self._database.write() as connection:
            jobs.withdraw_request(connection, lane)

    async def _launch(self, lane: str, job: str) -> str | None:
        """Queue a run; what went wrong, if anything."""
        try:
            run_id = await self._orchestrator.launch(
                job, lane_config(lane), lane_tags(lane, Trigger.API), location=DELIVERY_LOCATION, timeout=_TIMEOUT
            )
        except LaunchError as error:
            return str(error)
        _log.info("lane %s: run %s asked for", lane, run_id)
        return None

    async def close(self) -> None:
        """End what is under way."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
