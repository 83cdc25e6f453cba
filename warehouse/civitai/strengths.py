"""How strongly the example images of an adapter use it: the weights that their prompts and resources state.

Belongs here: which of the weights in an image's generation data are this adapter's, and what they are together. Does
not: a preferred weight that a person keeps (a statement of its own), and what is recommended from either (the API).

An image counts once, and only with a weight that it states for this adapter: under the name of one of its files (as a
trainer named it, whichever epoch), under its own name, its version's number or a hash of its file. A number that no
person means (0, which does nothing, or one beyond ±10) is no evidence.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from msgspec import Struct

from warehouse.civitai.names import base_name
from warehouse.civitai.records import Example, JsonObject
from warehouse.civitai.values import WEIGHT_NAME

LARGEST: Final = 10.0
"""Weights beyond this, of either sign, are slips of a decimal point."""
_DECIMALS: Final = 3
_TAG: Final = re.compile(r"<\s*(?:lora|lyco)\s*:([^<>:]+)((?::[^<>:]*)+)>", re.IGNORECASE)
_SEPARATORS: Final = re.compile(r"[\s_.\-]+")
_SPACES: Final = str.maketrans("_.-", "   ")
_EPOCH: Final = re.compile(r"_0\d{5}$")
"""What kohya's trainer adds to the name of a file that it saves on the way."""
_SHORTEST_HASH: Final = 8
_LORA_TYPES: Final = frozenset({"lora", "locon", "lycoris", "lyco", "dora"})


class Strengths(Struct, frozen=True, omit_defaults=True):
    """The weights that `count` example images state: their median, and the quartiles below and above it."""

    count: int
    median: float
    low: float
    high: float


class Identity(Struct, frozen=True):
    """What an adapter is called by who uses it. Files may have a folder and a suffix; hashes are lower case."""

    name: str
    files: Sequence[str] = ()
    hashes: Sequence[str] = ()
    version_id: int | None = None


def strengths_of(examples: Iterable[Example], identity: Identity) -> Strengths | None:
    """The weights of an adapter in its example images; None where none of them states one."""
    stated = [(example, tags) for example in examples if (tags := _tags(example.prompt)) or example.resources]
    if not stated:
        return None
    mine = {_key(identity.name), *map(_file_key, identity.files)} - {""}
    found = [
        weight
        for example, tags in stated
        if (weight := _of_tags(tags, mine) or _of_resources(example.resources, mine, identity)) is not None
    ]
    if not found:
        return None
    low, median, high = _quartiles(found)
    return Strengths(count=len(found), median=median, low=low, high=high)


def _tags(prompt: str | None) -> list[tuple[str, str]]:
    return _TAG.findall(prompt) if prompt and "<" in prompt else []


def _key(name: str) -> str:
    """A name as it is compared: in one case, its separators alike, without an epoch."""
    if name.isascii():
        spelled = "_".join(name.lower().translate(_SPACES).split())
    else:
        spelled = _SEPARATORS.sub("_", unicodedata.normalize("NFKC", name).casefold()).strip("_")
    return _EPOCH.sub("", spelled) if "_0" in spelled else spelled


@lru_cache(maxsize=1_024)
def _file_key(name: str) -> str:
    """The same of a file name, without folder and suffix."""
    return _key(WEIGHT_NAME.sub("", base_name(name) or ""))


def _of_tags(tags: Iterable[tuple[str, str]], mine: set[str]) -> float | None:
    for name, rest in tags:
        if _file_key(name) in mine and (weight := _stated(rest)) is not None:
            return weight
    return None


@lru_cache(maxsize=1_024)
def _stated(rest: str) -> float | None:
    """The weight of the model in what follows a name, each part behind its colon; None where no number is stated.

    As `lora_tokens` reads it: `unet=`, else the second number, else the first.
    """
    if rest.count(":") == 1 and "=" not in rest:
        return _usable(_number(rest[1:]))
    parts = rest.split(":")[1:]
    numbers = [number for part in parts if "=" not in part and (number := _number(part)) is not None]
    of_model = next((part.split("=", 1)[1] for part in parts if part.strip().startswith("unet=")), None)
    if of_model is not None:
        return _usable(_number(of_model))
    return _usable(numbers[1] if len(numbers) > 1 else numbers[0] if numbers else None)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _usable(weight: float | None) -> float | None:
    return weight if weight is not None and weight and abs(weight) <= LARGEST else None


def _of_resources(resources: Iterable[JsonObject], mine: set[str], identity: Identity) -> float | None:
    return next(
        (
            weight
            for item in resources
            if (weight := _usable(item.get("weight"))) is not None and _is_mine(item, mine, identity)
        ),
        None,
    )


def _is_mine(item: JsonObject, mine: set[str], identity: Identity) -> bool:
    version_id = item.get("version_id")
    if version_id is not None and identity.version_id is not None:
        return bool(version_id == identity.version_id)
    stated = str(item.get("hash", "")).lower()
    if len(stated) >= _SHORTEST_HASH and any(known.startswith(stated) for known in identity.hashes):
        return True
    is_lora = str(item.get("type", "lora")).lower() in _LORA_TYPES
    return is_lora and _file_key(str(item.get("name", ""))) in mine


def _quartiles(weights: Sequence[float]) -> tuple[float, float, float]:
    if len(weights) == 1:
        only = round(weights[0], _DECIMALS)
        return only, only, only
    # As `statistics.quantiles` does with its method "inclusive", whose checks cost more than the quartiles.
    ordered, steps = sorted(weights), len(weights) - 1
    low, median, high = [
        round((ordered[place] * (4 - past) + ordered[place + 1] * past) / 4, _DECIMALS)
        for place, past in (divmod(quarter * steps, 4) for quarter in (1, 2, 3))
    ]
    return low, median, high
