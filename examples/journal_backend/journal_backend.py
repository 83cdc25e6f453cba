"""A backend in one file: deliveries of the mode `journal` write the lines of their prompt into a file.

It shows all that a backend has: parameters with a check, progress, an interrupt, an outcome, a retry.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from warehouse.backends import BackendPlugin, Complaint, Outcome, ParamsError, Progress
from warehouse.jobs import ClaimedJob, JobKind, JobStatus
from warehouse.settings import Settings


class JournalParams(BaseModel):
    """What a client may state; anything else is a 422."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field("journal", pattern=r"^[a-z]{1,32}$", description="Which journal.")
    seconds: float = Field(0.0, ge=0, le=10, description="A pause after each line.")


def check(params: JournalParams, prompt: str, settings: Settings) -> None:
    """What a model cannot tell. Runs inside the request: it must be quick and ask nobody."""
    if not prompt.strip():
        raise ParamsError([Complaint((), "has no line that could be written", at_prompt=True)])


class JournalBackend:
    """Opened once, when the lane's run begins."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.data_dir / "journals"
        self._folder.mkdir(parents=True, exist_ok=True)

    async def submit(self, job: ClaimedJob) -> "_Entry":
        """Nothing is done before `events` is read."""
        params = JournalParams.model_validate(job.params)
        return _Entry(job, self._folder / f"{params.name}.txt", params.seconds)

    async def close(self) -> None:
        """Nothing is kept open."""


class _Entry:
    def __init__(self, job: ClaimedJob, path: Path, seconds: float) -> None:
        self._job, self._path, self._seconds = job, path, seconds
        self._stop = asyncio.Event()
        self._outcome: Outcome | None = None

    @property
    def id(self) -> str:
        return self._job.id

    async def events(self) -> AsyncIterator[Progress]:
        lines = self._job.prompt.splitlines()
        for number, line in enumerate(lines, 1):
            if self._stop.is_set():
                self._outcome = Outcome(JobStatus.CANCELLED, error=f"cancelled after {number - 1} lines")
                return
            try:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(f"{line}\n")
            except OSError as error:
                # PENDING: the lane tries again, as often as the plugin allows.
                self._outcome = Outcome(JobStatus.PENDING, error=str(error), retry_in=5)
                return
            yield Progress(100 * number / len(lines), {"step": number, "steps": len(lines)})
            await asyncio.sleep(self._seconds)
        self._outcome = Outcome(JobStatus.SUCCEEDED, {"lines": len(lines)})

    async def result(self) -> Outcome:
        assert self._outcome is not None
        return self._outcome

    async def interrupt(self) -> None:
        self._stop.set()


PLUGIN = BackendPlugin(
    name="journal",
    description="Writes prompts into a file of the data folder.",
    kind=JobKind.DELIVERY,
    params=JournalParams,
    open=JournalBackend,
    check=check,
    concurrency=4,
    max_attempts=3,
)
