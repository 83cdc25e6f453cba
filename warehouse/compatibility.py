"""Which base models' adapters go together: a graph of ecosystems as data, and what it says of a pair and of a stack.

Belongs here: Civitai's names of base models by ecosystem, the edges between ecosystems, each with its reason. Does not:
how a base model is found (`safetensors.architectures`) and what is done about a clash. Pure.

An ecosystem is a set of base models whose adapters were made for the same layers and closely related weights; within it
adapters go together fully. An edge says that they do so partially: they load, with weaker or other results. Without an
edge they do not, whoever made both: a maker or a name in common means nothing. "Unknown" is an answer of its own.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations, product
from typing import Final


class Verdict(StrEnum):
    """How well adapters of two base models go together."""

    FULL = "full"
    PARTIAL = "partial"
    NONE = "none"
    UNKNOWN = "unknown"


_WORST_FIRST: Final = (Verdict.NONE, Verdict.UNKNOWN, Verdict.PARTIAL, Verdict.FULL)

ECOSYSTEMS: Final[Mapping[str, tuple[str, ...]]] = {
    "SD 1": ("SD 1.5", "SD 1.4", "SD 1.5 LCM", "SD 1.5 Hyper", "SD 1"),
    "SD 2": ("SD 2.0", "SD 2.1"),
    "SD 2 768": ("SD 2.0 768", "SD 2.1 768", "SD 2.1 Unclip"),
    "SDXL": (
        *("SDXL 1.0", "SDXL 0.9", "SDXL 1.0 LCM", "SDXL Lightning", "SDXL Hyper", "SDXL Turbo", "SDXL Distilled"),
        "SDXL",
    ),
    "Pony": ("Pony",),
    "Illustrious": ("Illustrious",),
    "NoobAI": ("NoobAI",),
    "Playground v2": ("Playground v2",),
    "Kolors": ("Kolors",),
    "SD 3": ("SD 3",),
    "SD 3.5 Medium": ("SD 3.5 Medium", "SD 3.5"),
    "SD 3.5 Large": ("SD 3.5 Large", "SD 3.5 Large Turbo", "SD 3.5"),
    "Stable Cascade": ("Stable Cascade",),
    "SVD": ("SVD", "SVD XT"),
    "Flux.1": ("Flux.1 D", "Flux.1 S", "Flux.1 Dev", "Flux.1 Schnell", "Flux.1"),
    "Flux.1 Krea": ("Flux.1 Krea",),
    "Flux.1 Kontext": ("Flux.1 Kontext",),
    "Chroma": ("Chroma",),
    "Flux.2": ("Flux.2 D",),
    "Flux.2 Klein 9B": ("Flux.2 Klein 9B",),
    "Flux.2 Klein 9B-base": ("Flux.2 Klein 9B-base",),
    "Flux.2 Klein 4B": ("Flux.2 Klein 4B",),
    "Flux.2 Klein 4B-base": ("Flux.2 Klein 4B-base",),
    "Z-Image Turbo": ("ZImageTurbo",),
    "Z-Image": ("ZImageBase",),
    "Qwen-Image": ("Qwen",),
    "AuraFlow": ("AuraFlow",),
    "Pony V7": ("Pony V7",),
    "Lumina": ("Lumina",),
    "HiDream": ("HiDream",),
    "Anima": ("Anima",),
    "CogView4": ("CogView4",),
    "PixArt-α": ("PixArt a",),
    "PixArt-Σ": ("PixArt E",),
    "Hunyuan-DiT": ("Hunyuan 1",),
    "HunyuanVideo": ("Hunyuan Video",),
    "Wan 2.1 1.3B": ("Wan Video 1.3B t2v", "Wan Video"),
    "Wan 2.1 14B t2v": ("Wan Video 14B t2v", "Wan Video"),
    "Wan 2.1 14B i2v": ("Wan Video 14B i2v 480p", "Wan Video 14B i2v 720p", "Wan Video"),
    "Wan 2.2 T2V-A14B": ("Wan Video 2.2 T2V-A14B",),
    "Wan 2.2 I2V-A14B": ("Wan Video 2.2 I2V-A14B",),
    "Wan 2.2 TI2V-5B": ("Wan Video 2.2 TI2V-5B",),
    "LTX-Video": ("LTXV",),
    "LTX-2": ("LTXV2",),
    "CogVideoX 2B": ("CogVideoX",),
    "CogVideoX 5B": ("CogVideoX",),
    "Mochi": ("Mochi",),
}
"""Ecosystem -> its base models as Civitai spells them (and as other tools do). A name under several says too little."""

_WAN_14B: Final = ("Wan 2.1 14B t2v", "Wan 2.1 14B i2v", "Wan 2.2 T2V-A14B", "Wan 2.2 I2V-A14B")

PARTIAL: Final[tuple[tuple[tuple[str, ...], str], ...]] = (
    (
        ("SDXL", "Pony", "Illustrious"),
        "both have SDXL's layers, but one was trained so far from the other that adapters work weakly or change style",
    ),
    (
        ("SDXL", "NoobAI"),
        "NoobAI has SDXL's layers, but was trained so far from it that adapters work weakly or change style",
    ),
    (
        ("Pony", "NoobAI"),
        "both have SDXL's layers, but learned other tags and styles: adapters work weakly or change style",
    ),
    (
        ("Illustrious", "NoobAI"),
        "NoobAI was trained on from an early Illustrious: most adapters work on the other with some loss",
    ),
    (
        ("SD 2", "SD 2 768"),
        "the layers are the same, but one predicts the noise and the other its velocity: adapters work weakly",
    ),
    (
        ("Flux.1", "Flux.1 Krea"),
        "Krea has Flux.1's layers and other weights: adapters load, and likenesses come out weaker",
    ),
    (
        ("Flux.1", "Flux.1 Kontext"),
        "Kontext has Flux.1's layers and was trained to edit: adapters load, and pull the edit towards what they show",
    ),
    (
        ("Flux.1 Krea", "Flux.1 Kontext"),
        "both have Flux.1's layers, one trained for looks and the other to edit: adapters load, with other results",
    ),
    (
        ("Flux.1", "Chroma"),
        "Chroma is Flux.1 S without its modulation layers: the rest of an adapter works weakly, where it is loaded",
    ),
    (
        ("Flux.2 Klein 9B", "Flux.2 Klein 9B-base"),
        "one is distilled from the other, with the same layers: adapters load, and their strength differs",
    ),
    (
        ("Flux.2 Klein 4B", "Flux.2 Klein 4B-base"),
        "one is distilled from the other, with the same layers: adapters load, and their strength differs",
    ),
    (
        ("Z-Image Turbo", "Z-Image"),
        "Turbo is Z-Image distilled to few steps, with the same layers: adapters load, and their strength differs",
    ),
    (
        ("AuraFlow", "Pony V7"),
        "Pony V7 has AuraFlow's layers, but was trained so far from it that adapters work weakly or change style",
    ),
    (
        _WAN_14B,
        "Wan's 14B transformers have the same layers but for images that they take: adapters load, with other results",
    ),
)
"""Groups of ecosystems whose adapters go together partially, pair by pair, with the reason."""

_SDXL_LAYERS: Final = ("SDXL", "Pony", "Illustrious", "NoobAI")

APART: Final[tuple[tuple[tuple[str, ...], tuple[str, ...], str], ...]] = (
    (("SD 1",), _SDXL_LAYERS, "one attends to text of width 768, the other of 2048, in other U-Nets: no layer fits"),
    (("SD 2", "SD 2 768"), _SDXL_LAYERS, "one attends to text of width 1024, the other of 2048: no layer fits"),
    (("SD 1",), ("SD 2", "SD 2 768"), "one attends to text of width 768, the other of 1024: those layers do not fit"),
    (("Kolors",), _SDXL_LAYERS, "Kolors has a U-Net like SDXL's, trained from nothing on another text encoder"),
    (("Playground v2",), _SDXL_LAYERS, "Playground v2 has SDXL's layers, but its weights were trained from nothing"),
    (("SD 3",), ("SD 3.5 Medium",), "SD 3.5 Medium was trained anew, with a second attention in half of its blocks"),
    (("SD 3.5 Large",), ("SD 3", "SD 3.5 Medium"), "one has blocks of width 2432, the other of 1536: no layer fits"),
    (("Pony",), ("Pony V7",), "Pony is made of SDXL's layers, Pony V7 of AuraFlow's: they share a name alone"),
    (
        ("Flux.2",),
        ("Flux.1", "Flux.1 Krea", "Flux.1 Kontext", "Chroma"),
        "one has blocks of width 6144, the other of 3072: no layer fits",
    ),
    (
        ("Flux.2 Klein 9B", "Flux.2 Klein 9B-base"),
        ("Flux.2 Klein 4B", "Flux.2 Klein 4B-base"),
        "one has blocks of width 4096, the other of 3072: no layer fits",
    ),
    (("PixArt-α",), ("PixArt-Σ",), "PixArt-Σ draws for another VAE, so that the same weights mean other pictures"),
    (("Wan 2.1 1.3B",), _WAN_14B, "one has blocks of width 1536, the other of 5120: no layer fits"),
    (("Wan 2.2 TI2V-5B",), _WAN_14B, "one has blocks of width 3072, the other of 5120: no layer fits"),
    (("CogVideoX 2B",), ("CogVideoX 5B",), "one has blocks of width 1920, the other of 3072: no layer fits"),
    (("Hunyuan-DiT",), ("HunyuanVideo",), "one makes images, the other videos, of layers with nothing in common"),
)
"""Ecosystems that are easily taken to go together and do not, each of the first with each of the second, with the
reason. A pair in neither table does not go together either.
"""


@dataclass(frozen=True, slots=True)
class Relation:
    """How well adapters of two base models go together, and why."""

    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True)
class Pair:
    """Two base models of a stack."""

    first: str
    second: str
    relation: Relation


@dataclass(frozen=True, slots=True)
class StackVerdict:
    """How well the adapters of a stack go together."""

    verdict: Verdict
    """The worst of its pairs; full for nothing and for a single adapter whose base model is known."""
    pairs: tuple[Pair, ...]
    """Pairs of known base models that do not go together fully, the worst first."""


def _key(name: str) -> str:
    """What a name is compared by: letters and digits, so that `SD 1.5`, `sd_1_5` and `sd1.5` are one."""
    return "".join(character for character in unicodedata.normalize("NFKC", name).casefold() if character.isalnum())


def _ecosystems_by_key() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for ecosystem, names in ECOSYSTEMS.items():
        for name in names:
            found[_key(name)] = (*found.get(_key(name), ()), ecosystem)
    return found


def _edges() -> dict[frozenset[str], Relation]:
    edges = {
        frozenset(pair): Relation(Verdict.PARTIAL, reason)
        for ecosystems, reason in PARTIAL
        for pair in combinations(ecosystems, 2)
    }
    edges.update(
        (frozenset(pair), Relation(Verdict.NONE, reason))
        for firsts, seconds, reason in APART
        for pair in product(firsts, seconds)
    )
    return edges


_BY_KEY: Final = _ecosystems_by_key()
_EDGES: Final = _edges()


def ecosystems_of(base_model: str | None) -> tuple[str, ...]:
    """The ecosystems that a name can mean: one, several where it says too little, none where it is unknown."""
    return _BY_KEY.get(_key(base_model), ()) if base_model is not None else ()


def relation(first: str | None, second: str | None) -> Relation:
    """How well adapters of two base models go together; the same whichever is named first."""
    for name in (first, second):
        if not ecosystems_of(name):
            return Relation(Verdict.UNKNOWN, why_unknown(name))
    relations = {_between(one, other) for one in ecosystems_of(first) for other in ecosystems_of(second)}
    verdicts = {found.verdict for found in relations}
    if len(verdicts) > 1:
        vague = first if len(ecosystems_of(first)) > 1 else second
        meant = ", ".join(ecosystems_of(vague))
        return Relation(Verdict.UNKNOWN, f"{vague} does not say which of {meant} is meant")
    # Of several reasons for one verdict, always the same one.
    return min(relations, key=lambda found: found.reason)


def why_unknown(base_model: str | None) -> str:
    """Why nothing can be said of adapters of a base model that belongs to no ecosystem."""
    if base_model is None or not base_model.strip():
        return "no base model is stated"
    return f"{base_model} is no base model that is known here"


def _between(first: str, second: str) -> Relation:
    if first == second:
        return Relation(Verdict.FULL, f"both are of the ecosystem {first}")
    # In a fixed order, so that the reason does not depend on which is named first.
    one, other = sorted((first, second))
    apart = Relation(Verdict.NONE, f"{one} and {other} differ in their layers or weights, and no way between is known")
    return _EDGES.get(frozenset((first, second)), apart)


def stack(base_models: Iterable[str | None]) -> StackVerdict:
    """How well adapters of the given base models, one for each adapter, go together."""
    counts = Counter(base_models)
    known = sorted(name for name in counts if name is not None and ecosystems_of(name))
    pairs = [Pair(one, other, relation(one, other)) for one, other in combinations(known, 2)]
    # Two adapters of a name that says too little may differ.
    pairs.extend(Pair(name, name, relation(name, name)) for name in known if counts[name] > 1)
    verdicts = {pair.relation.verdict for pair in pairs}
    if len(known) < len(counts):
        verdicts.add(Verdict.UNKNOWN)
    worst = next((verdict for verdict in _WORST_FIRST if verdict in verdicts), Verdict.FULL)
    told = [pair for pair in pairs if pair.relation.verdict is not Verdict.FULL]
    told.sort(key=lambda pair: (_WORST_FIRST.index(pair.relation.verdict), pair.first, pair.second))
    return StackVerdict(worst, tuple(told))
