"""Programs of ours as processes of their own, without importing them each time anew.

`python -m NAME` spends a second or three on imports alone, which is most of what a short command costs. Here a process
that has imported the program already forks one for every call: with its own arguments, environment, folder, standard
streams and exit code, and an interpreter that runs the module as `__main__` and ends as any other. Tests of what a
program imports, of signals from outside, and of terminals start it themselves.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[1]
_SLOW_IMPORTS = {
    "serving.cli.main": (
        "warehouse.ingest",
        "warehouse.marts",
        "warehouse.migrations",
        "warehouse.queries.overview",
        "warehouse.vectors.search",
        "serving.cli.running",
        "faiss",
        "httpx",
        "rich.table",
        "tokenizers",
    ),
    "pipelines.run": ("faiss", "tokenizers"),
    "tests.failures.publishing": ("faiss", "warehouse.vectors.indices"),
}
"""What commands import when they are called, beside what the module imports itself."""


def run(
    module: str,
    *arguments: str,
    folder: Path,
    environment: Mapping[str, str],
    stdin: str = "",
    timeout: float = 120,
) -> "subprocess.CompletedProcess[str]":
    """What `python -m MODULE ARGUMENTS…` answers in a folder, with this environment and nothing else.

    Raises:
        subprocess.TimeoutExpired: it took longer, and was killed.
    """
    return _server(module).run(arguments, folder, environment, stdin, timeout)


class _Server:
    """The process that forks."""

    def __init__(self, module: str) -> None:
        self._module = module
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LORA_MANAGER_")}
        # It ends when its standard input does, at the latest with this process.
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, module],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def _answer(self) -> int:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"what forks {self._module} has died"
        return int(line)

    def run(
        self, arguments: tuple[str, ...], folder: Path, environment: Mapping[str, str], stdin: str, timeout: float
    ) -> "subprocess.CompletedProcess[str]":
        assert self._process.stdin is not None
        with tempfile.TemporaryDirectory(prefix="streams-") as name:
            streams = [Path(name) / stream for stream in ("stdin", "stdout", "stderr")]
            streams[0].write_text(stdin, encoding="utf-8")
            call = {
                "arguments": arguments,
                "environment": dict(environment),
                "folder": str(folder),
                "streams": [str(stream) for stream in streams],
            }
            self._process.stdin.write(json.dumps(call) + "\n")
            self._process.stdin.flush()
            child = self._answer()
            late = threading.Event()

            def kill() -> None:
                late.set()
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, 9)

            timer = threading.Timer(timeout, kill)
            timer.start()
            code = self._answer()
            timer.cancel()
            out, err = (stream.read_text(encoding="utf-8", errors="replace") for stream in streams[1:])
        command = ["python", "-m", self._module, *arguments]
        if late.is_set():
            raise subprocess.TimeoutExpired(command, timeout, out, err)
        return subprocess.CompletedProcess(command, code, out, err)


@cache
def _server(module: str) -> _Server:
    return _Server(module)


def _fork_until_told(module: str) -> None:
    """Answer calls, a line each, with the number of the process and its exit code; returns in the process that is to
    be the program."""
    for name in (module, *_SLOW_IMPORTS.get(module, ())):
        importlib.import_module(name)
    # A fork would lose every other thread, and with it what that holds.
    assert threading.active_count() == psutil.Process().num_threads() == 1
    del sys.modules[module]  # It runs as `__main__`, from its first line.
    # Collections leave what is here alone: looking through it costs a child more than most commands do.
    gc.freeze()
    answers = os.fdopen(os.dup(1), "w")
    calls = os.fdopen(os.dup(0))
    print(0, file=answers, flush=True)
    while line := calls.readline():
        call = json.loads(line)
        child = os.fork()
        if child == 0:
            os.close(calls.fileno())
            os.close(answers.fileno())
            _become(module, call)
            return
        print(child, file=answers, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)
    os._exit(0)


def _become(module: str, call: Mapping[str, Any]) -> None:
    """Take what a call gives a process."""
    for number, (path, flags) in enumerate(
        zip(call["streams"], (os.O_RDONLY, os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_CREAT), strict=True)
    ):
        opened = os.open(path, flags, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(call["folder"])
    os.environ.clear()
    os.environ.update(call["environment"])
    sys.argv[1:] = call["arguments"]


if __name__ == "__main__":
    program = sys.argv[1]
    _fork_until_told(program)
    runpy.run_module(program, run_name="__main__", alter_sys=True)
