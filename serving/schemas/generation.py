"""Generations: what is asked of the backends, and jobs as they are shown. Which parameters suit is theirs to say."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from serving.composing import MAX_MEMBERS
from serving.schemas.adapters import ADAPTER_ID
from serving.schemas.compose import ComposeAdapter, ComposeAnswer, PromptText
from serving.schemas.deliveries import MAX_PROMPT
from serving.schemas.jobs import JobFields, JobPage

JOB_ID = "0190a6f2-7c1e-7b5a-9c55-0b8f6f2f7f13"
IMAGE_URL = f"/api/v1/generation/images/{'5a' * 32}?expires=1767261600&signature={'0f' * 16}"

RANGES: Final = {
    "steps": (1, 150),
    "cfg_scale": (0, 30),
    "width": (64, 4096),
    "height": (64, 4096),
    "seed": (-1, 2**32 - 1),
    "batch_size": (1, 16),
    "n_iter": (1, 100),
}
"""What is said of parameters; the backends hold requests to it, and a test compares both."""


def _as_adapters(value: Any) -> Any:
    """Adapters as clients also write them: ids alone, an object of weights by id, `lora_id` or `adapter_id`."""
    if isinstance(value, Mapping):
        return [{"id": key, "weight": weight} for key, weight in value.items()]
    return [_as_adapter(item) for item in value] if isinstance(value, list) else value


def _as_adapter(item: Any) -> Any:
    if isinstance(item, str):
        return {"id": item}
    if not isinstance(item, Mapping) or "id" in item:
        return item
    other = next((name for name in ("lora_id", "adapter_id") if name in item), None)
    return item if other is None else {**{k: v for k, v in item.items() if k != other}, "id": item[other]}


LoraAdapters = Annotated[list[ComposeAdapter], Field(max_length=MAX_MEMBERS), BeforeValidator(_as_adapters)]


def _ranged(name: str, description: str) -> Any:
    """A number whose range is told here and checked by the backend."""
    low, high = RANGES[name]
    return Field(None, description=description, json_schema_extra={"minimum": low, "maximum": high})


class GenerationParameters(BaseModel):
    """Parameters of a generation by their usual names. Others are passed on to the backend as they come.

    What is left out, or null, the backend decides.
    """

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    backend: str | None = Field(
        None, max_length=32, description="One of `GET /generation/backends`; absent: the first of them."
    )
    negative_prompt: str | None = Field(None, max_length=MAX_PROMPT, description="What the picture should not show.")
    steps: int | None = _ranged("steps", "Steps of sampling.")
    cfg_scale: float | None = _ranged("cfg_scale", "How closely the prompt is followed.")
    sampler_name: str | None = Field(None, max_length=100, description="A sampler of the backend's.")
    scheduler: str | None = Field(None, max_length=100, description="A noise schedule of the backend's.")
    width: int | None = _ranged("width", "Pixels.")
    height: int | None = _ranged("height", "Pixels.")
    seed: int | None = _ranged("seed", "Of the first picture; -1: any.")
    batch_size: int | None = _ranged("batch_size", "Pictures at once.")
    n_iter: int | None = _ranged("n_iter", "Batches, one after the other.")
    strict_loras: bool | None = Field(None, description="Fail instead of generating without a LoRA of the prompt.")
    live_preview: bool | None = Field(None, description="Show small pictures of what is being made.")

    def sent(self, *without: str) -> dict[str, Any]:
        """The parameters that were sent, as they are passed on."""
        return self.model_dump(exclude_unset=True, exclude={"backend", *without})


class GenerationQuestion(GenerationParameters):
    """Pictures to make."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "prompt": "a knight, best quality",
                    "negative_prompt": "blurry",
                    "steps": 20,
                    "width": 768,
                    "height": 512,
                    "seed": 7,
                    "lora_adapters": [{"id": ADAPTER_ID, "weight": 0.8}],
                }
            ]
        }
    )

    prompt: str = Field(max_length=MAX_PROMPT, description="What the picture should show.")
    lora_adapters: LoraAdapters | None = Field(
        None,
        description="Adapters whose tokens are put behind the prompt, in the order of composing; an id alone takes "
        "the adapter's own weight.",
    )


