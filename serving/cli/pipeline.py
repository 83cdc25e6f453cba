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
from serving.cli.processes import start, stop_groups

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def _passing_on(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """The first request to stop becomes the run's Ctrl-C, which cancels it cleanly; a second one ends it at once."""
    asked = False

    def pass_on(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            stop_groups([process.pid], patience=0)
        elif process.poll() is None:
            process.send_signal(signal.SIGINT)
        asked = True

    before = {number: signal.signal(number, pass_on) for number in _STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        # Whatever the run started and left behind must not outlive it.
        stop_groups([process.pid], patience=2)


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
    process = start((sys.executable, "-m", "pipelines.run", job, *arguments))
    with _passing_on(process):
        code = process.wait()
    return code if code >= 0 else 128 - code
