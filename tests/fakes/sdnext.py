"""A fake of SD.Next's HTTP API, and of A1111's where the two differ: what a client meets, without a model.

Written from what a real SD.Next (2026-07) answered and from its source; A1111 from its source. It draws flat pictures,
so it is of no use but to hold a client to the behaviour of the real servers: one lock and no queue, progress that
begins anew with every sub-job, interrupts that are lost outside the sampling loop, failures with status 200, LoRAs
that are silently left out, three shapes of errors, a rate limit that is charged after the work, Basic authentication
that is never asked for by a header, JPEG by default.

`FakeSDNext` holds the knobs and what was seen; `app` is its ASGI application.
"""

import base64
import hashlib
import io
import json
import re
import secrets
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any

from PIL import Image
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

SAMPLERS = ("Default", "UniPC", "DDIM", "Euler", "Euler a", "DPM++ 2M", "LCM")
_TAG = re.compile(r"<(\w+):([^>]+)>")
_GENERATION_COST = 5
_VAE_FACTOR = 8


class Dialect(StrEnum):
    """Which of the two servers is played."""

    SDNEXT = "sdnext"
    A1111 = "a1111"


class Fault(StrEnum):
    """What goes wrong with a LoRA file."""

    NONE = "none"
    CORRUPT = "corrupt"
    """Not loaded, and absent from what is reported as applied."""
    UNMATCHED = "unmatched"
    """Keys of another format: the same as corrupt."""
    WRONG_SHAPES = "wrong shapes"
    """Reported as applied although nothing was."""


class Mishap(StrEnum):
    """What goes wrong with a generation."""

    OUT_OF_MEMORY = "out of memory"
    """Status 200 with fewer images than asked for and the info filled in."""
    NO_MODEL = "no model"
    """Status 200, no image, the info empty."""
    EXCEPTION = "exception"
    """Status 500 in the shape of an exception."""
    TYPE_ERROR = "type error"
    """Status 500 with a bare JSON string."""
    HANG_UP = "hang up"
    """The connection is closed without an answer."""
    HANG_UP_AND_WORK = "hang up and work"
    """The connection is closed, and what was asked for is worked on all the same."""


@dataclass(frozen=True, slots=True)
class FakeLora:
    """A LoRA file of the server: its path below the LoRA folder, without the extension."""

    path: str
    payload_sha256: str = ""
    output_name: str | None = None
    """`ss_output_name` of its header: an alias in listings, which SD.Next accepts in no prompt and A1111 does."""
    fault: Fault = Fault.NONE

    @property
    def basename(self) -> str:
        return PurePosixPath(self.path).name

    @property
    def listed_name(self) -> str:
        """SD.Next shows dots as underscores."""
        return self.basename.replace(".", "_")

    @property
    def alias(self) -> str:
        return self.output_name or self.listed_name


@dataclass(slots=True)
class _Job:
    """The sub-job that the server says it is at."""

    id: str = ""
    name: str = ""
    count: int = 0
    number: int = 0
    step: int = 0
    steps: int = 0
    began: float = 0.0
    interrupted: bool = False
    skipped: bool = False

    def progress(self) -> float:
        if not self.steps or not self.count:
            return 0.0
        return round(min(1.0, (self.steps * self.number + self.step) / (self.steps * self.count)), 2)


class HTTPError(Exception):
    """An exception of the server's, in the first of its three shapes."""

    def __init__(self, code: int, detail: str, name: str = "HTTPException") -> None:
        super().__init__(detail)
        self.answer = {"error": name, "code": code, "detail": detail, "body": "", "errors": f"{code}: {detail}"}
        self.code = code