class ComposedGenerationQuestion(GenerationParameters):
    """What to compose, and the parameters of the generation beside it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"prefix": "a knight,", "suffix": "best quality", "include_triggers": True, "steps": 20}]
        }
    )

    prefix: PromptText | None = Field(None, description="Stands before the tokens, as it is.")
    suffix: PromptText | None = Field(None, description="Stands behind the tokens, as it is.")
    prompt: PromptText | None = Field(None, description="The same as `prefix`.")
    include_triggers: bool = Field(
        False, description="Add each adapter's activation text, or else its first trigger group, behind the tokens."
    )
    adapters: LoraAdapters | None = Field(None, description="Compose these instead of the active ones.")
    lora_adapters: LoraAdapters | None = Field(None, description="The same as `adapters`.")

    @model_validator(mode="after")
    def _once(self) -> "ComposedGenerationQuestion":
        for name, other in (("prefix", "prompt"), ("adapters", "lora_adapters")):
            if getattr(self, name) is not None and getattr(self, other) is not None:
                raise ValueError(f"{name} and {other} are the same here: send one of them")
        if (self.model_extra or {}).get("delivery") is not None:
            raise ValueError("delivery has no place here, as the prompt goes to the backend: leave it out")
        return self


class GenerationStatus(StrEnum):
    """Where a generation stands."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


_LORA_REPORT: dict[str, Any] = {
    "applied": [{"name": "Ink Dragon", "sent_as": "ink-dragon", "weight": 0.8, "lora_id": ADAPTER_ID}],
    "unknown": [],
    "incompatible": [],
    "unverified": [],
}
_RESULT: dict[str, Any] = {
    "images": ["iVBORw0KGgo="],
    "image_urls": [IMAGE_URL],
    "parameters": {"prompt": "a knight <lora:ink-dragon:0.8>", "steps": 20},
    "info": {"all_seeds": [7]},
    "generation_time": 4.21,
    "lora_report": _LORA_REPORT,
    "warnings": [],
    "backend": "sdnext",
    "server": {"kind": "sdnext", "version": "2026-07-23", "url": "http://127.0.0.1:7860"},
}
JOB_EXAMPLE: dict[str, Any] = {
    "id": JOB_ID,
    "status": "completed",
    "progress": 100.0,
    "backend": "sdnext",
    "prompt": "a knight <lora:Ink Dragon:0.8>",
    "params": {"steps": 20},
    "result": _RESULT,
    "error": None,
    "failure": None,
    "lora_report": _LORA_REPORT,
    "attempts": 1,
    "cancel_requested": False,
    "created_at": "2026-01-01T08:00:00Z",
    "started_at": "2026-01-01T08:00:00.021Z",
    "finished_at": "2026-01-01T08:00:04.3Z",
}
_LISTED = JOB_EXAMPLE | {"result": {name: value for name, value in _RESULT.items() if name != "images"}}


class GenerationResult(BaseModel):
    """What a generation made; backends may say more."""

    model_config = ConfigDict(extra="allow")

    images: list[str] = Field(default=[], description="The backend's own bytes in base64; absent in lists.")
    image_urls: list[str] = Field(description="The same pictures as signed URLs.")
    parameters: dict[str, Any] = Field(default={}, description="As the backend understood them.")
    info: dict[str, Any] = Field(default={}, description="What the backend says of its pictures.")
    generation_time: float | None = Field(None, description="Seconds at the backend.")
    lora_report: dict[str, list[dict[str, Any]]] | None = Field(
        None, description="The LoRAs of the prompt: applied, unknown, incompatible, or unverified."
    )
    warnings: list[str] = Field(default=[], description="What the backend did otherwise than it was asked.")


