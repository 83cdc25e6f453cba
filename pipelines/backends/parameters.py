"""The parameters of a generation by their usual names, with the ranges that every backend agrees on.

Belongs here: what holds for all. Does not: what one backend takes besides (its own module). What is not named here is
passed on to the target as it came.
"""

import hashlib
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_PICTURES: Final = 100
"""Of one job: they are held in memory at once, by the target and by us."""
MAX_SEED: Final = 2**32 - 1
LIVE_PREVIEW: Final = "live_preview"
OURS: Final = frozenset({"strict_loras", LIVE_PREVIEW, "lora_adapters", "backend", "mode", "prompt", "send_images"})
"""Parameters that are not passed on: they are for us, or decided by us."""


class GenerationParams(BaseModel):
    """What a generation may state; what it leaves open the target decides."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    negative_prompt: str = Field("", max_length=100_000, description="What the picture should not show.")
    steps: int = Field(20, ge=1, le=150, description="Steps of sampling.")
    cfg_scale: float = Field(7.0, ge=0, le=30, description="How closely the prompt is followed.")
    sampler_name: str = Field("", max_length=100, description="A sampler of the target's.")
    scheduler: str = Field("", max_length=100, description="A noise schedule of the target's.")
    width: int = Field(512, ge=64, le=4096, description="Pixels; targets round down to a multiple of 8.")
    height: int = Field(512, ge=64, le=4096, description="Pixels; targets round down to a multiple of 8.")
    seed: int = Field(-1, ge=-1, le=MAX_SEED, description="Of the first picture; -1: any.")
    batch_size: int = Field(1, ge=1, le=16, description="Pictures at once.")
    n_iter: int = Field(1, ge=1, le=100, description="Batches, one after the other.")
    strict_loras: bool = Field(False, description="Fail instead of generating without a LoRA of the prompt.")
    live_preview: bool = Field(True, description="Show small pictures of what is being made.")

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: Any) -> Any:
        return {name: item for name, item in value.items() if item is not None} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _bounded(self) -> "GenerationParams":
        if self.pictures > MAX_PICTURES:
            raise ValueError(
                f"batch_size times n_iter is {self.pictures}: at most {MAX_PICTURES} pictures are made at once"
            )
        return self

    @property
    def pictures(self) -> int:
        """How many pictures are asked for."""
        return self.batch_size * self.n_iter

    @property
    def stated(self) -> dict[str, Any]:
        """What was stated, without what is ours."""
        return {name: value for name, value in self.model_dump(exclude_unset=True).items() if name not in OURS}


def any_seed(job_id: str) -> int:
    """A seed for a job that states none, the same in each of its attempts: one that a target has already is found
    again, not made anew."""
    return int.from_bytes(hashlib.sha256(job_id.encode()).digest()[:4], "big")


def size_warnings(params: GenerationParams, multiple: int) -> list[str]:
    """What becomes of a size that the target cannot make."""
    sizes = {"width": params.width, "height": params.height}
    return [
        f"{name} {value} is no multiple of {multiple}: the picture has {value // multiple * multiple}"
        for name, value in sizes.items()
        if value % multiple
    ]
