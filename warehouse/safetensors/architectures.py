"""The base model a network was made for, from the names and shapes of what it adapts, and from metadata.

Belongs here: what tells architectures apart, and how sure that makes one. Does not: reading either (`modules`,
`training`). Names of base models are Civitai's. A confidence is the chance that exactly this name is right:
structure tells families apart with near certainty, members of a family (SDXL, Pony, Illustrious, NoobAI) not
at all, and only metadata can choose between them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from warehouse.safetensors.modules import Module, ModuleTable
from warehouse.safetensors.training import text


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A base model in Civitai's spelling, how sure that is (0..1) and what shows it."""

    name: str
    confidence: float
    evidence: str


# Members share their structure: metadata may choose within a family, never against it.
_FAMILIES: tuple[frozenset[str], ...] = (
    frozenset({"SD 1.5", "SD 1.4"}),
    frozenset({"SD 2.0", "SD 2.1", "SD 2.1 768"}),
    frozenset({"SDXL 1.0", "SDXL 0.9", "SDXL Turbo", "SDXL Lightning", "SDXL Hyper"})
    | {"Pony", "Illustrious", "NoobAI", "Kolors"},
    frozenset({"SD 3", "SD 3.5 Medium"}),
    frozenset({"SD 3.5 Large", "SD 3.5 Large Turbo"}),
    frozenset({"Flux.1 D", "Flux.1 S", "Flux.1 Krea", "Flux.1 Kontext", "Chroma"}),
    frozenset({"Flux.2 Klein 9B", "Flux.2 Klein 9B-base"}),
    frozenset({"Flux.2 Klein 4B", "Flux.2 Klein 4B-base"}),
    frozenset({"Wan Video 14B t2v", "Wan Video 14B i2v 480p", "Wan Video 14B i2v 720p"})
    | {"Wan Video 2.2 T2V-A14B", "Wan Video 2.2 I2V-A14B"},
    frozenset({"AuraFlow", "Pony V7"}),
    frozenset({"ZImageTurbo", "ZImageBase"}),
    frozenset({"PixArt a", "PixArt E"}),
)

# What `ss_base_model_version` and `modelspec.architecture` say, tried in order on lower-case text.
_DECLARED: tuple[tuple[str, str, float], ...] = (
    (r"stable-diffusion-v1|^sd_?v?1", "SD 1.5", 0.9),
    (r"stable-diffusion-v2-768|^sd_?v2_768", "SD 2.1 768", 0.8),
    (r"stable-diffusion-v2|^sd_?v?2", "SD 2.1", 0.7),
    (r"sdxl_base_v0-9", "SDXL 0.9", 0.5),
    (r"stable-diffusion-xl|^sdxl", "SDXL 1.0", 0.5),
    (r"stable-diffusion-v?3[.-]?5-large|^sd_?3\.?5-?_?large", "SD 3.5 Large", 0.9),
    (r"stable-diffusion-v?3[.-]?5|^sd_?3\.?5", "SD 3.5 Medium", 0.8),
    (r"stable-diffusion-v?3|^sd_?v?3", "SD 3", 0.7),
    (r"stable-cascade", "Stable Cascade", 0.9),
    (r"chroma", "Chroma", 0.9),
    (r"flux.?2.*klein.*4b", "Flux.2 Klein 4B", 0.8),
    (r"flux.?2.*klein.*9b", "Flux.2 Klein 9B", 0.8),
    (r"flux.?2", "Flux.2 D", 0.8),
    (r"flux.*kontext", "Flux.1 Kontext", 0.9),
    (r"flux.*krea", "Flux.1 Krea", 0.9),
    (r"flux.*schnell", "Flux.1 S", 0.9),
    (r"flux", "Flux.1 D", 0.85),
    (r"z-?_?image.*base", "ZImageBase", 0.9),
    (r"z-?_?image", "ZImageTurbo", 0.75),
    (r"qwen", "Qwen", 0.9),
    (r"hunyuan.?video", "Hunyuan Video", 0.9),
    (r"hunyuan", "Hunyuan 1", 0.7),
    (r"wan.?2.?2.*i2v", "Wan Video 2.2 I2V-A14B", 0.8),
    (r"wan.?2.?2.*(t2v|14b)", "Wan Video 2.2 T2V-A14B", 0.8),
    (r"wan.?2.?2.*5b", "Wan Video 2.2 TI2V-5B", 0.9),
    (r"wan.*1[._]3b", "Wan Video 1.3B t2v", 0.9),
    (r"wan.*i2v.*720", "Wan Video 14B i2v 720p", 0.9),
    (r"wan.*i2v", "Wan Video 14B i2v 480p", 0.6),
    (r"wan.*t2v", "Wan Video 14B t2v", 0.7),
    (r"ltx.?v?-?2", "LTXV2", 0.8),
    (r"ltx", "LTXV", 0.8),
    (r"lumina", "Lumina", 0.9),
    (r"hidream", "HiDream", 0.9),
    (r"kolors", "Kolors", 0.9),
    (r"auraflow", "AuraFlow", 0.8),
    (r"pixart.*sigma", "PixArt E", 0.9),
    (r"pixart", "PixArt a", 0.8),
    (r"mochi", "Mochi", 0.9),
    (r"cogvideo", "CogVideoX", 0.9),
    (r"anima", "Anima", 0.8),
)

