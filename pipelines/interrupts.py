"""Interrupts that cannot get lost: a person's Ctrl-C, or the SIGTERM of a supervisor, ends an attended run.

Dagster turns the signal into an exception wherever the program happens to be; raised inside a callback of the garbage
collector Python prints and forgets it. The interpreter also writes each signal to a socket of ours, whoever handles
it, so the next report of progress ends the run all the same.
"""

import contextlib
import signal
import socket
import sys
from logging import Logger
from types import TracebackType
from typing import Self

import dagster as dg

from pipelines.progress import Reporter
from warehouse.ingest.progress import Progress

_ENDING = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Notices signals that ask for the end, from when the block is entered. For the main thread only."""

    def __init__(self) -> None:
        self._asked = False

    def __enter__(self) -> Self:
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        self._previous = signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        # SIGTERM takes the way of Ctrl-C, which Dagster handles.
        self._handler = signal.signal(signal.SIGTERM, lambda _number, _frame: signal.raise_signal(signal.SIGINT))
        self._hook = sys.unraisablehook
        sys.unraisablehook = self._unraisable
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        sys.unraisablehook = self._hook
        signal.signal(signal.SIGTERM, self._handler)
        signal.set_wakeup_fd(self._previous)
        self._read.close()
        self._write.close()

    def _unraisable(self, ignored: "sys.UnraisableHookArgs") -> None:
        """An interrupt that Python had to forget is not lost, so there is nothing to tell about it."""
        if not isinstance(ignored.exc_value, (dg.DagsterExecutionInterruptedError, KeyboardInterrupt)):
            self._hook(ignored)

    @property
    def asked(self) -> bool:
        """Whether the end has been asked for."""
        with contextlib.suppress(BlockingIOError):
            self._asked |= any(number in _ENDING for number in self._read.recv(64))
        return self._asked

    def guard(self, reporter: Reporter) -> Reporter:
        """A reporter whose progress raises `DagsterExecutionInterruptedError` once the end is asked for."""

        def guarded(label: str, log: Logger) -> Progress:
            return _Guarded(reporter(label, log), self)

        return guarded


class _Guarded:
    def __init__(self, progress: Progress, interrupts: Interrupts) -> None:
        self._progress, self._interrupts = progress, interrupts

    def start(self, total: int | None, unit: str) -> None:
        self._progress.start(total, unit)
        self._raise_if_asked()

    def advance(self, amount: int = 1) -> None:
        self._progress.advance(amount)
        self._raise_if_asked()

    def _raise_if_asked(self) -> None:
        if self._interrupts.asked:
            raise dg.DagsterExecutionInterruptedError
