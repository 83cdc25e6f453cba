"""Samplers and schedules: the names that A1111 made usual, and those of ComfyUI.

Belongs here: the table. Does not: whether a server has one (it says so itself).
"""

from typing import Final

_SAMPLERS: Final = {
    "euler": "euler",
    "euler a": "euler_ancestral",
    "heun": "heun",
    "heun++ 2": "heunpp2",
    "lms": "lms",
    "dpm2": "dpm_2",
    "dpm2 a": "dpm_2_ancestral",
    "dpm fast": "dpm_fast",
    "dpm adaptive": "dpm_adaptive",
    "dpm++ 2s a": "dpmpp_2s_ancestral",
    "dpm++ sde": "dpmpp_sde",
    "dpm++ 2m": "dpmpp_2m",
    "dpm++ 2m sde": "dpmpp_2m_sde",
    "dpm++ 2m sde heun": "dpmpp_2m_sde_heun",
    "dpm++ 3m sde": "dpmpp_3m_sde",
    "ddim": "ddim",
    "ddpm": "ddpm",
    "lcm": "lcm",
    "ipndm": "ipndm",
    "deis": "deis",
    "unipc": "uni_pc",
    "res multistep": "res_multistep",
}
_SCHEDULES: Final = {
    "automatic": "normal",
    "uniform": "normal",
    "normal": "normal",
    "karras": "karras",
    "exponential": "exponential",
    "simple": "simple",
    "sgm uniform": "sgm_uniform",
    "ddim": "ddim_uniform",
    "beta": "beta",
    "kl optimal": "kl_optimal",
}
DEFAULT_SAMPLER: Final = "euler"
DEFAULT_SCHEDULE: Final = "normal"


def comfy_names(sampler: str, schedule: str) -> tuple[str, str]:
    """ComfyUI's names of a sampler and a schedule, either of which may be blank.

    A name of A1111's may hold its schedule ("DPM++ 2M Karras"), which a stated one goes before. What the table does not
    have is passed on: ComfyUI's own names are in it by being left as they are.
    """
    name = sampler.strip()
    held = ""
    known = _SAMPLERS.get(name.lower())
    if known is None:
        stem, _, last = name.rpartition(" ")
        if stem.lower() in _SAMPLERS and last.lower() in _SCHEDULES:
            known, held = _SAMPLERS[stem.lower()], last.lower()
    stated = schedule.strip()
    chosen = _SCHEDULES.get(stated.lower(), stated) if stated else _SCHEDULES.get(held, DEFAULT_SCHEDULE)
    return known or name or DEFAULT_SAMPLER, chosen