# What the file name of the training checkpoint hints at: people rename, so never near certainty.
_HINTED: tuple[tuple[str, str, float], ...] = (
    (r"pony.?(diffusion)?.?v?7", "Pony V7", 0.8),
    (r"noob", "NoobAI", 0.85),
    (r"illustrious|wai.?nsfw|\bil?xl", "Illustrious", 0.8),
    (r"pony|autism", "Pony", 0.85),
    (r"kolors", "Kolors", 0.85),
    (r"chroma", "Chroma", 0.8),
    (r"kontext", "Flux.1 Kontext", 0.8),
    (r"flux.*krea", "Flux.1 Krea", 0.8),
    (r"schnell", "Flux.1 S", 0.8),
    (r"sd_?xl_?base_?1|stable-diffusion-xl-base-1", "SDXL 1.0", 0.9),
    (r"sd_?xl_?turbo", "SDXL Turbo", 0.8),
    (r"z-?_?image.*base", "ZImageBase", 0.85),
    (r"wan.?2.?2.*i2v", "Wan Video 2.2 I2V-A14B", 0.85),
    (r"wan.?2.?2.*t2v", "Wan Video 2.2 T2V-A14B", 0.85),
    (r"i2v.*720", "Wan Video 14B i2v 720p", 0.85),
    (r"i2v.*480", "Wan Video 14B i2v 480p", 0.85),
    (r"klein.*9b.*base", "Flux.2 Klein 9B-base", 0.8),
    (r"klein.*4b.*base", "Flux.2 Klein 4B-base", 0.8),
    (r"sd-?v?1-?[-_.]?4\b|stable-diffusion-v1-4", "SD 1.4", 0.85),
    (r"sd-?v?1-?[-_.]?5|^v1[-.]5", "SD 1.5", 0.9),
    (r"v2-?1_768|768-v-ema", "SD 2.1 768", 0.85),
)

_COMPILED_DECLARED = tuple((re.compile(pattern), name, confidence) for pattern, name, confidence in _DECLARED)
_COMPILED_HINTED = tuple((re.compile(pattern), name, confidence) for pattern, name, confidence in _HINTED)


def detect_base_model(table: ModuleTable, metadata: Mapping[str, object]) -> BaseModel | None:
    """The best guess from structure and metadata together; None when neither says anything."""
    structural = _from_structure(table)
    declared = _from_metadata(metadata)
    hinted = _match(_COMPILED_HINTED, text(metadata.get("ss_sd_model_name")), "ss_sd_model_name")
    if structural is None:
        return _refined(declared, hinted) if declared else hinted
    if declared and declared.name != structural.name and not _related(structural.name, declared.name):
        evidence = f"{structural.evidence}, against {declared.evidence}"
        return replace(structural, confidence=round(structural.confidence * 0.9, 3), evidence=evidence)
    best = structural
    if declared and (declared.name == best.name or declared.confidence >= best.confidence):
        confidence = max(best.confidence, declared.confidence)
        best = BaseModel(declared.name, confidence, f"{structural.evidence}; {declared.evidence}")
    return _refined(best, hinted)


def _refined(base: BaseModel, hinted: BaseModel | None) -> BaseModel:
    """Let a hint choose within the family of `base`."""
    if hinted is None or not (hinted.name == base.name or _related(base.name, hinted.name)):
        return base
    confidence = max(base.confidence, hinted.confidence) if base.name == hinted.name else hinted.confidence
    return BaseModel(hinted.name, confidence, f"{base.evidence}; {hinted.evidence}")


