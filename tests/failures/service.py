"""The API as a process of its own on a data folder, for tests that break it or what it stands on."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.platform.conftest import free_port
from tests.programs import ROOT


def environment(data: Path, **variables: str) -> dict[str, str]:
    """The environment of a process on a data folder: nothing of the caller's settings gets in."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LORA_MANAGER_")}
    return {**kept, "LORA_MANAGER_DATA_DIR": str(data), "LORA_MANAGER_DAGSTER_URL": "http://127.0.0.1:9", **variables}


def eventually(condition: Callable[[], Any], what: str, *, within: float = 120) -> None:
    """Wait for something that is bound to come; fail when it does not."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not after {within:.0f} s: {what}"
        time.sleep(0.05)


class Service:
    """A running API."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self._log = log
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False, verify=False)

    @property
    def seen(self) -> psutil.Process:
        """The process as the system sees it."""
        return psutil.Process(self.process.pid)

    def text(self) -> str:
        """What it wrote so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def answers(self) -> bool:
        """Whether it is there; fails once it has ended."""
        assert self.process.poll() is None, f"the API ended with {self.process.returncode}:\n{self.text()[-4000:]}"
        try:
            return self.client.get("/health").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False


@contextmanager
def served(
    data: Path,
    *,
    setup: Callable[[], None] | None = None,
    variables: Mapping[str, str] | None = None,
    program: Sequence[str] = (sys.executable, "-m"),
) -> Iterator[Service]:
    """Serve a data folder whose database is migrated, until the block ends.

    Args:
        setup: called in the process before its program starts; sets its limits.
        variables: settings, by the names of their variables.
        program: what runs a module of ours.
    """
    port = free_port()
    with tempfile.NamedTemporaryFile(prefix="api-", suffix=".log") as log:
        process = subprocess.Popen(
            (*program, "serving.server", "--port", str(port)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment(data, **(variables or {})),
            cwd=ROOT,
            preexec_fn=setup,
        )
        service = Service(process, port, Path(log.name))
        try:
            eventually(service.answers, "the API answers")
            yield service
        finally:
            service.client.close()
            process.terminate()
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def lane_of(
    data: Path, *, variables: Mapping[str, str] | None = None, program: Sequence[str] = (sys.executable, "-m")
) -> "subprocess.Popen[str]":
    """The run of the lane `http` on a data folder, as a process that works until it is stopped."""
    return subprocess.Popen(
        (*program, "tests.failures.lane"),
        env=environment(data, **(variables or {})),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def assert_stopped_by_nothing_else(lane: "subprocess.Popen[str]") -> None:
    """Stop a lane's run; fails if it had left before, or leaves for another reason."""
    lane.terminate()
    out, err = lane.communicate(timeout=120)
    assert (lane.returncode, out) == (0, "stopped\n"), err
