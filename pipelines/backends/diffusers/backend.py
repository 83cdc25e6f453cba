"""Mode `diffusers`: pictures without a server, by the library diffusers with a model of the operator's.

Needs the extra `diffusers` of this project. The model is loaded by a worker process, which stays as long as the lane;
LoRAs are loaded by their files and leave nothing behind. Belongs here: a job in the hands of that process. Does not:
the process (`process`), the model (`worker`).
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from pydantic import Field

from pipelines.backends import loras
from pipelines.backends.diffusers.process import Worker, WorkerEnded
from pipelines.backends.diffusers.samplers import SAMPLERS, scheduler_of
from pipelines.backends.library import Library
from pipelines.backends.loras import ListedLora, Listing, SentLora
from pipelines.backends.outcomes import cancelled, failed, succeeded
from pipelines.backends.parameters import GenerationParams, any_seed, size_warnings
from pipelines.backends.pictures import Made, decoded
from pipelines.backends.submission import TaskSubmission
from warehouse.backends import BackendPlugin, Complaint, Outcome, ParamsError, Progress
from warehouse.generating import Failure
from warehouse.jobs import ClaimedJob, JobKind
from warehouse.pictures import Infotext, PictureStore
from warehouse.settings import Settings

STOP_SECONDS: Final = 5.0
"""What a step may take after an interrupt; then the process is ended, and the next job loads the model anew."""
_MULTIPLE: Final = 8
_TITLE: Final = "diffusers"


class DiffusersParams(GenerationParams):
    """Parameters of diffusers; others are passed over."""

    batch_size: int = Field(1, ge=1, le=8, description="Pictures at once; each needs memory.")


def check(params: DiffusersParams, prompt: str, settings: Settings) -> None:  # noqa: ARG001 - the plugin's signature
    """Refuse a sampler that there is not.

    Raises:
        ParamsError: see there.
    """
    if params.sampler_name and scheduler_of(params.sampler_name, params.scheduler) is None:
        raise ParamsError([Complaint(("sampler_name",), f"is none of {', '.join(SAMPLERS)}, each also with karras")])


class DiffusersBackend:
    """A model in a process."""

    def __init__(self, settings: Settings) -> None:
        if settings.diffusers_model is None:
            raise ValueError("no model is configured: set LORA_MANAGER_DIFFUSERS_MODEL")
        self.model, self.device = settings.diffusers_model.expanduser(), settings.device
        self.worker = Worker(offline=settings.offline)
        self.library = Library(settings)
        self.store = PictureStore(settings.pictures_dir)
        self.limit = settings.generation_timeout_seconds

    async def submit(self, job: ClaimedJob) -> "_Generation":
        """Begin a generation."""
        return _Generation(self, job)

    async def close(self) -> None:
        """End the process."""
        await self.worker.end()
        self.library.close()


class _Generation(TaskSubmission):
    """One job in the process."""

    def __init__(self, backend: DiffusersBackend, job: ClaimedJob) -> None:
        self._backend = backend
        super().__init__(job)

    async def _work(self) -> Outcome:
        try:
            async with asyncio.timeout(self._backend.limit):
                return await self._attempt()
        except TimeoutError:
            await self._backend.worker.end()
            return failed(f"nothing was made in {self._backend.limit:.0f} s", Failure.TIMEOUT)
        except asyncio.CancelledError:
            await self._backend.worker.end()
            raise
        except WorkerEnded as error:
            return failed(str(error), Failure.ERROR)

    async def _attempt(self) -> Outcome:
        params = DiffusersParams.model_validate(self._job.params)
        meant = await self._backend.library.meant_by(self._job.prompt, self._job.params)
        present = await asyncio.to_thread(_present, [own.file_path for own in meant.own.values()])
        files = {name: own.file_path for name, own in meant.own.items() if own.file_path in present}
        listing = Listing(ListedLora(name, path) for name, path in files.items())
        named = loras.rewrite(self._job.prompt, meant.own, listing)
        warnings = [*meant.warnings, *size_warnings(params, _MULTIPLE)]
        if params.strict_loras and named.unlisted:
            report = loras.report(named.sent, None)
            said = "; ".join(loras.warnings(report, _TITLE))
            return failed(f"LoRAs are missing: {said}", Failure.LORAS, lora_report=report)
        seed = params.seed if params.seed >= 0 else any_seed(self._job.id)
        request = {
            "model": str(self._backend.model),
            "device": self._backend.device,
            "prompt": loras.without_tokens(self._job.prompt),
            "negative_prompt": loras.without_tokens(params.negative_prompt),
            "steps": params.steps,
            "cfg_scale": params.cfg_scale,
            "width": params.width // _MULTIPLE * _MULTIPLE,
            "height": params.height // _MULTIPLE * _MULTIPLE,
            "batch_size": params.batch_size,
            "n_iter": params.n_iter,
            "seed": seed,
            "scheduler": scheduler_of(params.sampler_name, params.scheduler),
            "strict": params.strict_loras,
            "loras": [
                {"name": item.name, "path": files[item.name], "weight": item.weight}
                for item in named.sent
                if item.listed and not item.is_idle
            ],
        }
        began = time.monotonic()
        if self._stop.is_set():
            return cancelled("nothing was begun")
        await self._backend.worker.send("generate", **request)
        answer = await self._follow(began)
        if isinstance(answer, Outcome):
            return answer
        return await self._judge(params, request, named.sent, answer, warnings, time.monotonic() - began)

    async def _follow(self, began: float) -> Mapping[str, Any] | Outcome:
        """The message with the pictures; or the outcome, where there is none."""
        stopping = asyncio.create_task(self._stop.wait())
        receiving = asyncio.create_task(self._backend.worker.receive())
        try:
            while True:
                await asyncio.wait((receiving, stopping), return_when=asyncio.FIRST_COMPLETED)
                if stopping.done():
                    return await self._call_off(receiving)
                message = receiving.result()
                if message["type"] != "step":
                    return self._end_of(message)
                self._tell(_progress(message, began))
                receiving = asyncio.create_task(self._backend.worker.receive())
        finally:
            stopping.cancel()
            receiving.cancel()
            await asyncio.gather(stopping, receiving, return_exceptions=True)

    async def _call_off(self, receiving: "asyncio.Task[Mapping[str, Any]]") -> Outcome:
        await self._backend.worker.send("interrupt")
        try:
            async with asyncio.timeout(STOP_SECONDS):
                while (await receiving)["type"] == "step":
                    receiving = asyncio.create_task(self._backend.worker.receive())
        except TimeoutError:
            await self._backend.worker.end()
        return cancelled("what was made by then is dropped")

    def _end_of(self, message: Mapping[str, Any]) -> Mapping[str, Any] | Outcome:
        if message["type"] == "done":
            return message
        failure = Failure(message.get("failure", Failure.ERROR.value))
        return failed(f"{_TITLE}: {message.get('message', 'no pictures')}", failure)

    async def _judge(
        self,
        params: DiffusersParams,
        request: Mapping[str, Any],
        sent: Sequence[SentLora],
        answer: Mapping[str, Any],
        warnings: list[str],
        seconds: float,
    ) -> Outcome:
        unfit: Mapping[str, str] = answer["unfit"]
        report = loras.report(sent, frozenset(item.name for item in sent if item.listed and item.name not in unfit))
        warnings += [f"{name}: {why}" for name, why in unfit.items()]
        warnings += [
            f"{item.name} weighs model and text encoder apart, which diffusers does not: {item.weight:g} was used"
            for item in sent
            if item.listed and item.weight != item.text_weight
        ]
        shown = {name: request[name] for name in ("steps", "cfg_scale", "width", "height", "batch_size", "n_iter")}
        shown |= {"prompt": self._job.prompt, "negative_prompt": params.negative_prompt, "seed": request["seed"]}
        shown |= {"sampler_name": params.sampler_name or None, "scheduler": params.scheduler or None}
        made = [
            Made(decoded(picture["data"]), picture["seed"], self._infotext(params, shown, picture["seed"]))
            for picture in answer["pictures"]
        ]
        return await succeeded(
            self._backend.store,
            made,
            backend=self._job.mode,
            server={"kind": "diffusers", "version": None, "model": self._backend.model.name},
            parameters=shown,
            info={"all_seeds": [picture["seed"] for picture in answer["pictures"]]},
            seconds=seconds,
            report=report,
            warnings=[*warnings, *loras.warnings(report, _TITLE)],
        )

    def _infotext(self, params: DiffusersParams, shown: Mapping[str, Any], seed: int) -> str:
        size = f"{shown['width']}x{shown['height']}"
        facts = {**shown, "seed": seed, "size": size, "model": self._backend.model.stem}
        return Infotext(self._job.prompt, params.negative_prompt, facts).text()


def _progress(message: Mapping[str, Any], began: float) -> Progress:
    step, steps = message["step"], message["steps"]
    eta = (time.monotonic() - began) * (steps - step) / step
    return Progress(min(99.0, 100 * step / steps), {"step": step, "steps": steps, "eta": round(eta, 1)})


def _present(paths: Sequence[str]) -> set[str]:
    return {path for path in paths if Path(path).is_file()}


PLUGIN = BackendPlugin(
    name="diffusers",
    description="Generates pictures without a server, with a model of yours, in a process of its own.",
    kind=JobKind.GENERATION,
    params=DiffusersParams,
    open=DiffusersBackend,
    check=check,
    is_configured=lambda settings: settings.diffusers_model is not None and find_spec("diffusers") is not None,
    concurrency=1,
    max_attempts=2,
)
