"""The whole system as a user starts it: real processes in a fresh data folder, on free ports."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import httpx
import psutil
import pytest

READY = "Ctrl-C stops everything."


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@dataclass
class Up:
    """One `lora-manager up` on a data folder; it can be started again after it was stopped."""

    data: Path
    output: Path
    arguments: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    dagster_port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start it and wait until it says that it is ready."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LORA_MANAGER_")}
        with self.output.open("wb") as output:
            self.process = self._popen(output, kept)
        self.until(lambda: READY in self.text(), within=240)

    def _popen(self, output: IO[bytes], environment: dict[str, str]) -> "subprocess.Popen[bytes]":
        ports = ("--port", str(self.port), "--dagster-port", str(self.dagster_port))
        command = (sys.executable, "-m", "serving.cli.main", "up", "--data", str(self.data), *ports, *self.arguments)
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=self.data.parent,
            # As from a terminal, also where the tests themselves run under nohup, which `up` would respect.
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
        )

    def text(self) -> str:
        return self.output.read_text(encoding="utf-8")

    def until(self, condition: Callable[[], bool], *, within: float) -> None:
        """Wait for something; fail with everything that was printed when it does not come or the process ends."""
        assert self.process is not None
        deadline = time.monotonic() + within
        while not condition():
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.text()}"
            assert time.monotonic() < deadline, f"nothing after {within} s:\n{self.text()}\n{self.logs()}"
            time.sleep(0.1)

    def logs(self) -> str:
        return "\n".join(f"== {log.name}\n{log.read_text()[-2000:]}" for log in sorted(self.data.glob("logs/*.log")))

    def processes(self) -> list[psutil.Process]:
        """Every living process that works on the data folder, `up` itself not counted."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("LORA_MANAGER_DATA_DIR") == str(self.data) and process.status() != "zombie":
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def stop(self, number: signal.Signals) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout=60)

    @property
    def api(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60, trust_env=False)


@pytest.fixture
def make_up(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    """Makes systems; whatever a test leaves running is ended."""
    made: list[Up] = []

    def make(*arguments: str) -> Up:
        made.append(Up(tmp_path / "data", tmp_path / f"up-{len(made)}.log", arguments))
        return made[-1]

    yield make
    for up in made:
        if up.process is not None and up.process.poll() is None:
            up.process.terminate()
            try:
                up.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                up.process.kill()
                up.process.wait()
        for process in up.processes():
            process.kill()