class GenerationJob(JobFields):
    """A generation from the request to its end. It is a delivery too, under the same id."""

    model_config = ConfigDict(json_schema_extra={"examples": [JOB_EXAMPLE]})

    status: GenerationStatus
    backend: str
    result: GenerationResult | None = Field(description="Null unless it is completed.")
    failure: str | None = Field(description="Why it failed, in one word: unreachable, timeout, lost, refused, …")
    lora_report: dict[str, list[dict[str, Any]]] | None = Field(
        description="What became of the LoRAs, where the generation came so far."
    )


class GenerationJobPage(JobPage):
    """One page of generations, newest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "items": [_LISTED],
                    "total": 1,
                    "limit": 100,
                    "offset": 0,
                    "next_cursor": None,
                    "filtered": 1,
                    "page": 1,
                    "pages": 1,
                    "per_page": 100,
                }
            ]
        }
    )

    items: list[GenerationJob]


class CancelledGeneration(GenerationJob):
    """A generation that was cancelled, or is about to be."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                JOB_EXAMPLE
                | {"status": "cancelled", "progress": 0.0, "result": None, "lora_report": None, "started_at": None}
                | {"success": True, "message": "it is cancelled"}
            ]
        }
    )

    success: bool = Field(description="True: it is cancelled, or will be.")
    message: str


class QueuedGeneration(BaseModel):
    """The generation waits for its turn."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "job_id": JOB_ID,
                    "status": "queued",
                    "backend": "sdnext",
                    "prompt": "a knight <lora:Ink Dragon:0.8>",
                    "warnings": [],
                }
            ]
        }
    )

    job_id: str
    status: GenerationStatus
    backend: str
    prompt: str = Field(description="As it was composed.")
    warnings: list[str] = Field(description="Of composing: what is probably not meant.")


class GenerationAnswer(GenerationResult):
    """The pictures, when a request waited for them."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"job_id": JOB_ID, "status": "completed", **_RESULT, "prompt": "a knight <lora:Ink Dragon:0.8>"}
            ]
        }
    )

    job_id: str
    status: GenerationStatus
    backend: str
    prompt: str = Field(description="As it was composed.")


class ComposedGenerationAnswer(GenerationAnswer):
    """The pictures, and what their prompt was made of."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "job_id": JOB_ID,
                    "status": "completed",
                    **_RESULT,
                    "prompt": "a dragon <lora:Ink Dragon:0.8> inkdragon, flowing ink at dawn",
                    "composition": ComposeAnswer.model_json_schema()["examples"][0],
                }
            ]
        }
    )

    composition: ComposeAnswer


class GenerationProgress(BaseModel):
    """How far a generation is."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"job_id": JOB_ID, "progress": 45.0, "status": "running", "eta": 3.1, "step": 9, "steps": 20}]
        }
    )

    job_id: str
    progress: float = Field(description="0..100, never falling.")
    status: GenerationStatus
    eta: float | None = Field(description="Seconds to the end; null is unknown.")
    step: int | None
    steps: int | None
    preview: str | None = Field(None, description="A small picture of what is being made, in base64; absent without.")


class BackendDetails(BaseModel):
    """A backend that generates, and what its target says."""

    name: str
    description: str
    is_default: bool = Field(description="Whether it is taken where a request names none.")
    reachable: bool | None = Field(description="Null: it cannot be asked without a generation.")
    version: str | None = Field(description="Null where the target does not say: it is used as configured.")
    checkpoints: list[str]
    samplers: list[str]
    error: str | None = Field(description="Why it is not reachable, or not known.")


class BackendList(BaseModel):
    """The installed and configured backends that generate."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "backends": ["sdnext"],
                    "details": [
                        {
                            "name": "sdnext",
                            "description": "Generates pictures by an SD.Next server.",
                            "is_default": True,
                            "reachable": True,
                            "version": "2026-07-23",
                            "checkpoints": ["Diffusers/tiny-sd"],
                            "samplers": ["Euler a"],
                            "error": None,
                        }
                    ],
                }
            ]
        }
    )

    backends: list[str]
    details: list[BackendDetails]
