"""What SD.Next and A1111 take beside the parameters that every backend takes, and what they are not given.

Everything they know is passed on under their own names, known here or not. Not passed on is what would let a client
write or read files of the server's machine, or have it call addresses: see `check`.
"""

import re
from typing import Any, Final

from pydantic import Field

from pipelines.backends.parameters import GenerationParams
from pipelines.backends.webui.client import Kind
from warehouse.backends import Complaint, ParamsError
from warehouse.settings import Settings

_PLACES: Final = re.compile(r"(^|_)(out)?(dir|path|folder|filename|pattern|file)s?(_|$)|^outdir")
"""Names of options that say where files are."""
_ADDRESS: Final = re.compile(r"\s*(https?|ftp|file):", re.IGNORECASE)
_SIGMAS: Final = frozenset({"karras", "exponential", "beta", "lambdas", "betas", "sigmas"})
_CHECKPOINT: Final = "sd_model_checkpoint"


class WebUIParams(GenerationParams):
    """Parameters of SD.Next, A1111 and Forge; others of theirs are passed on as they come."""

    denoising_strength: float = Field(0.5, ge=0, le=1, description="Of an img2img.")
    init_images: list[str] = Field(default_factory=list, max_length=16, description="Base64; makes it an img2img.")
    mask: str = Field("", description="Base64; of an inpainting.")
    enable_hr: bool = Field(False, description="A second pass at a larger size.")
    sd_model_checkpoint: str = Field("", max_length=500, description="A checkpoint that the server lists.")
    override_settings: dict[str, Any] = Field(default_factory=dict, description="Options for this request alone.")

    @property
    def checkpoint(self) -> str | None:
        """The checkpoint that is asked for, in either place."""
        overridden = self.override_settings.get(_CHECKPOINT)
        return self.sd_model_checkpoint or (str(overridden) if overridden else None)

    @property
    def passes(self) -> int:
        """How often the server samples."""
        return self.n_iter * (2 if self.enable_hr else 1)


def check(params: WebUIParams, prompt: str, settings: Settings) -> None:  # noqa: ARG001 - the plugin's signature
    """Refuse what reaches beyond a picture.

    Raises:
        ParamsError: see there.
    """
    others = params.model_extra or {}
    nested = others.get("extra")
    named = [
        *(("override_settings", name) for name in params.override_settings),
        *((name,) for name in others),
        *(("extra", str(name)) for name in (nested if isinstance(nested, dict) else ())),
    ]
    complaints = [
        Complaint(place, "says where the server keeps files, which is its operator's to set")
        for place in named
        if _PLACES.search(place[-1])
    ]
    pictures: list[tuple[tuple[str | int, ...], str]] = [(("mask",), params.mask)]
    pictures += [(("init_images", number), text) for number, text in enumerate(params.init_images)]
    complaints += [
        Complaint(place, "is an address, and the server would call it: send the picture itself in base64")
        for place, text in pictures
        if _ADDRESS.match(text)
    ]
    if complaints:
        raise ParamsError(complaints)


def request_of(params: WebUIParams, prompt: str, kind: Kind) -> dict[str, Any]:
    """The body of a request; where the two servers differ it is written as the one takes it that is asked."""
    body = params.stated | {"prompt": prompt, "send_images": True}
    if kind is Kind.A1111 and (checkpoint := body.pop(_CHECKPOINT, None)):
        body["override_settings"] = {_CHECKPOINT: checkpoint, **params.override_settings}
    if kind is Kind.SDNEXT and (scheduler := body.pop("scheduler", "").lower()) in _SIGMAS:
        # SD.Next has the noise schedule as an option of its samplers and passes over the field of A1111.
        body.setdefault("schedulers_sigma", scheduler)
    return {name: value for name, value in body.items() if value not in ("", [], {})} | {"prompt": prompt}


def warnings_of(params: WebUIParams, kind: Kind) -> list[str]:
    """What a server passes over."""
    if kind is Kind.SDNEXT and params.scheduler and params.scheduler.lower() not in _SIGMAS | {"automatic", "default"}:
        return [f"SD.Next has no schedule {params.scheduler!r}: its sampler's own was used"]
    return []
