"""One listener: what it asked for, and a bounded queue of what it has not been sent yet.

Belongs here: filtering and queueing, without a connection. A listener that does not keep up loses ticks that a newer
one makes worthless, never the end of a job; one that falls behind all the same is given up.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from serving.live.messages import Message

_Key = tuple[int, str, str]


class TooSlowError(RuntimeError):
    """The listener does not read what it is sent."""


class Listener:
    """A queue between the hub and one connection. For the event loop's thread alone."""

    MOST: Final = 2_000
    """Messages that wait: some minutes of a busy queue, a few MB."""
    MOST_JOBS: Final = 10_000
    """Ids that one listener can wait for."""

    def __init__(self) -> None:
        self._jobs: set[str] | None = None
        self._queue: OrderedDict[_Key, Message] = OrderedDict()
        self._ticks: dict[tuple[str, str | None], _Key] = {}
        self._number = 0
        self._due = asyncio.Event()
        self._overflowed = False
        self.is_catching_up = False
        """While it is sent what happened before: the hub leaves it alone, the rows have everything."""
        self.position = 0
        """Number of the last event that it has been handed."""

    def wants(self, job_id: str | None) -> bool:
        """Whether it asked for messages of a job; those of no job are for everybody."""
        return job_id is None or self._jobs is None or job_id in self._jobs

    def subscribe(self, job_ids: Iterable[str] | None) -> list[str] | None:
        """Wait for these jobs as well; None: for all. Returns what it waits for now, None for all.

        Raises:
            ValueError: that would be too many.
        """
        if job_ids is None:
            self._jobs = None
            return None
        jobs = (self._jobs or set()) | set(job_ids)
        if len(jobs) > self.MOST_JOBS:
            raise ValueError(f"one connection waits for at most {self.MOST_JOBS:,} jobs: subscribe to all instead")
        self._jobs = jobs
        return sorted(jobs)

    def unsubscribe(self, job_ids: Iterable[str] | None) -> list[str] | None:
        """Wait for these no longer; None: for nothing. One that waits for all has no single ones to give up."""
        if job_ids is None:
            self._jobs = set()
        elif self._jobs is not None:
            self._jobs -= set(job_ids)
        return None if self._jobs is None else sorted(self._jobs)

    def put(self, message: Message) -> None:
        """Queue a message, if it is for this listener."""
        if self._overflowed or not self.wants(message.job_id):
            return
        same = (message.type, message.job_id)
        if message.is_tick and (stale := self._ticks.pop(same, None)) is not None:
            self._queue.pop(stale, None)
        if len(self._queue) >= self.MOST:
            self._overflowed = True
            self.forget()
        else:
            self._number += 1
            key = (self._number, message.type, message.job_id or "")
            self._queue[key] = message
            if message.is_tick:
                self._ticks[same] = key
        self._due.set()

    def wake(self) -> None:
        """Let `get` return although there is no message: its caller has something else to do."""
        self._due.set()

    def forget(self) -> None:
        """Drop what waits: whoever catches up is sent it from the rows."""
        self._queue.clear()
        self._ticks.clear()

    async def get(self, seconds: float) -> Message | None:
        """The next message, waiting at most so long; None where none came.

        Raises:
            TooSlowError: it fell behind; what was queued is gone.
        """
        if not self._queue and not self._overflowed:
            self._due.clear()
            try:
                await asyncio.wait_for(self._due.wait(), seconds)
            except TimeoutError:
                return None
        if self._overflowed:
            raise TooSlowError(f"more than {self.MOST:,} messages wait to be read: connect again and read faster")
        if not self._queue:
            return None
        key, message = self._queue.popitem(last=False)
        if self._ticks.get((message.type, message.job_id)) == key:
            del self._ticks[message.type, message.job_id]
        return message
