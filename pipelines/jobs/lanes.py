"""The life of a lane's run: take the lane, do its jobs many at once, write down what becomes of them, linger, leave.

Belongs here: everything around a backend, none of it of Dagster. Does not: how the run is a run of Dagster
(`pipelines.jobs.runs`), the rules of how jobs change (`warehouse.jobs`), what a backend does.

One event loop does the jobs; one thread writes, so that a database that is busy holds up no transfer; another waits
for changes. What ends while a transaction is written is written by the next one together.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import TypeVar

from sqlalchemy import Connection, insert
from sqlalchemy.exc import InterfaceError, OperationalError

from pipelines.jobs.feed import Feed
from warehouse import jobs
from warehouse.backends import Backend, BackendPlugin, Outcome, Progress, Submission
from warehouse.engine import Database
from warehouse.generating import PREVIEW
from warehouse.jobs import ChangeWatch, ClaimedJob, Ended, JobStatus, TakenLane, Tick, Update
from warehouse.jobs.attachments import AttachmentLostError, attached
from warehouse.jobs.lanes import HEARTBEAT
from warehouse.models import Activity, utc_now
from warehouse.processes import new_holder
from warehouse.settings import Settings

MAX_AGE = timedelta(hours=1)
MAX_JOBS = 10_000
"""After either a run has itself relieved by a fresh one: its events are kept together, and what leaks is freed."""

TICKS_PER_SECOND = 5
STOP_SECONDS = 5.0
"""What running jobs have to end when the run is stopped; then they are given back."""
INTERRUPT_SECONDS = 30.0
"""What a target has to stop when it is asked to; then the job is dropped."""
_HEIR_POLL_SECONDS = 0.2
_IDLE_POLL_SECONDS = 1.0
_DATABASE_PATIENCE = 60.0
"""How long a database that does not answer is asked again."""

_log = logging.getLogger(__name__)
T = TypeVar("T")


class Ending(StrEnum):
    """Why a run left its lane."""

    HELD = "held"
    """It never had it: another run works on it."""
    IDLE = "idle"
    RELIEVED = "relieved"
    STOPPED = "stopped"
    LOST = "lost"
    """It was silent for too long, and another run took the lane."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A job that ended, for the record of the run."""

    ended: Ended
    seconds: float
    """From the request to the end."""
    preview: str | None
    """Markdown, from the backend."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a run leaves."""

    linger: timedelta
    max_age: timedelta = MAX_AGE
    max_jobs: int = MAX_JOBS


@dataclass(slots=True)
class _Running:
    """A job at work."""

    job: ClaimedJob
    progress: float
    task: "asyncio.Task[None] | None" = None
    submission: Submission | None = None
    is_interrupted: bool = False
    ticked_at: float = 0.0
    held_back: Progress | None = None
    """The newest progress that came too soon after another: told when its time has come, or at the end."""


@dataclass(slots=True)
class _Tally:
    """What a run has done."""

    started: int = 0
    ended: dict[JobStatus, int] = field(default_factory=dict)


def _newer(held: Progress, progress: Progress) -> Progress:
    """A progress that takes the place of one that was not told; its preview stays until there is another."""
    kept = {PREVIEW: held.details[PREVIEW]} if PREVIEW in held.details else {}
    return Progress(progress.percent, {**kept, **progress.details})


