"""Mode `comfyui`: pictures by a ComfyUI server.

Belongs here: a job on such a server, from its graph to its pictures. Does not: requests (`client`), graphs
(`workflow`), messages (`events`).

The id of the job is the id of the graph, so that an attempt after a crash of ours finds what waits, runs or is done on
the server, and nothing is done twice. Messages of the WebSocket are for the progress alone: the history is the truth.
"""

import asyncio
import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pipelines.backends import loras, pictures
from pipelines.backends.asking import NoAnswerError, TargetError, UnreachableError
from pipelines.backends.comfyui.client import ComfyClient, Finished
from pipelines.backends.comfyui.events import ProgressMeter, preview_of
from pipelines.backends.comfyui.parameters import ComfyParams, check
from pipelines.backends.comfyui.samplers import comfy_names
from pipelines.backends.comfyui.workflow import (
    Graph,
    LoraNode,
    WorkflowError,
    default_template,
    fill,
    places,
    read_template,
)
from pipelines.backends.library import Library
from pipelines.backends.loras import Listing, SentLora
from pipelines.backends.outcomes import again, cancelled, failed, succeeded
from pipelines.backends.parameters import any_seed, size_warnings
from pipelines.backends.pictures import Made
from pipelines.backends.submission import TaskSubmission
from warehouse.backends import BackendPlugin, Description, Outcome, Progress, UnavailableError
from warehouse.generating import PREVIEW, Failure
from warehouse.jobs import ClaimedJob, JobKind
from warehouse.lora_tokens import TOKEN
from warehouse.pictures import PictureStore, UnknownPictureError
from warehouse.settings import Settings

POLL_SECONDS: Final = 1.0
"""Between two looks into the history, where no message says that there is something in it."""
CONNECT_SECONDS: Final = 5.0
"""What the WebSocket has to open before the graph is sent; without it only the progress is lost."""
RETRY_PAUSE: Final = 3.0
STOP_SECONDS: Final = 25.0
_MULTIPLE: Final = 8
_TITLE: Final = "ComfyUI"


class ComfyBackend:
    """A ComfyUI server."""

    def __init__(self, settings: Settings) -> None:
        if settings.comfyui_url is None:
            raise ValueError("no ComfyUI is configured: set LORA_MANAGER_COMFYUI_URL")
        self.client = ComfyClient(str(settings.comfyui_url))
        self.library = Library(settings)
        self.store = PictureStore(settings.pictures_dir)
        self.limit = settings.generation_timeout_seconds
        self._workflow = settings.comfyui_workflow

    async def submit(self, job: ClaimedJob) -> "_Generation":
        """Begin a generation, or go on with it where the server has it already."""
        return _Generation(self, job)

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()
        self.library.close()

    def template(self, params: ComfyParams) -> Graph:
        """The workflow of a job: its own, else the configured one, else text to picture.

        Raises:
            WorkflowError: the configured one cannot be used.
        """
        if params.workflow:
            return params.workflow
        return _read(self._workflow) if self._workflow is not None else default_template()


