"""Messages as the bytes that are sent, each made once however many listeners it goes to, and how many of the large ones
are on their way at once.

Belongs here: what keeps memory bounded when one generation with large pictures ends before hundreds of listeners. Does
not: who gets which message (`listener`), connections (`serving.routers.live`).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from weakref import WeakValueDictionary

import msgspec
from fastapi.concurrency import run_in_threadpool

from serving.live.messages import Message
from serving.results import Results
from warehouse.engine import Database
from warehouse.queries import jobs

_encode = msgspec.json.Encoder().encode


class Texts:
    """Makes the texts of messages. For the event loop's thread alone."""

    def __init__(self, database: Database, results: Results) -> None:
        self._database = database
        self._results = results
        # An end with its pictures is megabytes: it lives as long as somebody is being sent it.
        self._making: WeakValueDictionary[str, asyncio.Task[bytes]] = WeakValueDictionary()

    async def of(self, message: Message) -> bytes:
        """The text of a message, with the result of its job where it needs it."""
        if not message.needs_result or message.job_id is None:
            return _encode(message.content())
        key = f"{message.job_id} {message.seq}"
        making = self._making.get(key)
        if making is None:
            making = asyncio.create_task(run_in_threadpool(self._with_result, message, message.job_id))
            self._making[key] = making
        # Whoever asked first may go away: the others still want it.
        return await asyncio.shield(making)

    def _with_result(self, message: Message, job_id: str) -> bytes:
        return _encode(message.content() | {"result": self._result_of(job_id)})

    def _result_of(self, job_id: str) -> dict[str, Any] | None:
        with self._database.read() as connection:
            row = jobs.get(connection, job_id)
        return self._results.shown(row) if row is not None else None


class Room:
    """How many bytes may be on their way to listeners at once; what does not fit waits for those before it."""

    BYTES: Final = 128 * 2**20
    SMALL: Final = 64 * 2**10
    """What is no larger needs no room: a connection's buffer takes it whole."""

    def __init__(self, size: int = BYTES) -> None:
        self._size = self._free = size
        self._changed = asyncio.Event()

    @property
    def free(self) -> int:
        """Bytes."""
        return self._free

    @asynccontextmanager
    async def taken(self, number: int) -> AsyncIterator[None]:
        """Room for so many bytes, for a block; what is larger than all of it has all of it."""
        wanted = min(number, self._size)
        while self._free < wanted:
            self._changed.clear()
            await self._changed.wait()
        self._free -= wanted
        try:
            yield
        finally:
            self._free += wanted
            self._changed.set()