def _related(first: str, second: str) -> bool:
    return any(first in family and second in family for family in _FAMILIES)


def _from_metadata(metadata: Mapping[str, object]) -> BaseModel | None:
    for key in ("modelspec.architecture", "ss_base_model_version"):
        found = _match(_COMPILED_DECLARED, text(metadata.get(key)), key)
        if found:
            return found
    match str(metadata.get("ss_v2")).lower():
        case "true":
            return BaseModel("SD 2.1", 0.7, "ss_v2 is True")
        case "false" if not text(metadata.get("ss_base_model_version")):
            # kohya names the base model of everything newer than the two it knew at first
            return BaseModel("SD 1.5", 0.85, "ss_v2 is False and no other base model is named")
        case _:
            return None


def _match(table: tuple[tuple[re.Pattern[str], str, float], ...], value: str | None, key: str) -> BaseModel | None:
    lowered = (value or "").lower()
    for pattern, name, confidence in table if lowered else ():
        if pattern.search(lowered):
            return BaseModel(name, confidence, f"{key} {value!r}")
    return None


class _Structure:
    """The adapted layers of the denoiser, arranged for questions."""

    def __init__(self, table: ModuleTable) -> None:
        self.layers: dict[str, Module] = {m.path: m for m in table.modules if m.text_encoder is None}
        self.encoders: list[Module] = [m for m in table.modules if m.text_encoder is not None]
        self.text = "\n".join(["", *self.layers, ""])
        self.other = "\n".join(table.other)
        self.cascade = table.cascade

    def has(self, *fragments: str) -> bool:
        """Whether any layer's path contains one of `fragments`; a leading newline anchors at the path's start."""
        return any(fragment in self.text for fragment in fragments)

    def width(self, *pattern: str, output: bool = False) -> int | None:
        """Input (or output) width of the first layer whose path matches one of the patterns."""
        for expression in pattern:
            compiled = re.compile(expression)
            for path, module in self.layers.items():
                if compiled.search(path):
                    width = module.out_features if output else module.in_features
                    if width:
                        return width
        return None

    def blocks(self, prefix: str) -> int:
        """One more than the highest block number after `prefix` at the start of a path; 0 where there is none."""
        return max((int(found) + 1 for found in re.findall(rf"\n{prefix}(\d{{1,6}})_", self.text)), default=0)


def _from_structure(table: ModuleTable) -> BaseModel | None:
    structure = _Structure(table)
    for detector in _DETECTORS:
        found = detector(structure)
        if found is not None:
            return found
    return None


def _cascade(structure: _Structure) -> BaseModel | None:
    return BaseModel("Stable Cascade", 0.95, "prior layers") if structure.cascade else None


def _hidream(structure: _Structure) -> BaseModel | None:
    if structure.has("double_stream_blocks_", "single_stream_blocks_"):
        return BaseModel("HiDream", 0.95, "stream blocks of HiDream")
    return None


def _aura_flow(structure: _Structure) -> BaseModel | None:
    if structure.has("\ndouble_layers_", "\nsingle_layers_") or structure.has("\njoint_transformer_blocks_"):
        return BaseModel("AuraFlow", 0.6, "double and single layers of AuraFlow")
    return None


def _sd3(structure: _Structure) -> BaseModel | None:
    if not structure.has("\njoint_blocks_"):
        return None
    return _sd3_of_width(structure.width("^joint_blocks_.*attn_qkv", "^joint_blocks_.*x_block"), "joint blocks")


def _sd3_of_width(width: int | None, evidence: str) -> BaseModel | None:
    if width == 2432:
        return BaseModel("SD 3.5 Large", 0.9, f"{evidence} of width 2432")
    if width == 1536:
        return BaseModel("SD 3", 0.55, f"{evidence} of width 1536")
    return None


