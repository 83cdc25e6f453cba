"""The tail of the events, once per process, and its listeners.

A thread waits for changes of jobs (PostgreSQL says so, SQLite is asked fifty times a second); the event loop then
reads the new events once and hands their messages to every listener. It starts with the first listener.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Final

from fastapi.concurrency import run_in_threadpool
from sqlalchemy.exc import SQLAlchemyError

from serving.live.listener import Listener
from serving.live.messages import Message, Translator
from warehouse.engine import Database
from warehouse.jobs import ChangeWatch, JobStatus
from warehouse.models import utc_now
from warehouse.queries import jobs

_PAGE: Final = 500
_LOOK_SECONDS: Final = 1.0
"""The rows are looked at this often although nothing seemed to change."""
_COUNTS_SECONDS: Final = 0.25
"""How long a change of the queue may wait to be told: a thousand deliveries are no thousand messages."""
_log = logging.getLogger(__name__)


class Hub:
    """Hands events to listeners. Methods are for the event loop's thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listeners: set[Listener] = set()
        self._translator = Translator()
        self._position = 0
        self._changed = asyncio.Event()
        self._stopping = threading.Event()
        self._starting = asyncio.Lock()
        self._thread: threading.Thread | None = None
        self._task: asyncio.Task[None] | None = None
        self._counts: dict[str, int] = {}

    @property
    def position(self) -> int:
        """Number of the last event that was handed out."""
        return self._position

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Listener]:
        """A listener of what happens from now on."""
        await self._start()
        listener = Listener()
        listener.position = self._position
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    async def known(self, after: int) -> int:
        """A number from outside as one that an event has by now: a higher one would make a listener deaf until then.

        Whoever confirms a subscription asks this first: what happens after the confirmation comes behind the number.
        """
        return min(after, await run_in_threadpool(self._last))

    async def earlier(self, listener: Listener, after: int) -> AsyncIterator[Message]:
        """What a listener missed since a known event, then nothing between that and what it gets from now on.

        The listener is left alone by the hub meanwhile: nothing queues up however long the past is.
        """
        listener.is_catching_up = True
        listener.forget()
        translator = Translator()
        position = after
        try:
            while True:
                told = self._position
                page = await run_in_threadpool(self._read, position)
                for event in page:
                    position = event.seq
                    for message in translator.messages(event):
                        if listener.wants(message.job_id):
                            yield message
                # From here to the end of the block nothing else runs in this thread, so no event comes between.
                if not page and position >= self._position:
                    listener.position = position
                    return
                if not page:
                    # What had been told before this look and is not in it was pruned; what was told since may be there.
                    position = max(position, told)
        finally:
            listener.is_catching_up = False

    async def close(self) -> None:
        """Stop following."""
        self._stopping.set()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._thread is not None:
            await run_in_threadpool(self._thread.join)

    async def _start(self) -> None:
        async with self._starting:
            if self._task is not None:
                return
            self._position = await run_in_threadpool(self._last)
            loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._watch, args=(loop,), name="job events", daemon=True)
            self._thread.start()
            self._task = asyncio.create_task(self._follow())

    def _last(self) -> int:
        with self._database.read() as connection:
            return jobs.last_seq(connection)

    def _read(self, after: int) -> list[jobs.EventRow]:
        with self._database.read() as connection:
            return jobs.events_after(connection, after, limit=_PAGE)

    def _count(self) -> dict[str, int]:
        with self._database.read() as connection:
            counted = jobs.counts_by_status(connection)
        return {"queued": counted[JobStatus.PENDING.value], "running": counted[JobStatus.RUNNING.value]}

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        with ChangeWatch(self._database) as watch:
            while not self._stopping.is_set():
                watch.wait(_LOOK_SECONDS)
                # The loop may have been closed since.
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(self._changed.set)

    async def _follow(self) -> None:
        counted_at = 0.0
        loop = asyncio.get_running_loop()
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                while page := await run_in_threadpool(self._read, self._position):
                    self._hand_out(page)
                if loop.time() - counted_at >= _COUNTS_SECONDS:
                    counted_at = loop.time()
                    await self._tell_counts()
                else:
                    loop.call_later(_COUNTS_SECONDS, self._changed.set)
            except SQLAlchemyError:
                # The rows wait: the next look finds them.
                _log.exception("events of jobs cannot be read; trying again")
                await asyncio.sleep(_LOOK_SECONDS)
                self._changed.set()

    def _hand_out(self, page: list[jobs.EventRow]) -> None:
        for event in page:
            self._position = event.seq
            for message in self._translator.messages(event):
                self._put(message)

    def _put(self, message: Message) -> None:
        for listener in self._ready():
            if message.seq > listener.position or message.job_id is None:
                listener.put(message)

    def _ready(self) -> Iterator[Listener]:
        return (listener for listener in list(self._listeners) if not listener.is_catching_up)

    async def _tell_counts(self) -> None:
        counts = await run_in_threadpool(self._count)
        if counts != self._counts:
            self._counts = counts
            self._put(Message("queue_update", self._position, utc_now(), dict(counts), is_tick=True))
