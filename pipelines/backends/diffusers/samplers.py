"""Samplers by their usual names, as the schedulers of diffusers with their options."""

from typing import Any, Final

SAMPLERS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "euler": ("EulerDiscreteScheduler", {}),
    "euler a": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "lms": ("LMSDiscreteScheduler", {}),
    "ddim": ("DDIMScheduler", {}),
    "ddpm": ("DDPMScheduler", {}),
    "pndm": ("PNDMScheduler", {}),
    "lcm": ("LCMScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "dpm++ 2m": ("DPMSolverMultistepScheduler", {}),
    "dpm++ 2m sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
}
"""By the lower-case name: the class, and the options that make it this sampler."""
KARRAS: Final = "karras"


def scheduler_of(sampler: str, schedule: str) -> tuple[str, dict[str, Any]] | None:
    """The class and options of a sampler; None where there is none of that name. A blank one is the model's own."""
    name = sampler.strip().lower()
    is_karras = schedule.strip().lower() == KARRAS or name.endswith(f" {KARRAS}")
    found = SAMPLERS.get(name.removesuffix(f" {KARRAS}"))
    if found is None:
        return None
    return found[0], {**found[1], "use_karras_sigmas": True} if is_karras else found[1]
