"""The worker process as the lane has it: started when it is needed, spoken with, ended for certain.

Belongs here: the process and its lines. Does not: what they mean (`backend`).
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

import msgspec

_MAX_LINE: Final = 2**29
"""Of a line: the pictures of a generation in base64."""
_STDERR_LINES: Final = 30


class WorkerEnded(Exception):  # noqa: N818 - what happened
    """The process is gone; the message says how and what it said last."""


class Worker:
    """One process."""

    def __init__(self, *, offline: bool) -> None:
        self._offline = offline
        self._process: asyncio.subprocess.Process | None = None
        self._said: deque[str] = deque(maxlen=_STDERR_LINES)
        self._draining: asyncio.Task[None] | None = None

    async def send(self, kind: str, **members: Any) -> None:
        """Send a message; the process is started for it if there is none."""
        process = await self._running()
        assert process.stdin is not None
        with contextlib.suppress(ConnectionError):  # its end is told by `receive`
            process.stdin.write(msgspec.json.encode({"type": kind, **members}) + b"\n")
            await process.stdin.drain()

    async def receive(self) -> Mapping[str, Any]:
        """The next message.

        Raises:
            WorkerEnded: there is none.
        """
        assert self._process is not None
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if line.endswith(b"\n"):
            message: dict[str, Any] = msgspec.json.decode(line)
            return message
        code = await self._process.wait()
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        if self._draining is not None:
            await asyncio.wait({self._draining}, timeout=1)
        last = self._said[-1] if self._said else "nothing"
        await self.end()
        hint = " (out of memory, most likely)" if code == -signal.SIGKILL else ""
        raise WorkerEnded(f"the process that generates {how}{hint}; it said last: {last}")

    async def end(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        if self._draining is not None:
            self._draining.cancel()
            await asyncio.gather(self._draining, return_exceptions=True)

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is not None and self._process.returncode is None:
            return self._process
        await self.end()
        self._said.clear()
        extra = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"} if self._offline else {}
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pipelines.backends.diffusers.worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **extra, "TOKENIZERS_PARALLELISM": "false"},
            limit=_MAX_LINE,
            # A group of its own: Ctrl-C in a terminal ends the lane first, which then ends it.
            start_new_session=True,
        )
        assert self._process.stderr is not None
        self._draining = asyncio.create_task(self._drain(self._process.stderr))
        return self._process

    async def _drain(self, stream: asyncio.StreamReader) -> None:
        while line := await stream.readline():
            if text := line.decode("utf-8", "replace").strip():
                self._said.append(text[:500])
