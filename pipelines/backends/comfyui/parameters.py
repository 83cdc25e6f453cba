"""What ComfyUI takes beside the parameters that every backend takes: a workflow of the client's, and what fills it."""

from typing import Any

from pydantic import Field, field_validator

from pipelines.backends.comfyui.workflow import checked_template, places
from pipelines.backends.parameters import GenerationParams
from warehouse.backends import Complaint, ParamsError
from warehouse.settings import Settings


class ComfyParams(GenerationParams):
    """Parameters of ComfyUI; others fill places of the workflow that bear their names."""

    n_iter: int = Field(1, ge=1, le=1, description="Always 1: ask for more pictures by batch_size, or another job.")
    clip_skip: int = Field(1, ge=1, le=24, description="Layers of the text encoder that are left out, and one.")
    sd_model_checkpoint: str = Field("", max_length=500, description="A checkpoint as ComfyUI lists it.")
    workflow: dict[str, Any] = Field(default_factory=dict, description="A workflow in ComfyUI's API format.")

    @field_validator("workflow")
    @classmethod
    def _is_workflow(cls, value: dict[str, Any]) -> dict[str, Any]:
        return checked_template(value)


def check(params: ComfyParams, prompt: str, settings: Settings) -> None:  # noqa: ARG001 - the plugin's signature
    """Refuse a workflow with places that nothing fills.

    Raises:
        ParamsError: see there.
    """
    if not params.workflow:
        return
    unfilled = sorted(places(params.workflow) - FILLED - set(params.model_extra or {}))
    if unfilled:
        message = f"has places that nothing fills ({', '.join(unfilled)}): give parameters of these names"
        raise ParamsError([Complaint(("workflow",), message)])


FILLED = frozenset(
    {
        *("prompt", "negative_prompt", "steps", "cfg_scale", "sampler_name", "scheduler", "width", "height", "seed"),
        *("batch_size", "checkpoint", "clip_skip", "clip_stop", "loras"),
    }
)
"""The places that are always filled."""