def _flux_layout(structure: _Structure) -> BaseModel | None:
    """Black Forest Labs' layer names, which HunyuanVideo borrowed."""
    if not structure.has("\ndouble_blocks_", "\nsingle_blocks_"):
        return None
    if structure.has("_img_mlp_fc", "_txt_mlp_fc", "individual_token_refiner"):
        return BaseModel("Hunyuan Video", 0.95, "double blocks with layers of HunyuanVideo")
    double, single = structure.blocks("double_blocks_"), structure.blocks("single_blocks_")
    width = structure.width("^double_blocks_.*attn_qkv$", "^single_blocks_.*linear1$", "^double_blocks_.*mlp_0$")
    linear1 = structure.width("^single_blocks_.*linear1$", output=True)
    evidence = f"{double} double and {single} single blocks of width {width}"
    if "distilled_guidance_layer" in structure.text or "distilled_guidance_layer" in structure.other:
        return BaseModel("Chroma", 0.95, "distilled guidance layer")
    if width == 6144:
        return BaseModel("Flux.2 D", 0.95, evidence)
    if width == 4096:
        return BaseModel("Flux.2 Klein 9B", 0.7, evidence)
    if width == 3072 and (linear1 == 9 * 3072 or (0 < double <= 5 and 0 < single == 20)):
        return BaseModel("Flux.2 Klein 4B", 0.7, evidence)
    if double > 19 or single > 38:
        return BaseModel("Hunyuan Video", 0.9, evidence)
    return BaseModel("Flux.1 D", 0.85 if width == 3072 else 0.6, evidence)


def _joint_transformer(structure: _Structure) -> BaseModel | None:
    """Diffusers' names of the transformers with a text stream: Flux, SD 3, Qwen-Image, HunyuanVideo."""
    joint, single = structure.blocks("transformer_blocks_"), structure.blocks("single_transformer_blocks_")
    if structure.has("_to_qkv_mlp_proj"):
        return _flux2_diffusers(structure)
    if structure.has("_img_mlp_", "_txt_mlp_", "_img_mod_") and joint:
        return BaseModel("Qwen", 0.95, "image and text streams of Qwen-Image")
    if not single and not structure.has("_add_q_proj", "_add_k_proj", "_add_v_proj", "_ff_context_"):
        return None
    width = structure.width(r"transformer_blocks_.*attn_to_[qkv]$", "_add_[qkv]_proj$", "_ff_net_0_proj$")
    evidence = f"{joint} joint and {single} single transformer blocks of width {width}"
    if width == 3072 and (joint > 19 or single > 38):
        name = "Hunyuan Video" if single else "Qwen"
        return BaseModel(name, 0.9, evidence)
    if width == 3072:
        return BaseModel("Flux.1 D", 0.85 if single else 0.6, evidence)
    if width == 1536 and structure.has("_attn2_to_"):
        return BaseModel("SD 3.5 Medium", 0.9, f"{evidence} with dual attention")
    return _sd3_of_width(width, evidence)


def _flux2_diffusers(structure: _Structure) -> BaseModel | None:
    width = structure.width("_to_qkv_mlp_proj$")
    names = {6144: ("Flux.2 D", 0.95), 4096: ("Flux.2 Klein 9B", 0.7), 3072: ("Flux.2 Klein 4B", 0.7)}
    if width not in names:
        return None
    name, confidence = names[width]
    return BaseModel(name, confidence, f"fused single blocks of width {width}")


def _next_dit(structure: _Structure) -> BaseModel | None:
    if not structure.has("\nlayers_", "context_refiner_", "noise_refiner_"):
        return None
    width = structure.width("attention_(qkv|to_q|to_k)$", "feed_forward_w1$", "attention_(out|to_out_0)$")
    names = {2304: ("Lumina", 0.95), 3840: ("ZImageTurbo", 0.75)}
    if width not in names:
        return None
    name, confidence = names[width]
    return BaseModel(name, confidence, f"layers of width {width}")


def _numbered_blocks(structure: _Structure) -> BaseModel | None:
    """Transformers whose layers are plainly called `blocks`: Wan, Mochi, Hunyuan-DiT, Anima, PixArt."""
    if not structure.has("\nblocks_"):
        return None
    if structure.has("_qkv_x", "_qkv_y"):
        return BaseModel("Mochi", 0.9, "x and y streams of Mochi")
    if structure.has("_attn1_Wqkv", "_skip_linear"):
        return BaseModel("Hunyuan 1", 0.9, "layers of Hunyuan-DiT")
    if structure.has("_cross_attn_q_linear", "_cross_attn_kv_linear"):
        return BaseModel("PixArt a", 0.5, "layers of PixArt")
    if structure.has("_cross_attn_q_proj", "_self_attn_q_proj") or structure.has("\nllm_adapter"):
        return _cosmos(structure)
    return _wan(structure)


def _cosmos(structure: _Structure) -> BaseModel | None:
    if structure.has("\nllm_adapter"):
        return BaseModel("Anima", 0.95, "text adapter of Anima")
    width = structure.width("_self_attn_q_proj$")
    return BaseModel("Anima", 0.6, "blocks of Cosmos-Predict2 of width 2048") if width == 2048 else None