def _read(path: Path) -> Graph:
    try:
        return read_template(path.read_bytes())
    except OSError as error:
        raise WorkflowError(f"the configured workflow {path.name} cannot be read: {error.strerror}") from error
    except WorkflowError as error:
        raise WorkflowError(f"the configured workflow {path.name}: {error}") from error


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A job as it can be sent."""

    graph: Graph
    values: dict[str, Any]
    sent: list[SentLora]
    warnings: list[str]


class _Generation(TaskSubmission):
    """One graph on the server."""

    def __init__(self, backend: ComfyBackend, job: ClaimedJob) -> None:
        self._backend, self._client = backend, backend.client
        self._deadline = time.monotonic() + backend.limit
        self._is_connected, self._is_told = asyncio.Event(), asyncio.Event()
        self._previewed_at = 0.0
        super().__init__(job)

    async def _work(self) -> Outcome:
        # Where the lane itself ends, the graph goes on: the next attempt finds it by its id.
        try:
            return await self._attempt()
        except WorkflowError as error:
            return failed(str(error), Failure.REFUSED)
        except UnreachableError as error:
            return again(str(error), Failure.UNREACHABLE, retry_in=RETRY_PAUSE)
        except NoAnswerError as error:
            # Sent or not, it is looked up by its id before it is sent again.
            return again(str(error), Failure.TIMEOUT, retry_in=RETRY_PAUSE)
        except TargetError as error:
            is_ours = error.status is not None and 400 <= error.status < 500
            return failed(str(error), Failure.REFUSED if is_ours else Failure.ERROR)

    async def _attempt(self) -> Outcome:
        params = ComfyParams.model_validate(self._job.params)
        version = await self._client.version()
        prepared = await self._prepare(params)
        if isinstance(prepared, Outcome):
            return prepared
        began = time.monotonic()
        meter = ProgressMeter(self._job.id, prepared.graph)
        listening = asyncio.create_task(self._listen(meter, with_previews=params.live_preview))
        try:
            if not await self._send(prepared.graph):
                return cancelled("nothing was sent")
            ended = await self._until_finished()
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        if isinstance(ended, Outcome):
            return ended
        return await self._judge(prepared, ended, version, time.monotonic() - began)

    # Preparing.

    async def _prepare(self, params: ComfyParams) -> _Prepared | Outcome:
        prompt = self._job.prompt
        meant = await self._backend.library.meant_by(prompt, self._job.params)
        warnings = [*meant.warnings, *size_warnings(params, _MULTIPLE)]
        if TOKEN.search(params.negative_prompt):
            warnings.append("LoRAs in the negative prompt were taken out: ComfyUI applies none there")
        listing = Listing(await self._client.loras()) if TOKEN.search(prompt) else Listing(())
        named = loras.rewrite(prompt, meant.own, listing)
        report = loras.report(named.sent, None)
        if params.strict_loras and named.unlisted:
            said = "; ".join(loras.warnings(report, _TITLE))
            return failed(f"LoRAs are missing: {said}", Failure.LORAS, lora_report=report)
        template = await asyncio.to_thread(self._backend.template, params)
        values = self._values(params)
        if "checkpoint" in places(template):
            known = await self._client.checkpoints()
            checkpoint = params.sd_model_checkpoint or next(iter(known), "")
            if checkpoint not in known:
                has = ", ".join(known[:20]) or "none"
                return failed(f"ComfyUI has no checkpoint {checkpoint!r}. It has: {has}", Failure.REFUSED)
            if not params.sd_model_checkpoint and len(known) > 1:
                warnings.append(f"no sd_model_checkpoint was given: {checkpoint}, the first of {len(known)}, was used")
            values["checkpoint"] = checkpoint
        nodes = [
            LoraNode(item.sent_as, item.weight, item.text_weight)
            for item in named.sent
            if item.listed and not item.is_idle
        ]
        return _Prepared(fill(template, values, nodes), values, named.sent, warnings)

    def _values(self, params: ComfyParams) -> dict[str, Any]:
        """What fills the places of a workflow."""
        others = {name: value for name, value in params.stated.items() if name not in ("workflow", "seed")}
        sampler, schedule = comfy_names(params.sampler_name, params.scheduler)
        return others | {
            "prompt": loras.without_tokens(self._job.prompt),
            "negative_prompt": loras.without_tokens(params.negative_prompt),
            "steps": params.steps,
            "cfg_scale": params.cfg_scale,
            "sampler_name": sampler,
            "scheduler": schedule,
            "width": params.width // _MULTIPLE * _MULTIPLE,
            "height": params.height // _MULTIPLE * _MULTIPLE,
            "batch_size": params.batch_size,
            "seed": params.seed if params.seed >= 0 else any_seed(self._job.id),
            "clip_skip": params.clip_skip,
            "clip_stop": -params.clip_skip,
        }

    # Sending and following.

    async def _send(self, graph: Graph) -> bool:
        """Have the graph with the server, which may have it already; False if a stop came first."""
        found = await self._client.finished(self._job.id)
        if found is not None and not found.succeeded and self._job.attempts == 1:
            # Of an earlier life of the job, which somebody has tried again.
            await self._client.forget(self._job.id)
            found = None
        if found is not None or await self._client.is_queued(self._job.id):
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._is_connected.wait()
        if self._stop.is_set():
            return False
        await self._client.submit(graph, client_id=self._job.id, prompt_id=self._job.id)
        return True

    async def _until_finished(self) -> Finished | Outcome:
        """How the graph ended; or the outcome, where it did not."""
        unseen = 0
        given_up = self._deadline + STOP_SECONDS
        while True:
            is_late = time.monotonic() > self._deadline
            if is_late or self._stop.is_set():
                given_up = min(given_up, time.monotonic() + STOP_SECONDS)
                await self._client.cancel(self._job.id)
            found = await self._client.finished(self._job.id)
            if self._stop.is_set() and (found is not None or not await self._client.is_queued(self._job.id)):
                return cancelled("ComfyUI was told to stop")
            if found is not None:
                return found if not is_late else self._too_late()
            if time.monotonic() > given_up:
                return cancelled("ComfyUI did not stop when asked") if self._stop.is_set() else self._too_late()
            # Between the queue and the history a graph is in neither for a moment.
            unseen = 0 if await self._client.is_queued(self._job.id) else unseen + 1
            if unseen > 3:
                if is_late:
                    return self._too_late()
                return again(
                    "ComfyUI has forgotten the generation: it was started anew, or its queue was emptied",
                    Failure.LOST,
                    retry_in=RETRY_PAUSE,
                )
            await self._until_told(is_stopping=is_late or self._stop.is_set())

    def _too_late(self) -> Outcome:
        return failed(f"ComfyUI made nothing in {self._backend.limit:.0f} s", Failure.TIMEOUT)

    async def _until_told(self, *, is_stopping: bool) -> None:
        """Wait for the message that the graph is done, for a stop, or for the time of the next look."""
        if self._is_told.is_set():
            self._is_told.clear()
            await asyncio.sleep(0.02)  # the history is written just after the message
            return
        waits = [self._is_told.wait()] if is_stopping else [self._is_told.wait(), self._stop.wait()]
        tasks = [asyncio.create_task(wait) for wait in waits]
        try:
            seconds = POLL_SECONDS / 4 if is_stopping else POLL_SECONDS
            await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    async def _listen(self, meter: ProgressMeter, *, with_previews: bool) -> None:
        """Tell the progress; a connection that breaks is opened again."""
        preview: str | None = None
        while True:
            try:
                async for message in self._client.listen(self._job.id):
                    self._is_connected.set()
                    if isinstance(message, bytes):
                        if with_previews and time.monotonic() - self._previewed_at >= pictures.PREVIEW_SECONDS:
                            preview = await self._preview(message)
                    elif (progress := meter.read(message)) is not None:
                        details: dict[str, Any] = {"step": progress.step, "steps": progress.steps}
                        if preview is not None:
                            details[PREVIEW], preview = preview, None
                        self._tell(Progress(100 * progress.fraction, details))
                    if meter.is_over:
                        self._is_told.set()
            except TargetError:
                pass
            await asyncio.sleep(POLL_SECONDS / 2)

    async def _preview(self, message: bytes) -> str | None:
        data = preview_of(message)
        if data is None:
            return None
        self._previewed_at = time.monotonic()
        return await asyncio.to_thread(pictures.small, data)

    # Judging.

    async def _judge(self, prepared: _Prepared, ended: Finished, version: str | None, seconds: float) -> Outcome:
        if not ended.succeeded:
            error = "somebody else interrupted it" if ended.interrupted else ended.error or "it failed and says no more"
            return failed(f"ComfyUI: {error}", Failure.ERROR)
        if not ended.images:
            return failed("the workflow made no picture: it needs a SaveImage or PreviewImage", Failure.NO_PICTURE)
        seed = prepared.values["seed"]
        made = [
            # ComfyUI draws the noise of a batch from one seed: the later pictures have none of their own.
            Made(await self._client.picture(place), seed if number == 0 else None)
            for number, place in enumerate(ended.images)
        ]
        # A graph whose loaders cannot load fails: what it was made of was loaded.
        applied = frozenset(item.sent_as for item in prepared.sent if item.listed)
        report = loras.report(prepared.sent, applied)
        try:
            return await succeeded(
                self._backend.store,
                made,
                backend=self._job.mode,
                server={"kind": "comfyui", "version": version, "url": self._client.base_url},
                parameters=prepared.values,
                info={"seed": seed, "nodes": len(prepared.graph)},
                seconds=seconds,
                report=report,
                warnings=[*prepared.warnings, *loras.warnings(report, _TITLE)],
            )
        except UnknownPictureError as error:
            return failed(f"ComfyUI answered something that is no picture: {error}", Failure.NO_PICTURE)


async def _describe(settings: Settings) -> Description:
    async with ComfyClient(str(settings.comfyui_url)) as client:
        try:
            version, checkpoints, samplers = await asyncio.gather(
                client.version(), client.checkpoints(), client.samplers()
            )
        except TargetError as error:
            raise UnavailableError(str(error)) from error
    return Description(version, checkpoints, samplers)


PLUGIN = BackendPlugin(
    name="comfyui",
    description="Generates pictures by a ComfyUI server, with its own workflow or one of yours.",
    kind=JobKind.GENERATION,
    params=ComfyParams,
    open=ComfyBackend,
    check=check,
    is_configured=lambda settings: settings.comfyui_url is not None,
    describe=_describe,
    concurrency=1,
    max_attempts=2,
)
