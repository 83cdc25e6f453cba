"""Runs of the pipeline as a process of its own, shown in this terminal.

The pipelines are another program to the command line: `python -m pipelines.run` is its whole interface.
"""

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from serving.cli.errors import CommandError
from serving.cli.processes import start, stop_groups, stop_signals


class _Attended:
    """A run with somebody at the terminal: the first request to stop becomes its Ctrl-C, which cancels it cleanly; a
    second one ends it at once. A request that comes before the process does is kept for it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._asked = False

    def start(self, command: Sequence[str]) -> "subprocess.Popen[bytes]":
        self._process = start(command)
        if self._asked:
            self._process.send_signal(signal.SIGINT)
        return self._process

    def stop(self, _number: int, _frame: FrameType | None) -> None:
        if self._process is not None and self._process.poll() is None:
            if self._asked:
                stop_groups([self._process.pid], patience=0)
            else:
                self._process.send_signal(signal.SIGINT)
        self._asked = True

    def clear_up(self) -> None:
        """End what the run started and left behind: it must not outlive it."""
        if self._process is not None:
            stop_groups([self._process.pid], patience=2)


@contextmanager
def _attended() -> Iterator[_Attended]:
    run = _Attended()
    before = {number: signal.signal(number, run.stop) for number in stop_signals()}
    try:
        yield run
    finally:
        run.clear_up()
        for number, handler in before.items():
            signal.signal(number, handler)


def prepare_dagster_home() -> None:
    """Have the pipelines write the configuration that Dagster's processes read.

    Raises:
        CommandError: they could not; the message ends with their last words.
    """
    made = subprocess.run([sys.executable, "-m", "pipelines.instance"], capture_output=True, text=True, check=False)
    if made.returncode:
        last_words = made.stderr.strip().rpartition("\n")[2]
        raise CommandError(f"Dagster's home could not be made ready: {last_words}")


def run_job(job: str, arguments: Sequence[str] = ()) -> int:
    """Run a job to its end, its progress and answers on our own outputs.

    Returns:
        Its exit code: 0 when every good file went in, 75 when another run is at work, 128 + n after signal n.
    """
    with _attended() as run:
        code = run.start((sys.executable, "-m", "pipelines.run", job, *arguments)).wait()
    return code if code >= 0 else 128 - code
