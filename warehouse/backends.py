"""What does a job: the protocol of a backend, and the plugins that are installed.

A mode of a delivery or generation is the name of a plugin: an entry point of the group `lora_manager.backends` that
leads to a `BackendPlugin`. The API asks it whether parameters suit, a lane opens its backend and hands it jobs; both
know no more of it than stands here. Does not belong here: any backend, and the life of a job (`warehouse.jobs`).
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Protocol

from pydantic import BaseModel, ValidationError

from warehouse.jobs import ClaimedJob, JobKind, JobStatus
from warehouse.models.base import JsonObject
from warehouse.settings import Settings

GROUP = "lora_manager.backends"
"""The group of entry points."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a submission is."""

    percent: float
    """0..100. What would fall is raised to what was told before."""
    details: JsonObject = field(default_factory=dict)
    """What is known besides: `step`, `steps`, `eta` (seconds), `preview` (base64)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended."""

    status: JobStatus
    """A final one; or PENDING, when the same may succeed later."""
    result: JsonObject | None = None
    """What the target answered, bounded."""
    error: str | None = None
    """Why not, for people; without secrets."""
    retry_in: float = 0.0
    """Seconds to wait, with PENDING. A job out of attempts fails instead."""
    preview: str | None = None
    """Markdown for the page of the run, up to 50 kB: a picture, a table."""


async def no_progress() -> AsyncIterator[Progress]:
    """The events of a submission that has no middle."""
    nothing: tuple[Progress, ...] = ()
    for progress in nothing:
        yield progress


class Submission(Protocol):
    """A job in the hands of its target. Used by one task at a time, but for `interrupt`."""

    @property
    def id(self) -> str:
        """The target's name for it, for the log; the job's own id where the target has none."""
        ...

    def events(self) -> AsyncIterator[Progress]:
        """Progress until the target is done; may be empty. Asked once, before `result`."""
        ...

    async def result(self) -> Outcome:
        """How it ended. Errors of the target are outcomes; an exception is a defect, and fails the job."""
        ...

    async def interrupt(self) -> None:
        """Ask the target to stop. `events` and `result` then end soon; a job that was done by then has succeeded.

        Is called once; what the target needs to hear several times the submission repeats itself.
        """
        ...


class Backend(Protocol):
    """A target and what is kept open for it, such as connections. Lives as long as the run of its lane."""

    async def submit(self, job: ClaimedJob) -> Submission:
        """Hand over a job. With `attempts` above 1 the target may know it already, under the id of the job."""
        ...

    async def close(self) -> None:
        """Let go of everything."""
        ...


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong with one parameter."""

    loc: tuple[str | int, ...]
    """Where it stands below `params`; ("prompt",) below the request itself is written by `at_prompt`."""
    message: str
    type: str = "value_error"
    at_prompt: bool = False
    """It is the prompt, not a parameter."""


class ParamsError(ValueError):
    """Parameters do not suit the mode."""

    def __init__(self, complaints: Sequence[Complaint]) -> None:
        super().__init__("; ".join(f"{'.'.join(map(str, each.loc))}: {each.message}" for each in complaints))
        self.complaints = tuple(complaints)


@dataclass(frozen=True, slots=True)
class Description:
    """What a target says of itself."""

    version: str | None = None
    """None where it does not say."""
    checkpoints: Sequence[str] = ()
    samplers: Sequence[str] = ()


class UnavailableError(Exception):
    """A target cannot be asked about itself. The message is for people, without secrets."""


def _no_more_checks(_params: Any, _prompt: str, _settings: Settings) -> None:
    return None


@dataclass(frozen=True, slots=True)
class BackendPlugin:
    """What an entry point leads to.

    Attributes:
        name: the mode, up to 32 letters, digits, `-` and `_`; also the name of its lane.
        description: one sentence for people.
        kind: whether its jobs are generations too.
        params: the model of its parameters.
        open: makes the backend, in the process and event loop of the lane; may import what is heavy.
        check: looks at what a model cannot: raises `ParamsError`. Quick, and asks nobody over a network.
        is_configured: whether the settings name a target; a mode without one is listed and refused.
        describe: asks the target what it is, in seconds: raises `UnavailableError`. Called by the API, which gives up
            waiting for it; None where there is nothing to ask.
        concurrency: how many jobs it has at once.
        max_attempts: how often a job is started before it has failed, crashes of our processes included.
    """

    name: str
    description: str
    kind: JobKind
    params: type[BaseModel]
    open: Callable[[Settings], Backend]
    check: Callable[[Any, str, Settings], None] = _no_more_checks
    is_configured: Callable[[Settings], bool] = lambda _settings: True
    describe: Callable[[Settings], Awaitable[Description]] | None = None
    concurrency: int = 1
    max_attempts: int = 2

    @property
    def lane(self) -> str:
        """The queue of its jobs."""
        return self.name


@cache
def plugins() -> Mapping[str, BackendPlugin]:
    """The installed plugins by name. One that cannot be loaded is logged and left out: it must not take the rest."""
    found: dict[str, BackendPlugin] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            plugin = entry.load()
        except Exception:
            _log.exception("the backend %r (%s) cannot be loaded", entry.name, entry.value)
            continue
        if not isinstance(plugin, BackendPlugin) or plugin.name != entry.name:
            _log.error("the backend %r (%s) is no BackendPlugin of that name", entry.name, entry.value)
            continue
        found[plugin.name] = plugin
    return found


def check_params(plugin: BackendPlugin, prompt: str, params: Mapping[str, Any], settings: Settings) -> JsonObject:
    """Parameters as they are stored with a job.

    Raises:
        ParamsError: they, or the prompt, do not suit the mode.
    """
    try:
        model = plugin.params.model_validate(dict(params))
    except ValidationError as error:
        raise ParamsError(
            [
                Complaint(each["loc"], each["msg"].removeprefix("Value error, "), each["type"])
                for each in error.errors(include_url=False)
            ]
        ) from error
    plugin.check(model, prompt, settings)
    return model.model_dump(mode="json", exclude_unset=True)
