"""Worker processes for what is pure computation: reading documents, deriving adapters.

Belongs here: starting, feeding and replacing workers. Does not: what they compute (`worker`). Workers are started by
their own command, not by multiprocessing, which would import the caller's main module (a whole Dagster) into each. A
worker ends when its standard input does, so none outlives a parent that was killed.
"""

import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import IO, Any, Final, Generic, TypeVar

import msgspec

from warehouse.ingest.calls import CALLS, Call, read_frame, write_frame
from warehouse.ingest.steps import Fault
from warehouse.settings import Settings

if sys.platform == "linux":
    import fcntl

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")

FEW: Final = 200
"""Tasks that are done before a worker would have started (0.3 s each)."""


def usable_cores() -> int:
    """How many processes can run at once."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


AHEAD: Final = 16
"""Batches per worker that are asked for ahead: more than are done while a commit of their predecessors is written."""
AHEAD_BYTES: Final = 32 * 2**20
"""Bytes of tasks under way at most, but for one batch per worker."""


_PIPE_BYTES: Final = 2**20
"""Of the pipe for answers, where the system allows it. A batch of them fits, so that a worker does not wait amid one
for a thread here to be given the interpreter, once for every 64 KiB."""


class WorkerDied(RuntimeError):  # noqa: N818 - an event of the worker, handled here
    """The worker ended while it worked on a batch."""


def _widen(pipe: IO[bytes]) -> None:
    if sys.platform == "linux":
        # A user's pipes may be too many already for wide ones.
        with suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


class _Worker:
    """One process and the pipe to it; one batch at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, call: Call, payload: bytes) -> bytes:
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            write_frame(process.stdin, bytes([call]) + payload)
            answer = read_frame(process.stdout)
        except (BrokenPipeError, OSError) as error:
            raise WorkerDied(self._obituary()) from error
        if answer is None:
            raise WorkerDied(self._obituary())
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "warehouse.ingest.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        assert self._process.stdout is not None
        _widen(self._process.stdout)
        return self._process

    def _obituary(self) -> str:
        assert self._process is not None
        code = self._process.wait()
        self._process = None
        return f"the worker process ended with {'signal' if code < 0 else 'code'} {abs(code)}"

    def close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        process.wait()


class Pool(Generic[TaskT, ResultT]):
    """Maps batches of tasks to results, in order, in this process or in several others."""

    def __init__(
        self,
        call: Call,
        settings: Settings,
        *,
        expected: int,
        failed: Callable[[TaskT, str], ResultT],
        weigh: Callable[[TaskT], int] = lambda _task: 0,
    ) -> None:
        """`expected` tasks decide whether processes are worth their start; `failed` makes the result of a task that
        raised, or that ended its worker: no task can stop the others; `weigh` gives the bytes of a task."""
        self._call = call
        self._function, self._tasks, self._results = CALLS[call]
        self._max_bytes = settings.max_document_bytes
        self._failed = failed
        self._weigh = weigh
        count = settings.ingest_workers or usable_cores()
        self._size = count if expected > FEW and count > 1 else 0
        self._idle: deque[_Worker] = deque(_Worker() for _ in range(self._size))
        self._guard = threading.Lock()

    def map(self, batches: Iterable[Sequence[TaskT]]) -> Iterator[list[ResultT]]:
        """The results of each batch, in the order of the batches, of which a bounded number is under way."""
        if not self._size:
            for batch in batches:
                yield self._here(batch)
            return
        with ThreadPoolExecutor(self._size) as threads:
            under_way: deque[tuple[Future[bytes | list[ResultT]], Sequence[TaskT], int]] = deque()
            size = 0
            try:
                for batch in batches:
                    weight = sum(map(self._weigh, batch))
                    under_way.append((threads.submit(self._away, batch), batch, weight))
                    size += weight
                    while len(under_way) > AHEAD * self._size or (size > AHEAD_BYTES and len(under_way) > self._size):
                        future, asked, weight = under_way.popleft()
                        size -= weight
                        yield self._decoded(asked, future.result())
                while under_way:
                    future, asked, _ = under_way.popleft()
                    yield self._decoded(asked, future.result())
            finally:
                for future, _, _ in under_way:
                    future.cancel()
                threads.shutdown(wait=True)
                for worker in self._idle:
                    worker.close()

    def _here(self, batch: Sequence[TaskT]) -> list[ResultT]:
        results = self._function(batch, self._max_bytes)
        return [
            self._failed(task, result.message) if isinstance(result, Fault) else result
            for task, result in zip(batch, results, strict=True)
        ]

    def _away(self, batch: Sequence[TaskT]) -> bytes | list[ResultT]:
        """The answer as it came through the pipe, for its objects take several times the memory while they wait."""
        with self._guard:
            worker = self._idle.popleft()
        try:
            return self._ask(worker, batch)
        except WorkerDied:
            return self._one_by_one(worker, batch)
        finally:
            with self._guard:
                self._idle.append(worker)

    def _one_by_one(self, worker: _Worker, batch: Sequence[TaskT]) -> list[ResultT]:
        results: list[ResultT] = []
        for task in batch:
            try:
                results.extend(self._decoded([task], self._ask(worker, [task])))
            except WorkerDied as death:
                results.append(self._failed(task, str(death)))
        return results

    def _ask(self, worker: _Worker, batch: Sequence[TaskT]) -> bytes:
        payload: Any = (self._max_bytes, list(batch))
        return worker.ask(self._call, msgspec.msgpack.encode(payload))

    def _decoded(self, batch: Sequence[TaskT], answer: bytes | list[ResultT]) -> list[ResultT]:
        if isinstance(answer, list):
            return answer
        answers = msgspec.msgpack.decode(answer, type=list[self._results | str])  # type: ignore[name-defined]
        return [
            self._failed(task, answer) if isinstance(answer, str) else answer
            for task, answer in zip(batch, answers, strict=True)
        ]
