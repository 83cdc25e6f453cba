"""Civitai's vocabularies and their spellings through the years: types, licences, NSFW levels, hashes, base models.

What belongs here: pure functions from one stated value to one canonical value. What does not: documents and merging.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

LORA_TYPES: Final = frozenset({"lora", "locon", "lycoris", "dora"})
"""Model types of the LoRA family, case-folded; every other type is left out."""

COMMERCIAL_USES: Final = ("Image", "RentCivit", "Rent", "Sell")
_COMMERCIAL_USE: Final = {use.casefold(): use for use in COMMERCIAL_USES}
# The single value of 2023 was the top of a ladder: who may sell the model may also rent it and sell its images.
_LADDER: Final = {
    "none": (),
    "image": ("Image",),
    "rentcivit": ("Image", "RentCivit"),
    "rent": ("Image", "RentCivit", "Rent"),
    "sell": COMMERCIAL_USES,
}

NSFW_NAMES: Final = {"none": 1, "soft": 2, "mature": 4, "x": 8, "xxx": 16, "blocked": 32}
"""Levels by the names that images had before 2024, as bits of today's mask (1 PG, 2 PG13, 4 R, 8 X, 16 XXX)."""
NSFW_MASK: Final = 63

HASH_LENGTHS: Final = {
    "sha256": (64,),
    "autov1": (8,),
    "autov2": (10,),
    "autov3": (12, 64),
    "crc32": (8,),
    "blake3": (64,),
}
EMPTY_SHA256: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""The hash of nothing, which broken tools wrote for files that they could not read."""
_HEXADECIMAL: Final = re.compile(r"[0-9a-f]+\Z")

WEIGHT_NAME: Final = re.compile(r"\.(safetensors|sft|pt|pth|ckpt|bin)\Z", re.IGNORECASE)
"""A file name that can be a weight file."""

_BASE_FAMILIES: Final = (
    (re.compile(r"^(sd[ -]?1|sd1|stable[ -]diffusion[ -]v?1)", re.IGNORECASE), "SD1"),
    (re.compile(r"^(sd[ -]?2|sd2|stable[ -]diffusion[ -]v?2)", re.IGNORECASE), "SD2"),
    (re.compile(r"^(sd ?xl|sdxl|pony\b(?! v7)|illustrious|noobai|animagine)", re.IGNORECASE), "SDXL"),
    (re.compile(r"^(sd[ -]?3|sd3|stable[ -]diffusion[ -]3)", re.IGNORECASE), "SD3"),
)
SD_VERSIONS: Final = ("SD1", "SD2", "SDXL", "SD3", "Other")
_SD_VERSION: Final = {name.casefold(): name for name in SD_VERSIONS}


def is_lora_type(type_name: str) -> bool:
    """Whether Civitai's model type belongs to the LoRA family."""
    return type_name.strip().casefold() in LORA_TYPES


def commercial_use(value: Any) -> tuple[str, ...] | None:
    """The permitted commercial uses, in fixed order, of any of the four spellings; None where none is understood.

    An array, or the PostgreSQL literal `"{Image,RentCivit}"`, is taken literally. A single word is the ladder of 2023.
    """
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("{") and text.endswith("}"):
            return _uses(part.strip().strip('"') for part in text[1:-1].split(",") if part.strip())
        return _LADDER.get(text.casefold())
    if isinstance(value, list):
        return _uses(value)
    return None


def _uses(words: Iterable[Any]) -> tuple[str, ...] | None:
    found = set()
    for word in words:
        folded = word.casefold() if isinstance(word, str) else ""
        if folded == "none":
            continue
        if folded not in _COMMERCIAL_USE:
            return None
        found.add(_COMMERCIAL_USE[folded])
    return tuple(use for use in COMMERCIAL_USES if use in found)


def nsfw_level(value: Any) -> int | None:
    """A level of today's bit mask from a mask, an old name (`None`, `Soft`, `Mature`, `X`) or a boolean.

    A boolean says only whether an image is safe: false is 1 (PG), true is not a level and gives None.
    """
    if isinstance(value, bool):
        return None if value else 1
    if isinstance(value, int):
        return value if 0 < value <= NSFW_MASK else None
    if isinstance(value, str):
        return NSFW_NAMES.get(value.strip().casefold())
    return None


def clean_hash(kind: str, value: str) -> str | None:
    """A stated hash in lower case without `0x`, or None if it cannot be one of its kind (also the hash of nothing)."""
    text = value.strip().lower().removeprefix("0x")
    if len(text) not in HASH_LENGTHS[kind] or not _HEXADECIMAL.match(text):
        return None
    if len(text) >= 10 and EMPTY_SHA256.startswith(text):
        return None
    return text


def sd_version(stated: str | None, base_model: str | None) -> str | None:
    """The coarse family: what a person chose in A1111 (`Unknown` is no choice), else the family of the base model."""
    if stated is not None:
        known = _SD_VERSION.get(stated.strip().casefold())
        if known is not None:
            return known
    return family(base_model)


def family(base_model: str | None) -> str | None:
    """SD1, SD2, SDXL, SD3 or Other, by the base model in Civitai's spelling; None where that is unknown."""
    if base_model is None or base_model.strip().casefold() in ("", "unknown"):
        return None
    text = base_model.strip()
    for pattern, name in _BASE_FAMILIES:
        if pattern.search(text):
            return name
    return "Other"


def community(stats: Mapping[str, Any]) -> tuple[int | None, int | None, float | None]:
    """(downloads, likes, rating) as Civitai's statistics state them."""
    return _count(stats, "downloadCount"), _count(stats, "thumbsUpCount", "favoriteCount"), _rating(stats)


def _count(stats: Mapping[str, Any], *keys: str) -> int | None:
    for key in keys:
        value = stats.get(key)
        if isinstance(value, int | float) and 0 <= value < 2**63:
            return int(value)
    return None


def _rating(stats: Mapping[str, Any]) -> float | None:
    """The mean rating; None while nobody rated, which Civitai writes as 0."""
    rating, raters = stats.get("rating"), stats.get("ratingCount")
    if not isinstance(rating, int | float) or not 0 < rating <= 5 or raters == 0:
        return None
    return float(rating)
