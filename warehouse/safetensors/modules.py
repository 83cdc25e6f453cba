"""The adapted modules of a network, recovered from tensor names and shapes.

Belongs here: the naming schemes of trainers, and what each scheme's shapes say of rank and features.
Does not: which network type or base model follows from them (`networks`, `architectures`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from warehouse.safetensors.header import Tensor

Shape = tuple[int, ...]

# The last part of a name (the last but one before ".weight") → the family of the parametrisation it belongs to.
_FAMILY_OF_PART: dict[str, str] = {
    "lora_down": "kohya",
    "lora_up": "kohya",
    "lora_mid": "kohya",
    "down": "diffusers",
    "up": "diffusers",
    "lora_A": "peft",
    "lora_B": "peft",
    "lora_embedding_A": "peft",
    "lora_embedding_B": "peft",
    "dora_scale": "dora",
    "lora_magnitude_vector": "dora",
    "hada_w1_a": "loha",
    "hada_w1_b": "loha",
    "hada_w2_a": "loha",
    "hada_w2_b": "loha",
    "hada_t1": "loha",
    "hada_t2": "loha",
    "lokr_w1": "lokr",
    "lokr_w1_a": "lokr",
    "lokr_w1_b": "lokr",
    "lokr_w2": "lokr",
    "lokr_w2_a": "lokr",
    "lokr_w2_b": "lokr",
    "lokr_t2": "lokr",
    "oft_blocks": "oft",
    "oft_diag": "oft",
    "oft_R": "oft",
    "a1": "glora",
    "a2": "glora",
    "b1": "glora",
    "b2": "glora",
    "on_input": "ia3",
    "ia3_l": "ia3",
    "diff": "full",
    "diff_b": "full",
    "w_norm": "norm",
    "b_norm": "norm",
    "alpha": "alpha",
}

_TEXT_ENCODER = re.compile(
    r"(?:base_model\.model\.)?(?:lora_(?:prior_)?te(\d?)_|te(\d?)[._]|text_encoders?(?:_(\d))?[.:])(?:model\.)?"
)
_BACKBONE = re.compile(
    r"(?:base_model\.model\.|model\.diffusion_model\.|diffusion_model\.|transformer\.|unet[.:]|dit\.|"
    r"lora_prior_unet_|lora_unet_+|lora_transformer_|lycoris_)+"
)
_CASCADE = ("lora_prior_unet_", "lora_prior_te_")


@dataclass(slots=True)
class Module:
    """One adapted layer. `path` is normalised: no trainer prefix, underscores for dots.

    `text_encoder` is None for the denoiser, else 1, 2 or 3 (0 where the trainer does not number them).
    """

    path: str
    text_encoder: int | None
    shapes: dict[str, Shape] = field(default_factory=dict)

    @property
    def rank(self) -> int | None:
        """Inner dimension of the decomposition; None where the parametrisation has none."""
        shapes = self.shapes
        for part in ("lora_mid", "lora_down", "down", "lora_A", "lora_embedding_A", "hada_w1_b"):
            if shapes.get(part):
                return shapes[part][0]
        for part in ("lokr_w2_b", "lokr_w1_b"):
            if shapes.get(part):
                return shapes[part][0]
        if len(shapes.get("a1", ())) >= 2:
            return min(shapes["a1"][:2])
        return None

    @property
    def in_features(self) -> int | None:
        """Width of what the layer reads."""
        return self._features(("lora_down", "down", "lora_A", "hada_w1_b"), "_b", 1)

    @property
    def out_features(self) -> int | None:
        """Width of what the layer writes."""
        return self._features(("lora_up", "up", "lora_B", "hada_w1_a"), "_a", 0)

    @property
    def has_spatial_kernel(self) -> bool:
        """Whether a convolution wider than 1×1 is adapted."""
        return any(len(shape) == 4 and shape[2] > 1 for shape in self.shapes.values())

    def _features(self, parts: tuple[str, ...], kronecker_suffix: str, axis: int) -> int | None:
        for part in parts:
            shape = self.shapes.get(part, ())
            if len(shape) > axis:
                return shape[axis]
        left = self.shapes.get("lokr_w1") or self.shapes.get("lokr_w1" + kronecker_suffix, ())
        right = self.shapes.get("lokr_w2") or self.shapes.get("lokr_w2" + kronecker_suffix, ())
        if len(left) > axis and len(right) > axis:
            return left[axis] * right[axis]
        full = self.shapes.get("diff", ())
        return full[axis] if len(full) > axis else None


@dataclass(frozen=True, slots=True)
class ModuleTable:
    """All adapted modules of a file.

    `families` counts tensors per parametrisation; `alphas` are the names of scalar alpha tensors;
    `other` are tensors that belong to no known parametrisation.
    """

    modules: list[Module]
    families: dict[str, int]
    alphas: list[str]
    other: list[str]
    cascade: bool


def tabulate(tensors: Mapping[str, Tensor]) -> ModuleTable:
    """Group tensors by the layer they adapt."""
    modules: dict[str, Module] = {}
    families: dict[str, int] = {}
    alphas: list[str] = []
    other: list[str] = []
    for name, tensor in tensors.items():
        stem, part = _split(name)
        family = _FAMILY_OF_PART.get(part)
        if family is None:
            other.append(name)
            continue
        if family == "alpha":
            alphas.append(name)
            continue
        families[family] = families.get(family, 0) + 1
        module = modules.get(stem)
        if module is None:
            module = modules[stem] = _module(stem)
        module.shapes[part] = tensor.shape
    cascade = any(name.startswith(_CASCADE) for name in modules)
    return ModuleTable(list(modules.values()), families, alphas, other, cascade)


def _split(name: str) -> tuple[str, str]:
    """Layer and part of a tensor name: `x.lora_down.weight` → (`x`, `lora_down`)."""
    if ":" in name:  # cloneofsimo's first scheme: unet:12:down
        stem, _, part = name.rpartition(":")
        return stem, part
    stem, _, part = name.rpartition(".")
    if part == "weight":
        stem, _, part = stem.rpartition(".")
        if part not in _FAMILY_OF_PART and stem.endswith(("lora_A", "lora_B", "lora_magnitude_vector")):
            # PEFT puts the adapter's name between: x.lora_A.default.weight
            stem, _, part = stem.rpartition(".")
        if part in ("down", "up"):
            stem = stem.removesuffix(".lora").removesuffix("_lora").removesuffix(".lora_linear_layer")
    return stem, part


def _module(stem: str) -> Module:
    encoder = _TEXT_ENCODER.match(stem)
    if encoder:
        number = next((group for group in encoder.groups() if group), "0")
        return Module(stem[encoder.end() :].replace(".", "_"), int(number))
    backbone = _BACKBONE.match(stem)
    path = stem[backbone.end() :] if backbone else stem
    return Module(path.replace(".", "_").replace("_processor_", "_"), None)