@dataclass
class FakeSDNext:
    """The server: its knobs, and what it was asked."""

    dialect: Dialect = Dialect.SDNEXT
    loras: list[FakeLora] = field(default_factory=list)
    checkpoint: str | None = "Diffusers/tiny-sd"
    auth: str | None = None
    """`user:password`."""
    step_seconds: float = 0.01
    before_seconds: float = 0.02
    """Of each sub-job before the sampling loop."""
    samples_format: str | None = None
    """None: the default of the server that is played, jpg or png."""
    rate_limit: int = 0
    """Cost of requests per minute and path; 0: none."""
    reports_sub_jobs: bool = True
    """Older servers and A1111 say one job and a progress over all of it."""
    preview_side: int = 16
    """Pixels of the pictures that are shown while it samples."""
    stuck_in: str = ""
    """The sub-job that it says it is at although it is idle, as after an error in a script."""
    mishaps: deque[Mishap] = field(default_factory=deque)
    """What happens to the next generations, in their order."""

    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    """(method, path, body) of everything that was asked."""
    most_in_flight: int = 0
    interrupts_lost: int = 0
    interrupts_taken: int = 0
    generated: int = 0
    """How many generations were worked on to their end."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._guard = threading.Lock()
        self._job = _Job(name=self.stuck_in, count=int(bool(self.stuck_in)))
        self._jobs_begun = 0
        self._in_flight = 0
        self._charged: Counter[str] = Counter()
        self._loaded: list[str] = []
        self._hashed: set[str] = set()
        self._preview: str | None = None
        self._log: list[str] = []
        self._options: dict[str, Any] = {}

    @property
    def app(self) -> Starlette:
        """The server as an ASGI application."""
        get, post = self._get_routes(), self._post_routes()
        routes = [Route(path, self._answering(path, handler), methods=["GET"]) for path, handler in get.items()]
        routes += [Route(path, self._answering(path, handler), methods=["POST"]) for path, handler in post.items()]
        return Starlette(routes=routes, exception_handlers={404: _framework_404})

    # Routes.

    def _get_routes(self) -> dict[str, Callable[[dict[str, Any], Any], Any]]:
        routes: dict[str, Callable[[dict[str, Any], Any], Any]] = {
            "/sdapi/v1/sd-models": lambda _query, _body: self._checkpoints(),
            "/sdapi/v1/samplers": lambda _query, _body: self._samplers(),
            "/sdapi/v1/options": lambda _query, _body: self._changed_options(),
            "/sdapi/v1/loras": lambda _query, _body: self._listed_loras(),
            "/sdapi/v1/progress": self._progress,
            "/sdapi/v1/memory": lambda _query, _body: {
                "ram": {"free": 1.0, "used": 1, "total": 2.0},
                "cuda": {"error": "unavailable"},
            },
        }
        if self.dialect is Dialect.SDNEXT:
            routes |= {
                "/sdapi/v1/version": lambda _query, _body: {
                    "app": "sd.next",
                    "updated": "2026-07-23",
                    "commit": "058a7f0cf",
                    "branch": "master",
                    "url": "https://github.com/vladmandic/sdnext/tree/master",
                },
                "/sdapi/v1/status": self._status,
                "/sdapi/v1/checkpoint": lambda _query, _body: self._current_checkpoint(),
                "/sdapi/v1/schedulers": _fails,
                "/sdapi/v1/lora": self._one_lora,
                "/sdapi/v1/loaded-loras": lambda _query, _body: list(self._loaded),
                "/sdapi/v1/extra-networks": self._extra_networks,
                "/sdapi/v1/log": lambda _query, _body: list(self._log),
            }
        return routes

    def _post_routes(self) -> dict[str, Callable[[dict[str, Any], Any], Any]]:
        return {
            "/sdapi/v1/txt2img": lambda _query, body: self._generate(body, "txt2img"),
            "/sdapi/v1/img2img": lambda _query, body: self._generate(body, "img2img"),
            "/sdapi/v1/interrupt": lambda _query, _body: self._interrupt(),
            "/sdapi/v1/skip": lambda _query, _body: self._interrupt(skip=True),
            "/sdapi/v1/refresh-loras": lambda _query, _body: (
                {lora.listed_name: self._described(lora) for lora in self.loras}
                if self.dialect is Dialect.SDNEXT
                else None
            ),
            "/sdapi/v1/options": lambda _query, body: self._set_options(body),
        }

    def _answering(self, path: str, handler: Callable[[dict[str, Any], Any], Any]) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            body = None
            if request.method == "POST":
                raw = await request.body()
                body = json.loads(raw) if raw else None
            with self._guard:
                self.requests.append((request.method, path, body))
            if not self._is_allowed(request):
                return _shaped(HTTPError(401, "Not authenticated" if self._is_anonymous(request) else "Unauthorized"))
            try:
                found = await run_in_threadpool(handler, dict(request.query_params), body)
            except HTTPError as error:
                found = _shaped(error)
            except TypeError as error:
                found = JSONResponse(str(error), 500)
            if isinstance(found, _HangUp):
                return found
            # The limit is charged after the work is done: what was made is thrown away.
            if self._is_over_limit(path):
                return _shaped(HTTPError(429, "Rate limit exceeded"))
            return found if isinstance(found, Response) else JSONResponse(found)

        return answer

    def _is_anonymous(self, request: Request) -> bool:
        return "authorization" not in request.headers

    def _is_allowed(self, request: Request) -> bool:
        if self.auth is None:
            return True
        return request.headers.get("authorization") == "Basic " + base64.b64encode(self.auth.encode()).decode()

    def _is_over_limit(self, path: str) -> bool:
        if not self.rate_limit:
            return False
        with self._guard:
            self._charged[path] += _GENERATION_COST if path.endswith(("txt2img", "img2img")) else 1
            return self._charged[path] > self.rate_limit

    def forgive(self) -> None:
        """Let the minute of the rate limit pass."""
        with self._guard:
            self._charged.clear()

    # What the server has.

    def _checkpoints(self) -> list[dict[str, Any]]:
        if self.checkpoint is None:
            return []
        return [
            {
                "title": self.checkpoint,
                "model_name": self.checkpoint,
                "filename": f"/srv/sdnext/models/{self.checkpoint}",
                "type": "diffusers",
                "sha256": None,
                "hash": None,
                "config": None,
            }
        ]

    def _current_checkpoint(self) -> dict[str, Any]:
        name = self.checkpoint
        return {
            "type": "sd" if name else None,
            "class": "StableDiffusionPipeline" if name else None,
            "checkpoint": name,
            "title": name,
            "name": name,
            "filename": name,
            "hash": None,
        }

    def _samplers(self) -> list[dict[str, Any]]:
        extra = {"aliases": []} if self.dialect is Dialect.A1111 else {}
        return [{"name": name, "options": {}, **extra} for name in SAMPLERS]

    def _changed_options(self) -> dict[str, Any]:
        if self.dialect is Dialect.A1111:
            return {"sd_model_checkpoint": self.checkpoint, "samples_format": self._format(), **self._options}
        return dict(self._options)

    def _set_options(self, body: dict[str, Any]) -> Any:
        changed = [{key: self._options.get(key) != value} for key, value in body.items()]
        self._options.update(body)
        return {"updated": changed} if self.dialect is Dialect.SDNEXT else None

    def _listed_loras(self) -> list[dict[str, Any]]:
        # Two files of one base name in two folders are one entry.
        return [
            {
                "name": lora.listed_name if self.dialect is Dialect.SDNEXT else lora.basename,
                "alias": lora.alias,
                "path": f"/srv/models/Lora/{lora.path}.safetensors",
                "metadata": {"ss_output_name": lora.output_name} if lora.output_name else {},
            }
            for lora in {lora.listed_name: lora for lora in self.loras}.values()
        ]

    def _described(self, lora: FakeLora) -> dict[str, Any]:
        return {
            "name": lora.listed_name,
            "fullname": lora.path,
            "alias": lora.alias,
            "filename": f"/srv/models/Lora/{lora.path}.safetensors",
            # Filled in after the first use.
            "hash": lora.payload_sha256 if lora.path in self._hashed else "",
            "shorthash": lora.payload_sha256[:12] if lora.path in self._hashed else "",
            "sd_version": "SD 1.5",
        }

    def _one_lora(self, query: dict[str, Any], _body: Any) -> dict[str, Any]:
        for lora in self.loras:
            if query.get("lora") == lora.listed_name:
                return self._described(lora)
        raise HTTPError(404, "LoRA not found")

    def _extra_networks(self, query: dict[str, Any], _body: Any) -> list[dict[str, Any]]:
        if query.get("page", "lora") != "lora":
            return []
        return [
            {
                "name": lora.path,
                "type": "Lora",
                "title": lora.path,
                "filename": f"/srv/models/Lora/{lora.path}.safetensors",
                "hash": lora.payload_sha256 if lora.path in self._hashed else None,
                "preview": None,
            }
            for lora in self.loras
        ]

    # Progress.

    def _begin(self, name: str, *, count: int = 1, steps: int = 0) -> None:
        with self._guard:
            self._jobs_begun += 1
            identity = secrets.token_hex(8)[:15]
            # A new sub-job forgets the interrupt of the one before.
            self._job = _Job(identity, name, count, 0, 0, steps, time.monotonic())

    def _progress(self, query: dict[str, Any], _body: Any) -> dict[str, Any]:
        with self._guard:
            job = self._job
            progress = job.progress()
            elapsed = time.monotonic() - job.began
            answer: dict[str, Any] = {
                "progress": progress,
                "eta_relative": elapsed / progress - elapsed if progress else 0.0,
                "state": {
                    "skipped": job.skipped,
                    "interrupted": job.interrupted,
                    "job": job.name,
                    "job_count": job.count,
                    "job_timestamp": time.strftime("%Y%m%d%H%M%S"),
                    "job_no": job.number,
                    "sampling_step": job.step,
                    "sampling_steps": job.steps,
                },
                "current_image": None,
                "textinfo": None,
            }
            if self.dialect is Dialect.SDNEXT:
                answer["id"] = job.id
            if query.get("skip_current_image") != "true" and job.step:
                side = self.preview_side
                self._preview = answer["current_image"] = _picture(side, side, "preview", "PNG", "x" * side)
        return answer

    def _status(self, _query: dict[str, Any], _body: Any) -> dict[str, Any]:
        with self._guard:
            job = self._job
            return {
                "status": "interrupted" if job.interrupted else "running" if job.name else "idle",
                "task": job.name,
                "timestamp": None,
                "current": "",
                "id": job.id,
                "job": job.number,
                "jobs": job.count,
                "total": self._jobs_begun,
                "step": job.step,
                "steps": job.steps,
                # Requests that wait for the lock are not counted.
                "queued": 0,
                "uptime": 355,
                "elapsed": round(time.monotonic() - job.began, 2),
                "eta": None,
                "progress": job.progress(),
            }

    def _interrupt(self, *, skip: bool = False) -> Response:
        with self._guard:
            self._job.interrupted = not skip
            self._job.skipped = skip
            if self._job.step:
                self.interrupts_taken += 1
            else:
                self.interrupts_lost += 1
        return Response(status_code=204) if self.dialect is Dialect.SDNEXT else JSONResponse({})

    # Generation.

    def _generate(self, body: Any, kind: str) -> Any:
        if not isinstance(body, dict):
            return JSONResponse({"detail": [{"type": "model_attributes_type", "loc": ["body"], "msg": "…"}]}, 422)
        for name in ("steps", "width", "height", "batch_size", "n_iter"):
            if isinstance(body.get(name), str):
                problem = {"type": "int_parsing", "loc": ["body", name], "msg": "no integer", "input": body[name]}
                return JSONResponse({"detail": [problem]}, 422)
        if kind == "img2img" and not body.get("init_images"):
            return JSONResponse({"error": "Init image is none"}, 400)
        sampler = body.get("sampler_name") or SAMPLERS[0]
        if sampler.lower() not in {name.lower() for name in SAMPLERS}:
            raise HTTPError(404, "Sampler not found")
        if body.get("prompt", "") is None:
            raise HTTPError(500, "", "AssertionError")
        if self.mishaps and self.mishaps[0] is Mishap.HANG_UP_AND_WORK:
            self.mishaps.popleft()
            threading.Thread(target=self._occupy, args=(body, kind)).start()
            return _HangUp()
        return self._occupy(body, kind)

    def _occupy(self, body: dict[str, Any], kind: str) -> Any:
        with self._guard:
            self._in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            with self._lock:
                return self._run(body, kind)
        finally:
            with self._guard:
                self._in_flight -= 1
                self._job = _Job(interrupted=self._job.interrupted)

    def _run(self, body: dict[str, Any], kind: str) -> Any:
        mishap = self.mishaps.popleft() if self.mishaps else None
        if mishap is Mishap.EXCEPTION:
            raise HTTPError(500, "CUDA error", "RuntimeError")
        if mishap is Mishap.TYPE_ERROR:
            raise TypeError("unsupported operand type(s)")
        if mishap is Mishap.HANG_UP:
            return _HangUp()
        wanted = body.get("sd_model_checkpoint")
        if self.checkpoint is None or mishap is Mishap.NO_MODEL or (wanted and wanted != self.checkpoint):
            return {"images": [], "parameters": body, "info": ""}
        steps, passes = int(body.get("steps", 20)), int(body.get("n_iter", 1))
        batch = int(body.get("batch_size", 1))
        width, height = int(body.get("width", 1024)), int(body.get("height", 1024))
        applied = self._apply_loras(body)
        images: list[str] = []
        seed = int(body.get("seed", -1))
        seed = secrets.randbelow(2**32) if seed < 0 else seed
        text = self._infotext(body, steps, seed, applied)
        completed = self._sample(steps, passes)
        if mishap is Mishap.OUT_OF_MEMORY:
            completed = 0
        if width > 0 and height > 0:
            essences = [f"{body.get('prompt')}{seed + number}{applied}" for number in range(completed * batch)]
            images = [self._draw(body, width, height, essence, text) for essence in essences]
        if completed < passes and mishap is None and not images and self._preview is not None:
            # What was shown last is handed out as the picture.
            images = [self._preview]
        self._preview = None
        count = len(images)
        info = {
            "prompt": body.get("prompt", ""),
            "all_prompts": [body.get("prompt", "")] * max(1, count),
            "negative_prompt": body.get("negative_prompt", ""),
            "seed": seed,
            "all_seeds": [seed + number for number in range(max(1, count))],
            "width": width // _VAE_FACTOR * _VAE_FACTOR,
            "height": height // _VAE_FACTOR * _VAE_FACTOR,
            "sampler_name": body.get("sampler_name") or SAMPLERS[0],
            "cfg_scale": body.get("cfg_scale", 6.0),
            "steps": steps,
            "batch_size": batch,
            "extra_generation_params": self._extra_parameters(applied),
            "index_of_first_image": 0,
            "infotexts": [text] * max(1, count),
            "job_timestamp": time.strftime("%Y%m%d%H%M%S"),
        }
        if self.dialect is Dialect.A1111:
            info |= {"sd_model_name": self.checkpoint, "version": "v1.10.1"}
        shown = images if body.get("send_images", True) else []
        self.generated += completed == passes
        return {"images": shown, "parameters": {**body, "init_images": None}, "info": json.dumps(info)}

    def _sample(self, steps: int, passes: int) -> int:
        """Go through the sub-jobs; how many passes were finished."""
        stepwise = self.reports_sub_jobs and self.dialect is Dialect.SDNEXT
        if not stepwise:
            self._begin("scripts_txt2img" if self.dialect is Dialect.A1111 else "txt2img", count=passes, steps=steps)
        completed = 0
        for number in range(passes):
            if stepwise:
                for name in ("API-TXT", "Process", "Base", "LoRA", "TE Encode"):
                    self._begin(name)
                    time.sleep(self.before_seconds)
                self._begin("Inference", steps=steps)
            else:
                self._job.number, self._job.step = number, 0
                time.sleep(self.before_seconds)
            if not self._loop(steps):
                return completed
            if stepwise:
                self._begin("VAE Decode")
                time.sleep(self.before_seconds)
            completed += 1
        return completed

    def _loop(self, steps: int) -> bool:
        for step in range(1, steps + 1):
            self._job.step = step
            time.sleep(self.step_seconds)
            if self._job.interrupted or self._job.skipped:
                return False
        return True

    def _draw(self, body: dict[str, Any], width: int, height: int, essence: str, text: str) -> str:
        size = (width // _VAE_FACTOR * _VAE_FACTOR, height // _VAE_FACTOR * _VAE_FACTOR)
        kind = "PNG" if (body.get("samples_format") or self._format()) == "png" else "JPEG"
        return _picture(*size, essence, kind, text)

    def _format(self) -> str:
        return self.samples_format or ("png" if self.dialect is Dialect.A1111 else "jpg")

    def _apply_loras(self, body: dict[str, Any]) -> list[str]:
        """The names of a prompt's LoRAs that the server says it applied. The negative prompt is not read."""
        applied = []
        self._loaded = []
        for kind, arguments in _TAG.findall(body.get("prompt") or ""):
            if kind != "lora":
                continue
            name, *weights = arguments.split(":")
            lora = self._found(name)
            if lora is None or lora.fault in (Fault.CORRUPT, Fault.UNMATCHED):
                self._log.append(json.dumps({"level": "ERROR", "msg": f'Network load: name="{name}" not loaded'}))
                continue
            positional = [weight for weight in weights if "=" not in weight]
            if positional and _number(positional[0]) == 0:
                continue
            self._hashed.add(lora.path)
            self._loaded.append(name)
            applied.append(name)
        return applied

    def _found(self, name: str) -> FakeLora | None:
        for lora in self.loras:
            names = {lora.basename, lora.path}
            names.add(lora.alias if self.dialect is Dialect.A1111 else lora.listed_name)
            if name in names:
                return lora
        return None

    def _extra_parameters(self, applied: list[str]) -> dict[str, Any]:
        if not applied:
            return {}
        if self.dialect is Dialect.A1111:
            hashes = [f"{name}: {self._hash_of(name)}" for name in applied]
            return {"Lora hashes": ", ".join(hashes)}
        return {"LoRA networks": ", ".join(applied)}

    def _hash_of(self, name: str) -> str:
        lora = self._found(name)
        return lora.payload_sha256[:12] if lora else ""

    def _infotext(self, body: dict[str, Any], steps: int, seed: int, applied: list[str]) -> str:
        lines = [body.get("prompt", "")]
        if body.get("negative_prompt"):
            lines.append(f"Negative prompt: {body['negative_prompt']}")
        facts = [f"Steps: {steps}", f"Seed: {seed}", f"CFG scale: {body.get('cfg_scale', 6.0)}"]
        facts.append("App: SD.Next" if self.dialect is Dialect.SDNEXT else "Version: v1.10.1")
        facts += [f'{key}: "{value}"' for key, value in self._extra_parameters(applied).items()]
        return "\n".join([*lines, ", ".join(facts)])


