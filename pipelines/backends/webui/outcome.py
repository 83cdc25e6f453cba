"""What an answer with status 200 means: SD.Next and A1111 report most failures with it.

Belongs here: telling a success from a failure, and which LoRAs were applied. Does not: statuses and errors of HTTP
(`client`), and what a job becomes of it (`backend`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

_LORA_HASH: Final = re.compile(r"\s*([^:,]+):\s*[0-9a-fA-F]+")
_APPLIED: Final = "LoRA networks"
"""Where SD.Next says which networks it applied; A1111 lists their hashes instead."""
_HASHES: Final = "Lora hashes"


class OutcomeError(Exception):
    """The server answered, and made no picture or too few. The message says what is known of the cause."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A generation that succeeded, wholly or (after an interrupt) in part."""

    images: list[str]
    """Base64, as the server sent them."""
    parameters: dict[str, Any]
    info: dict[str, Any]
    seeds: list[int] = field(default_factory=list)
    infotexts: list[str] = field(default_factory=list)
    """One for each image, as far as the server gave them."""
    applied: frozenset[str] | None = None
    """LoRA names that the server says it applied; None where it says nothing about LoRAs."""
    is_partial: bool = False


def read_outcome(answer: Any, *, expected: int, interrupted: bool) -> Outcome:
    """What came of a generation.

    Args:
        answer: the decoded body.
        expected: pictures that were asked for.
        interrupted: whether we sent an interrupt; nothing in the answer tells.

    Raises:
        OutcomeError: no picture, or fewer than asked for without an interrupt.
    """
    if not isinstance(answer, Mapping) or not isinstance(answer.get("images"), list):
        raise OutcomeError("the server answered something that is no result of a generation: is it SD.Next or A1111?")
    images = [image for image in answer["images"] if isinstance(image, str) and image]
    info = _read_info(answer.get("info"))
    # A grid that the server adds stands before the pictures.
    first = info.get("index_of_first_image")
    grids = first if isinstance(first, int) and 0 < first < len(images) else 0
    images = images[grids:]
    if not images and not info:
        raise OutcomeError(
            "the server made no picture: it has no model loaded, or the one that was asked for could not be loaded. "
            "Its own log says which; choose a checkpoint it lists, or none."
        )
    if len(images) < expected and not interrupted:
        made = "no picture" if not images else f"only {len(images)} of {expected} pictures"
        raise OutcomeError(
            f"the server made {made}: it ran out of memory, failed while sampling, or somebody else interrupted it. "
            "Its own log says which; a smaller size or batch needs less memory."
        )
    parameters = answer.get("parameters")
    return Outcome(
        images=images,
        parameters=dict(parameters) if isinstance(parameters, Mapping) else {},
        info=info,
        seeds=[seed for seed in _list(info.get("all_seeds")) if isinstance(seed, int)],
        infotexts=[text for text in _list(info.get("infotexts"))[grids:] if isinstance(text, str)],
        applied=_applied(info),
        is_partial=len(images) < expected,
    )


def _read_info(text: Any) -> dict[str, Any]:
    """The info: JSON inside a string, empty where the server failed before it had any."""
    if isinstance(text, Mapping):
        return dict(text)
    if not isinstance(text, str) or not text.strip():
        return {}
    try:
        decoded = msgspec.json.decode(text)
    except msgspec.DecodeError:
        # A text that cannot be read is still an info: the pictures beside it are good.
        return {"text": text}
    return decoded if isinstance(decoded, dict) else {"text": text}


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else []


def _applied(info: Mapping[str, Any]) -> frozenset[str] | None:
    extra = info.get("extra_generation_params")
    if not isinstance(extra, Mapping):
        return None
    if isinstance(networks := extra.get(_APPLIED), str):
        return frozenset(name.strip() for name in networks.split(",") if name.strip())
    if isinstance(hashes := extra.get(_HASHES), str):
        return frozenset(match.group(1).strip() for match in _LORA_HASH.finditer(hashes))
    return None
