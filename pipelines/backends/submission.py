"""A submission whose work is one task of ours: what every backend that follows a target has in common.

Belongs here: the life of that task. Does not: what it does.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from typing import Any, Final

from warehouse.backends import Outcome, Progress
from warehouse.generating import PREVIEW
from warehouse.jobs import ClaimedJob

PACE_SECONDS: Final = 0.25
"""Between two events: the lane drops what comes faster than it writes, and a preview must not be among that."""


class TaskSubmission(ABC):
    """A job at work. `_work` does it, tells how far it is by `_tell`, and stops soon after `_stop` is set."""

    def __init__(self, job: ClaimedJob) -> None:
        self._job = job
        self._stop = asyncio.Event()
        self._newest: Progress | None = None
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._work())
        self._task.add_done_callback(lambda _: self._news.set())

    @property
    def id(self) -> str:
        """The job's own."""
        return self._job.id

    @property
    def is_over(self) -> bool:
        """Whether the work has ended."""
        return self._task.done()

    async def events(self) -> AsyncIterator[Progress]:
        """Progress until the work ends, a few times a second; who reads slowly gets the newest."""
        while True:
            await self._wait(self._news.wait())
            self._news.clear()
            newest, self._newest = self._newest, None
            if newest is not None:
                yield newest
            if self._task.done():
                return
            await self._wait(asyncio.wait({self._task}, timeout=PACE_SECONDS))

    async def _wait(self, what: Awaitable[Any]) -> None:
        try:
            await what
        except asyncio.CancelledError:
            await self._abandon()
            raise

    async def result(self) -> Outcome:
        """The outcome of the work."""
        try:
            return await asyncio.shield(self._task)
        except asyncio.CancelledError:
            await self._abandon()
            raise

    async def interrupt(self) -> None:
        """Ask the work to stop."""
        self._stop.set()

    async def _abandon(self) -> None:
        """The lane itself is stopped: nothing of the work may outlive it."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def _tell(self, progress: Progress) -> None:
        before = self._newest.details if self._newest is not None else {}
        if PREVIEW in before and PREVIEW not in progress.details:
            progress = replace(progress, details={**progress.details, PREVIEW: before[PREVIEW]})
        self._newest = progress
        self._news.set()

    @abstractmethod
    async def _work(self) -> Outcome:
        """Do the job; errors of the target are outcomes."""