class LaneRun:
    """One run of a lane. `run` is awaited once; `stop` may be called from any thread."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        plugin: BackendPlugin,
        *,
        run_id: str | None,
        report: Callable[[Finished], None],
        limits: Limits | None = None,
    ) -> None:
        self._database, self._settings, self._plugin = database, settings, plugin
        self._lane, self._run_id, self._holder = plugin.lane, run_id, new_holder()
        self._report = report
        self._limits = limits or Limits(timedelta(seconds=settings.lane_linger_seconds))
        self._running: dict[int, _Running] = {}
        self._updates: list[Update] = []
        self._previews: dict[int, str | None] = {}
        self._feed = Feed(plugin.kind, plugin.name)
        self._tally = _Tally()
        self._is_stopping = self._is_lost = self._is_leaving = False
        self._heir_wanted = False
        self._ended_watch = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._background: list[asyncio.Task[None]] = []

    @property
    def started(self) -> int:
        """How many jobs it has started."""
        return self._tally.started

    @property
    def ended(self) -> dict[str, int]:
        """How many attempts ended in which status."""
        return {status.value: number for status, number in self._tally.ended.items()}

    def stop(self) -> None:
        """Ask the run to end: what is at work has seconds to finish, the rest is given back."""
        self._is_stopping = True
        self._wake_soon()

    def _wake_soon(self) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(self._wake.set)

    async def run(self) -> Ending:
        """Work until there is nothing left to do, somebody takes over, or somebody asks to stop."""
        self._wake, self._to_write = asyncio.Event(), asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="lane-database")
        try:
            if not await self._take():
                return Ending.HELD
            backend = self._plugin.open(self._settings)
            try:
                return await self._work(backend)
            finally:
                await backend.close()
        finally:
            self._writer.shutdown()

    # The lane.

    async def _take(self) -> bool:
        """Become the run of the lane; an heir waits until it is left to it."""
        while not self._is_stopping:
            taken = await self._write(
                lambda connection: jobs.take_lane(
                    connection, self._lane, self._plugin.kind.value, self._holder, self._run_id
                )
            )
            if taken is TakenLane.TAKEN:
                await self._write(lambda connection: jobs.give_back_others(connection, self._lane, self._holder))
                return True
            if taken is TakenLane.HELD:
                return False
            await asyncio.sleep(_HEIR_POLL_SECONDS)
        return False

    async def _work(self, backend: Backend) -> Ending:
        began = self._idle_since = time.monotonic()
        self._background = [asyncio.create_task(self._beat(began)), asyncio.create_task(self._keep_writing())]
        for task in self._background:
            task.add_done_callback(lambda _: self._wake.set())
        try:
            with self._watching():
                return await self._work_until_left(backend)
        finally:
            await self._give_up()
            for task in self._background:
                task.cancel()
            await asyncio.gather(*self._background, return_exceptions=True)

    async def _work_until_left(self, backend: Backend) -> Ending:
        while True:
            self._wake.clear()
            for task in self._background:
                if task.done() and (error := task.exception()) is not None:
                    raise error
            if self._is_lost:
                return Ending.LOST
            if self._is_stopping:
                return Ending.STOPPED
            await self._interrupt_cancelled()
            if self._is_leaving:
                if not self._running and not self._updates:
                    return Ending.RELIEVED
                await self._rest(_IDLE_POLL_SECONDS)
                continue
            seen = await self._read(lambda connection: jobs.look(connection, self._lane))
            if seen.is_due and len(self._running) < self._plugin.concurrency:
                await self._start_jobs(backend)
                continue
            if self._running or self._updates or seen.due_in is not None:
                self._idle_since = time.monotonic()
                due_in = _IDLE_POLL_SECONDS if seen.due_in is None else seen.due_in.total_seconds()
                await self._rest(min(_IDLE_POLL_SECONDS, max(0.01, due_in)))
            elif self._idle_left() > 0:
                await self._rest(min(_IDLE_POLL_SECONDS, self._idle_left()))
            elif await self._leave(seen.wanted):
                return Ending.IDLE

    def _idle_left(self) -> float:
        return self._limits.linger.total_seconds() - (time.monotonic() - self._idle_since)

    async def _leave(self, wanted: int) -> bool:
        rows = self._feed.flush()

        def leave(connection: Connection) -> bool:
            if rows:
                connection.execute(insert(Activity), rows)
            return jobs.release_lane(connection, self._lane, self._holder, wanted=wanted)

        return await self._write(leave)

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _beat(self, began: float) -> None:
        while True:
            age = timedelta(seconds=time.monotonic() - began)
            if age >= self._limits.max_age or self._tally.started >= self._limits.max_jobs:
                self._heir_wanted = True
            if not await self._write(self._beat_once):
                self._is_lost = True
                self._wake.set()
                return
            if self._heir_wanted and await self._read(lambda connection: jobs.has_heir(connection, self._lane)):
                self._is_leaving = True
                self._wake.set()
            await asyncio.sleep(min(HEARTBEAT.total_seconds(), 0.5 if self._heir_wanted else 60))

    def _beat_once(self, connection: Connection) -> bool:
        rows = self._feed.due()
        if rows:
            connection.execute(insert(Activity), rows)
        until = None if self._running else utc_now() + timedelta(seconds=max(0.0, self._idle_left()))
        return jobs.beat(connection, self._lane, self._holder, linger_until=until, heir_wanted=self._heir_wanted)

    # Its jobs.

    async def _start_jobs(self, backend: Backend) -> None:
        room = self._plugin.concurrency - len(self._running)
        claimed = await self._write(
            lambda connection: jobs.claim(connection, self._lane, self._holder, self._run_id, limit=room)
        )
        for job in claimed:
            running = _Running(job, job.progress)
            self._running[job.pk] = running
            running.task = asyncio.create_task(self._do(backend, running))
        self._tally.started += len(claimed)

    async def _do(self, backend: Backend, running: _Running) -> None:
        job = running.job
        if job.mode != self._plugin.name:
            outcome = Outcome(JobStatus.FAILED, error=f"the mode {job.mode!r} is not one of this lane")
        else:
            outcome = await self._attempt(backend, running)
        status, error = outcome.status, outcome.error
        if status is JobStatus.PENDING and job.attempts >= job.max_attempts:
            status, error = JobStatus.FAILED, f"{error}, in attempt {job.attempts} of {job.max_attempts}"
        self._previews[job.pk] = outcome.preview
        self._tell_held_back(running)
        self._tell(Ended(job, status, outcome.result, error, outcome.retry_in))

    async def _attempt(self, backend: Backend, running: _Running) -> Outcome:
        try:
            params = await asyncio.to_thread(attached, running.job.params, self._settings.attachments_dir)
            running.submission = await backend.submit(replace(running.job, params=params))
            if running.is_interrupted:
                await running.submission.interrupt()
            async for progress in running.submission.events():
                self._tick(running, progress)
            return await running.submission.result()
        except asyncio.CancelledError:
            if running.is_interrupted and not self._is_stopping:
                return Outcome(JobStatus.CANCELLED, error="cancelled; the target did not stop when it was asked to")
            raise
        except AttachmentLostError as error:
            return Outcome(JobStatus.FAILED, error=str(error))
        except Exception as error:
            _log.exception("job %s: unexpected error", running.job.id)
            return Outcome(JobStatus.FAILED, error=f"unexpected {type(error).__name__}; the run's log has it")

    def _tick(self, running: _Running, progress: Progress) -> None:
        """Note progress, never falling, and a few times a second."""
        now = time.monotonic()
        running.progress = max(running.progress, min(100.0, progress.percent))
        if running.held_back is not None:
            running.held_back = _newer(running.held_back, progress)
        elif (early := running.ticked_at + 1 / TICKS_PER_SECOND - now) > 0:
            running.held_back = progress
            asyncio.get_running_loop().call_later(early, self._tell_held_back, running)
        else:
            self._tell_progress(running, progress)

    def _tell_progress(self, running: _Running, progress: Progress) -> None:
        running.ticked_at = time.monotonic()
        self._tell(Tick(running.job, round(running.progress, 2), progress.details))

    def _tell_held_back(self, running: _Running) -> None:
        """Tell the newest progress that came too soon, unless the end of the job took it along."""
        progress, running.held_back = running.held_back, None
        if progress is not None:
            self._tell_progress(running, progress)

    async def _interrupt_cancelled(self) -> None:
        waiting = [running for running in self._running.values() if not running.is_interrupted]
        if not waiting:
            return
        pks = [running.job.pk for running in waiting]
        for pk in await self._read(lambda connection: jobs.cancelled_among(connection, pks)):
            running = self._running.get(pk)
            if running is not None and running.task is not None:
                running.is_interrupted = True
                asyncio.get_running_loop().call_later(INTERRUPT_SECONDS, running.task.cancel)
                if running.submission is not None:
                    await running.submission.interrupt()

    # What is written.

    def _tell(self, update: Update) -> None:
        self._updates.append(update)
        self._to_write.set()

    async def _keep_writing(self) -> None:
        while True:
            await self._to_write.wait()
            await self._write_updates()

    async def _write_updates(self) -> None:
        self._to_write.clear()
        updates, self._updates = self._updates, []
        if not updates:
            return

        def write(connection: Connection) -> list[Update]:
            counted = jobs.update_jobs(connection, self._holder, updates)
            rows = self._feed.rows([each for each in counted if isinstance(each, Ended) and each.status.is_final])
            if rows:
                connection.execute(insert(Activity), rows)
            return counted

        counted = await self._write(write)
        for update in updates:
            if isinstance(update, Ended):
                self._running.pop(update.job.pk, None)
        for update in counted:
            if isinstance(update, Ended):
                self._note(update)
        self._wake.set()

    def _note(self, ended: Ended) -> None:
        self._tally.ended[ended.status] = self._tally.ended.get(ended.status, 0) + 1
        preview = self._previews.pop(ended.job.pk, None)
        seconds = (utc_now() - ended.job.created_at).total_seconds()
        self._report(Finished(ended, round(seconds, 3), preview))

    async def _give_up(self) -> None:
        """Let what is at work end, give back what does not, and leave the lane if that was not done."""
        tasks = [running.task for running in self._running.values() if running.task is not None]
        if tasks and not self._is_lost:
            await asyncio.wait(tasks, timeout=STOP_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._is_lost:
            return
        await self._write_updates()

        def leave(connection: Connection) -> None:
            rows = self._feed.flush()
            if rows:
                connection.execute(insert(Activity), rows)
            jobs.give_back(connection, jobs.in_flight_of(self._holder), "the run that worked on it was stopped")

        await self._write(leave)
        await self._write(lambda connection: jobs.release_lane(connection, self._lane, self._holder))

    # The database, from its thread.

    async def _read(self, action: Callable[[Connection], T]) -> T:
        def transaction() -> T:
            with self._database.read() as connection:
                return action(connection)

        return await self._ask(transaction)

    async def _write(self, action: Callable[[Connection], T]) -> T:
        def transaction() -> T:
            with self._database.write() as connection:
                return action(connection)

        return await self._ask(transaction)

    async def _ask(self, transaction: Callable[[], T]) -> T:
        """Run a transaction; a database that is away for a moment is asked again."""
        deadline = time.monotonic() + _DATABASE_PATIENCE
        while True:
            try:
                return await asyncio.get_running_loop().run_in_executor(self._writer, transaction)
            except (OperationalError, InterfaceError):
                if time.monotonic() > deadline:
                    raise
                _log.warning("the database does not answer; asked again in a second", exc_info=True)
                await asyncio.sleep(1)

    @contextmanager
    def _watching(self) -> Iterator[None]:
        """Wake up whenever something changes in the database."""
        thread = threading.Thread(target=self._watch, name="lane-watch", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended_watch.set()
            thread.join()

    def _watch(self) -> None:
        with ChangeWatch(self._database) as watch:
            while not self._ended_watch.is_set():
                if watch.wait(0.5):
                    self._wake_soon()
