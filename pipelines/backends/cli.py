"""Mode `cli`: a prompt to one of the commands that the operator has configured by name.

There is no shell, and the client chooses a name, never a program. `{prompt}` in the command's arguments is replaced by
the prompt, whole and literally; where it does not occur the prompt is the standard input. A prompt that begins with
`-` could be taken for an option where `{prompt}` begins an argument: such a delivery is refused, unless an argument
`--` comes before it. Put `--` there if the program understands it, or `{prompt}` behind something (`--text={prompt}`),
or leave it to standard input.

A command that a crash of ours interrupted is run again: it finds the job's id in LORA_MANAGER_DELIVERY_ID.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from warehouse.backends import BackendPlugin, Complaint, Outcome, ParamsError, Progress, no_progress
from warehouse.jobs import ClaimedJob, JobKind, JobStatus
from warehouse.models.base import JsonObject
from warehouse.settings import PROMPT_PLACE, Settings

DEFAULT_COMMAND = "print"
BUILT_IN = {DEFAULT_COMMAND: ["cat"]}
"""Commands that are always there; the prompt comes back as the output."""

CONCURRENCY = 4
MAX_OUTPUT_BYTES = 64 * 1024
"""Of each output that is kept; the rest is read and dropped, so that the command does not stall."""
MAX_ARGUMENT_BYTES = 128 * 1024 - 1
"""Linux takes no longer single argument."""
_PATH = "/usr/local/bin:/usr/bin:/bin"
_POLL_SECONDS = 0.01
_GRACE_SECONDS = 2.0
"""Between asking a command to stop and killing it; and what its children have to close its outputs."""


class CliParams(BaseModel):
    """The command."""

    model_config = ConfigDict(extra="forbid")

    command: str = Field(DEFAULT_COMMAND, max_length=64, description="The name of a configured command.")


def commands(settings: Settings) -> dict[str, list[str]]:
    """The commands by name."""
    return {**BUILT_IN, **settings.cli_commands}


def _complaint(command: Sequence[str], prompt: str) -> str | None:
    """Why a prompt cannot be given to a command; None if it can."""
    for position, argument in enumerate(command):
        if PROMPT_PLACE not in argument:
            continue
        if argument.startswith(PROMPT_PLACE) and prompt.startswith("-") and "--" not in command[1:position]:
            return "begins with '-', which the command would take for an option: begin it otherwise"
        if len(argument.replace(PROMPT_PLACE, prompt).encode()) > MAX_ARGUMENT_BYTES:
            return f"is too long for an argument of a command: {MAX_ARGUMENT_BYTES} bytes at most"
    return None


def check(params: CliParams, prompt: str, settings: Settings) -> None:
    """Refuse commands that are not there, and prompts that cannot be given to them.

    Raises:
        ParamsError: see there.
    """
    known = commands(settings)
    if params.command not in known:
        raise ParamsError([Complaint(("command",), f"is none of the commands: {', '.join(sorted(known))}")])
    complaint = _complaint(known[params.command], prompt)
    if complaint is not None:
        raise ParamsError([Complaint((), complaint, at_prompt=True)])


class CliBackend:
    """The configured commands."""

    def __init__(self, settings: Settings) -> None:
        self._commands = commands(settings)
        self._seconds = settings.cli_timeout_seconds

    async def submit(self, job: ClaimedJob) -> "_Run":
        """Start the command of a job."""
        params = CliParams.model_validate(job.params)
        return _Run(job, params.command, self._commands.get(params.command), self._seconds)

    async def close(self) -> None:
        """Nothing is kept open."""


@dataclass(slots=True)
class _Output:
    """The beginning of an output."""

    kept: bytearray
    truncated: bool = False

    async def read(self, stream: asyncio.StreamReader) -> None:
        """Read to the end, keep the beginning."""
        while chunk := await stream.read(65536):
            room = MAX_OUTPUT_BYTES - len(self.kept)
            self.kept += chunk[:room]
            self.truncated = self.truncated or len(chunk) > room

    @property
    def text(self) -> str:
        """As JSON and both databases can hold it."""
        return self.kept.decode("utf-8", "replace").replace("\x00", "\ufffd")


class _Run:
    """One command at work."""

    def __init__(self, job: ClaimedJob, name: str, command: Sequence[str] | None, seconds: float) -> None:
        self._job, self._name, self._command, self._seconds = job, name, command, seconds
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    @property
    def id(self) -> str:
        """The job's own."""
        return self._job.id

    def events(self) -> AsyncIterator[Progress]:
        """None: a command does not say how far it is."""
        return no_progress()

    async def result(self) -> Outcome:
        """The outcome of the command."""
        try:
            return await asyncio.shield(self._task)
        except asyncio.CancelledError:
            # The lane itself is stopped: a command must not outlive it.
            self._stop.set()
            await self._task
            raise

    async def interrupt(self) -> None:
        """Stop the command and all it started."""
        self._stop.set()

    async def _run(self) -> Outcome:
        if self._command is None:
            return Outcome(JobStatus.FAILED, error=f"the command {self._name!r} is not configured any more")
        complaint = _complaint(self._command, self._job.prompt)
        if complaint is not None:
            return Outcome(JobStatus.FAILED, error=f"the prompt {complaint}")
        program = shutil.which(self._command[0])
        if program is None:
            return Outcome(JobStatus.FAILED, error=f"the program of the command {self._name!r} is not installed")
        with tempfile.TemporaryDirectory(prefix="delivery-") as folder:
            try:
                return await self._execute(program, folder)
            except OSError as error:
                return Outcome(JobStatus.FAILED, error=f"the command {self._name!r} did not start: {error.strerror}")

    async def _execute(self, program: str, folder: str) -> Outcome:
        assert self._command is not None
        prompt = self._job.prompt
        as_input = not any(PROMPT_PLACE in argument for argument in self._command)
        process = await asyncio.create_subprocess_exec(
            program,
            *(argument.replace(PROMPT_PLACE, prompt) for argument in self._command[1:]),
            stdin=asyncio.subprocess.PIPE if as_input else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=folder,
            env={
                "PATH": _PATH,
                "HOME": str(Path.home()),
                "LANG": "C.UTF-8",
                "TMPDIR": folder,
                "LORA_MANAGER_DELIVERY_ID": self._job.id,
            },
            # A group of its own, so that what it starts is stopped with it.
            start_new_session=True,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        outputs = (_Output(bytearray()), _Output(bytearray()))
        readers = [
            asyncio.create_task(output.read(stream))
            for output, stream in zip(outputs, (process.stdout, process.stderr), strict=True)
        ]
        feeder = asyncio.create_task(_feed(process.stdin, prompt.encode()))
        try:
            ended_by = await self._wait(process)
        finally:
            await _end(process)
            # A child that was left behind may hold the outputs open; it was killed with the group.
            await asyncio.wait(readers, timeout=_GRACE_SECONDS)
            for task in (feeder, *readers):
                task.cancel()
            await asyncio.gather(feeder, *readers, return_exceptions=True)
        return self._judge(process.returncode, ended_by, *outputs)

    async def _wait(self, process: asyncio.subprocess.Process) -> str | None:
        """Wait for the end of the command; what ended it, if not itself."""
        ended = asyncio.create_task(_exit(process))
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait((ended, stopped), timeout=self._seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
        if ended.done():
            return None
        ended.cancel()
        return "cancel" if self._stop.is_set() else "timeout"

    def _judge(self, code: int | None, ended_by: str | None, stdout: _Output, stderr: _Output) -> Outcome:
        result: JsonObject = {
            "command": self._name,
            "exit_code": code,
            "stdout": stdout.text,
            "stderr": stderr.text,
            "truncated": stdout.truncated or stderr.truncated,
        }
        if ended_by == "cancel":
            return Outcome(JobStatus.CANCELLED, result, "cancelled; the command was stopped")
        if ended_by == "timeout":
            return Outcome(JobStatus.FAILED, result, f"the command was stopped after {self._seconds:g} s")
        if code:
            how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
            return Outcome(JobStatus.FAILED, result, f"the command {how}")
        return Outcome(JobStatus.SUCCEEDED, result)


async def _feed(stdin: asyncio.StreamWriter | None, content: bytes) -> None:
    if stdin is None:
        return
    # A command that does not read its input is no failure.
    with contextlib.suppress(ConnectionError):
        stdin.write(content)
        await stdin.drain()
    stdin.close()


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a command and all it started: asked first, killed if it does not go."""
    if process.returncode is None:
        _signal(process.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(_exit(process), _GRACE_SECONDS)
    _signal(process.pid, signal.SIGKILL)
    await _exit(process)


async def _exit(process: asyncio.subprocess.Process) -> None:
    """Wait until a process has ended. `Process.wait` waits for its outputs too, which a child may hold open."""
    while process.returncode is None:
        await asyncio.sleep(_POLL_SECONDS)


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


PLUGIN = BackendPlugin(
    name="cli",
    description="Runs a command that the operator has configured, with the prompt as an argument or standard input.",
    kind=JobKind.DELIVERY,
    params=CliParams,
    open=CliBackend,
    check=check,
    concurrency=CONCURRENCY,
    max_attempts=2,
)
