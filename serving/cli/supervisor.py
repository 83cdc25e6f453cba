"""Keeps services alive: starts them in order, waits until they are ready, restarts what dies, stops everything.

Belongs here: the life of processes. Does not: which processes there are (`services`), what is said to the user about
them (the caller gives a function for that).
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from serving.cli.errors import CommandError
from serving.cli.processes import Identity, start, stop_groups, tail
from serving.cli.services import Service

STOP_PATIENCE = 15.0
"""Seconds a service has to end what it is doing; a run of Dagster marks itself as cancelled in that time."""

RESTART_DELAYS = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds before each restart; one death more within `RESTART_WINDOW` ends everything."""

RESTART_WINDOW = 300.0
FIRST_START_DELAYS = RESTART_DELAYS[:1]
"""The same for a service that never was ready: it is broken, not unlucky, and will not mend."""

LOG_LIMIT = 10 * 2**20
"""Bytes; a longer log is set aside. One old one is kept, so a service has at most twice that on disk."""

_LOG_LOOK_SECONDS = 10.0


@dataclass(slots=True)
class _Child:
    service: Service
    log: Path
    process: subprocess.Popen[bytes] | None = None
    identity: Identity | None = None
    started: float = 0.0
    ready: bool = False
    was_ready: bool = False
    deaths: list[float] = field(default_factory=list)
    restart_at: float | None = None


def _set_aside(log: Path) -> None:
    """Copy and empty: the service goes on writing to the file it has open, at its new end.

    Where there is no room for a copy the log is emptied all the same: what fills the disk must not be what says so.
    """
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        old = log.with_suffix(".log.1")
        try:
            shutil.copyfile(log, old)
        except OSError:
            old.unlink(missing_ok=True)
        os.truncate(log, 0)


def _opened(log: Path) -> IO[bytes]:
    """A log to write on, with a line that says when; nothing is kept where the disk takes no file.

    Unbuffered: what cannot be written now must not fail again when the log is closed.
    """
    try:
        opened = log.open("ab", buffering=0)
    except OSError:
        return Path(os.devnull).open("ab", buffering=0)
    with suppress(OSError):
        opened.write(f"--- started {time.strftime('%Y-%m-%d %H:%M:%S')} ---\n".encode())
    return opened


class Supervisor:
    """The running services. Its methods are called by one thread, `tick` several times a second."""

    def __init__(
        self,
        services: Sequence[Service],
        *,
        logs: Path,
        environment: Mapping[str, str],
        say: Callable[[str], None],
        changed: Callable[[dict[str, Identity]], None],
    ) -> None:
        """
        Args:
            logs: the folder of one log per service.
            environment: variables of every service.
            say: takes each line that a person should read.
            changed: takes the running processes whenever one is started.
        """
        logs.mkdir(parents=True, exist_ok=True)
        self._children = {service.name: _Child(service, logs / f"{service.name}.log") for service in services}
        self._environment = dict(environment)
        self._say = say
        self._changed = changed
        self._look_at_logs_at = 0.0

    @property
    def waiting_for(self) -> list[str]:
        """Titles of the services that are not ready yet."""
        return [child.service.title for child in self._children.values() if not child.ready]

    def tick(self) -> None:
        """Notice what died, start what is due, ask those not yet ready.

        Raises:
            CommandError: a service keeps dying; the message ends with its last words.
        """
        now = time.monotonic()
        if now >= self._look_at_logs_at:
            self._look_at_logs_at = now + _LOG_LOOK_SECONDS
            for child in self._children.values():
                _set_aside(child.log)
        for child in self._children.values():
            if child.process is not None and child.process.poll() is not None:
                self._bury(child, now)
            elif child.process is None and self._is_due(child, now):
                self._start(child)
            elif child.process is not None and not child.ready:
                child.ready = child.service.is_ready(child.started)
                child.was_ready = child.was_ready or child.ready

    def stop(self) -> None:
        """Stop every service with all it started, the last one first to be asked; none survives.

        A KeyboardInterrupt meanwhile ends them at once.
        """
        groups = [child.process.pid for child in reversed(self._children.values()) if child.process is not None]
        try:
            stop_groups(groups, patience=STOP_PATIENCE)
        except KeyboardInterrupt:
            stop_groups(groups, patience=0)
        for child in self._children.values():
            if child.process is not None:
                child.process.wait()
                child.process = None

    def _is_due(self, child: _Child, now: float) -> bool:
        if not all(self._children[before].ready for before in child.service.after):
            return False
        return child.restart_at is None or now >= child.restart_at

    def _start(self, child: _Child) -> None:
        # Whole seconds: Dagster's heartbeats are compared with it.
        child.started = float(int(time.time()))
        with _opened(child.log) as log:
            child.process = start(child.service.command, log=log, environment=self._environment)
        child.identity = Identity.of(child.process.pid)
        child.ready, child.restart_at = False, None
        running = {name: each.identity for name, each in self._children.items() if each.identity is not None}
        try:
            self._changed(running)
        except OSError as error:
            self._tell(f"what runs could not be noted, and a kill -9 would leave it behind: {error}")

    def _tell(self, line: str) -> None:
        # Standard error may be a file too.
        with suppress(OSError):
            self._say(line)

    def _bury(self, child: _Child, now: float) -> None:
        assert child.process is not None
        code = child.process.returncode
        stop_groups([child.process.pid], patience=2)
        child.process, child.identity, child.ready = None, None, False
        child.deaths = [*(death for death in child.deaths if now - death < RESTART_WINDOW), now]
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        last_words = tail(child.log)
        delays = RESTART_DELAYS if child.was_ready else FIRST_START_DELAYS
        if len(child.deaths) > len(delays):
            raise CommandError(
                f"the {child.service.title} {how}, {len(child.deaths)} times in {RESTART_WINDOW:.0f} seconds, so "
                f"everything stops. The end of {child.log}:\n{last_words}"
            )
        delay = delays[len(child.deaths) - 1]
        child.restart_at = now + delay
        self._tell(
            f"the {child.service.title} {how}; started again in {delay:g} s. The end of {child.log}:\n{last_words}"
        )
