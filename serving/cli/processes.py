"""Child processes in process groups of their own: started, asked to stop, and if need be ended, with all they started.

A group is the unit because the children of children (a run of Dagster, a worker of an import) must go with them. A
process is known by its number and its start time, since numbers are used again.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from warehouse.processes import started

POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Identity:
    """A process that cannot be confused with a later one of the same number."""

    pid: int
    started: str
    """As `warehouse.processes` tells it: not by the clock, which may be set."""

    @classmethod
    def of(cls, pid: int) -> "Identity":
        """The identity of a process that this one started and has not waited for."""
        return cls(pid, started(pid) or "")

    def is_alive(self) -> bool:
        """Whether this very process still runs."""
        return started(self.pid) == self.started


def stop_signals() -> tuple[signal.Signals, ...]:
    """The signals that ask us to stop. Under nohup a closed terminal is no such request."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return (signal.SIGINT, signal.SIGTERM)
    return (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def _heard_by_children() -> Iterator[None]:
    """What we ignore a child ignores too: a shell that starts us in the background ignores SIGINT for us, Dagster then
    takes its SIGTERM from there, and nothing but SIGKILL would stop it."""
    ignored = [each for each in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(each) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)


def start(
    command: Sequence[str], *, log: IO[bytes] | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a command as the leader of a new process group, without standard input.

    Args:
        log: takes both outputs; None leaves them where ours go.
        environment: variables beside our own.

    A group of its own keeps Ctrl-C, which a terminal sends to the whole foreground group, with us: we decide who stops
    when.
    """
    with _heard_by_children():
        return subprocess.Popen(  # noqa: S603 - commands are ours, never a user's text
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT if log is not None else None,
            env={**os.environ, **(environment or {})},
            process_group=0,
        )


def members(group: int) -> list[psutil.Process]:
    """The living processes of a group."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (OSError, psutil.Error):
            continue
    return found


def _signal(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


def stop_groups(groups: Iterable[int], *, patience: float) -> list[int]:
    """Ask every process of the groups to stop, wait, and end those that do not.

    Args:
        patience: seconds before the processes that are left are killed.

    Returns:
        The groups of which something had to be killed.
    """
    left = list(groups)
    for group in left:
        _signal(group, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while left and time.monotonic() < deadline:
        left = [group for group in left if members(group)]
        time.sleep(POLL_SECONDS)
    for group in left:
        _signal(group, signal.SIGKILL)
    return left


def tail(path: Path, lines: int = 12) -> str:
    """The last lines of a log, at most 8 KiB of them."""
    try:
        with path.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - 8192))
            text = log.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
