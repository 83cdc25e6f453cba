"""How a run tells how far it is: lines in Dagster's log, or bars on the terminal of the person who waits.

Belongs here: what implements the `Progress` that functions of `warehouse` report to. Does not: what is counted.
"""

import time
from collections.abc import Callable
from logging import Logger
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich import progress as rich_progress

    from warehouse.ingest.progress import Progress

_LOG_EVERY_SECONDS = 5.0
"""Each line is a row of Dagster's event log, so a long stage writes few of them."""


Reporter = Callable[[str, Logger], "Progress"]
"""Makes the progress of one stage: (label of the stage, log of the run)."""


def _remaining(done: int, total: int, seconds: float) -> str:
    rate = done / seconds if seconds > 0 else 0.0
    left = f", {(total - done) / rate:,.0f} s left" if rate and total else ""
    return f"{rate:,.0f}/s{left}"


class LogProgress:
    """Progress as lines of the run's log, at most one in five seconds."""

    def __init__(self, label: str, log: Logger) -> None:
        self._label, self._log = label, log
        self._total, self._unit, self._done = 0, "", 0
        self._started = self._said = time.monotonic()

    def start(self, total: int | None, unit: str) -> None:
        """Begin a count; a stage of several parts begins several."""
        self._total, self._unit, self._done = total or 0, unit, 0
        self._started = self._said = time.monotonic()
        if total:
            self._log.info("%s: %s %s to do", self._label, f"{total:,}", unit)

    def advance(self, amount: int = 1) -> None:
        """Count, and say so when the last line is old enough."""
        self._done += amount
        now = time.monotonic()
        if now - self._said >= _LOG_EVERY_SECONDS:
            self._said = now
            of = f" of {self._total:,}" if self._total else ""
            self._log.info(
                "%s: %s%s %s (%s)",
                self._label,
                f"{self._done:,}",
                of,
                self._unit,
                _remaining(self._done, self._total, now - self._started),
            )


class LineProgress:
    """Progress as plain lines, for standard error that is no terminal: the begin of a stage and every ten seconds."""

    _EVERY_SECONDS = 10.0

    def __init__(self, label: str, write: Callable[[str], None]) -> None:
        self._label, self._write = label, write
        self._total, self._unit, self._done = 0, "", 0
        self._started = self._said = time.monotonic()

    def start(self, total: int | None, unit: str) -> None:
        """Begin a count."""
        self._total, self._unit, self._done = total or 0, unit, 0
        self._started = self._said = time.monotonic()
        if total:
            self._write(f"{self._label}: {total:,} {unit}")

    def advance(self, amount: int = 1) -> None:
        """Count, and say so every ten seconds."""
        self._done += amount
        now = time.monotonic()
        if now - self._said >= self._EVERY_SECONDS:
            self._said = now
            rate = _remaining(self._done, self._total, now - self._started)
            self._write(f"{self._label}: {self._done:,} of {self._total or '?'} {self._unit} ({rate})")


class BarProgress:
    """Progress as a bar of a shared live display."""

    def __init__(self, display: "rich_progress.Progress", label: str) -> None:
        self._display, self._label = display, label
        self._task: rich_progress.TaskID | None = None

    def start(self, total: int | None, unit: str) -> None:
        """Begin a bar; the bar of the part before it ends full."""
        if total == 0:
            return
        self._task = self._display.add_task(f"{self._label} [dim]{unit}", total=total, rate="")

    def advance(self, amount: int = 1) -> None:
        """Move the bar."""
        if self._task is None:
            return
        self._display.advance(self._task, amount)
        # Rich's own speed is blank until a second report, which a short stage never makes.
        task = self._display.tasks[self._task]
        rate = f"{task.completed / task.elapsed:,.0f}/s" if task.elapsed else ""
        self._display.update(self._task, rate=rate)