def _wan(structure: _Structure) -> BaseModel | None:
    width = structure.width("^blocks_.*(self_attn_q|attn1_to_q|ffn_0|ffn_net_0_proj|cross_attn_q)$")
    evidence = f"{structure.blocks('blocks_')} blocks of width {width}"
    if width == 1536:
        return BaseModel("Wan Video 1.3B t2v", 0.9, evidence)
    if width == 3072:
        return BaseModel("Wan Video 2.2 TI2V-5B", 0.9, evidence)
    if width == 5120 and structure.has("_k_img", "_add_k_proj"):
        return BaseModel("Wan Video 14B i2v 480p", 0.5, f"{evidence} with image attention")
    if width == 5120:
        return BaseModel("Wan Video 14B t2v", 0.5, evidence)
    return None


def _unet(structure: _Structure) -> BaseModel | None:
    """Stable Diffusion's U-Nets, told apart by the width of the text they attend to."""
    if not structure.has(
        "down_blocks_", "up_blocks_", "input_blocks_", "output_blocks_", "mid_block_", "middle_block_"
    ):
        return None
    width = structure.width("attn2_to_[kv]$")
    found = _unet_of_width(width, f"cross-attention width {width}")
    if found is not None:
        return found
    deep = re.search(r"transformer_blocks_[2-9]_", structure.text)
    if deep or any(module.text_encoder == 2 for module in structure.encoders):
        return BaseModel("SDXL 1.0", 0.5, "transformer depth of SDXL" if deep else "two text encoders")
    return None


def _unet_of_width(width: int | None, evidence: str) -> BaseModel | None:
    match width:
        case 768:
            return BaseModel("SD 1.5", 0.95, evidence)
        case 1024:
            return BaseModel("SD 2.1", 0.6, evidence)
        case 2048:
            return BaseModel("SDXL 1.0", 0.5, evidence)
        case _:
            return None


def _plain_transformer(structure: _Structure) -> BaseModel | None:
    """Diffusers' names of transformers without a text stream: PixArt, LTX-Video, CogVideoX."""
    blocks = structure.blocks("transformer_blocks_")
    if not blocks:
        return None
    width = structure.width("^transformer_blocks_.*attn1_to_[qkv]$", "^transformer_blocks_.*ff_net_0_proj$")
    evidence = f"{blocks} transformer blocks of width {width}"
    if structure.has("_audio_attn", "audio_to_video", "video_to_audio", "_audio_ff"):
        return BaseModel("LTXV2", 0.9, f"{evidence} with audio")
    match width:
        case 1152:
            return BaseModel("PixArt a", 0.5, evidence)
        case 2048 | 4096:
            return BaseModel("LTXV", 0.8, evidence)
        case 1920 | 3072 if not structure.has("_attn2_"):
            return BaseModel("CogVideoX", 0.8, evidence)
        case _:
            return None


def _numbered_unet(structure: _Structure) -> BaseModel | None:
    """cloneofsimo's first scheme numbers the layers: only the widths are left to judge by."""
    widths = {module.in_features for path, module in structure.layers.items() if path.isdigit()}
    for width in (2048, 1024, 768):
        if width in widths and 320 in widths:
            found = _unet_of_width(width, f"numbered U-Net layers, one input of width {width}")
            return replace(found, confidence=found.confidence * 0.9) if found else None
    return None


def _text_encoders_alone(structure: _Structure) -> BaseModel | None:
    if structure.layers or not structure.encoders:
        return None
    if any(module.text_encoder == 2 for module in structure.encoders):
        return BaseModel("SDXL 1.0", 0.4, "two text encoders, nothing else")
    widths = {module.in_features for module in structure.encoders if "self_attn" in module.path}
    if widths == {768}:
        return BaseModel("SD 1.5", 0.7, "text encoder of width 768, nothing else")
    if widths == {1024}:
        return BaseModel("SD 2.1", 0.5, "text encoder of width 1024, nothing else")
    return None


_DETECTORS: tuple[Callable[[_Structure], BaseModel | None], ...] = (
    _cascade,
    _unet,
    _hidream,
    _aura_flow,
    _sd3,
    _flux_layout,
    _joint_transformer,
    _next_dit,
    _numbered_blocks,
    _plain_transformer,
    _numbered_unet,
    _text_encoders_alone,
)