class _HangUp(Response):
    """Closes the connection in the middle of an answer."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
        await send({"type": "http.response.body", "body": b"{", "more_body": False})


def _fails(_query: dict[str, Any], _body: Any) -> Any:
    raise HTTPError(500, "cls is not a string", "ResponseValidationError")


def _shaped(error: HTTPError) -> Response:
    # The header WWW-Authenticate of a 401 is lost on the way.
    return JSONResponse(error.answer, error.code)


async def _framework_404(_request: Request, _error: Exception) -> Response:
    return JSONResponse({"detail": "Not Found"}, 404)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 1.0


def _picture(width: int, height: int, essence: str, kind: str, text: str) -> str:
    """A flat picture in base64 whose colour follows from what it is of, with its parameters inside as the server has
    them."""
    digest = hashlib.sha256(essence.encode("utf-8", "surrogatepass")).digest()
    image = Image.new("RGB", (width, height), tuple(digest[:3]))
    stream = io.BytesIO()
    if kind == "PNG":
        from PIL.PngImagePlugin import PngInfo

        chunks = PngInfo()
        chunks.add_itxt("parameters", text)
        image.save(stream, "PNG", pnginfo=chunks)
    else:
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + text.encode("utf-16-be")
        image.save(stream, "JPEG", exif=exif)
    return base64.b64encode(stream.getvalue()).decode()
