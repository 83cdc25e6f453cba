"""How much a candidate is like what the holder of a key uses. Pure: a profile and facts in, a boost and words out.

Belongs here: what a likeness is worth and how it is said. Does not: what a holder uses (`warehouse.learning`).

Each thing in common is a chance that the holder likes the candidate, so that several add up and never beyond 1; the
boost is that, times how much is known of the holder, times its limit.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from warehouse import fulltext
from warehouse.learning import Profile
from warehouse.queries.evidence import Facts

PREFERENCE_LIMIT = 0.05
_TAG, _AUTHOR, _ARCHETYPE, _BASE_MODEL = 0.6, 0.6, 0.3, 0.3
"""What a value is worth that all that the holder uses has, and nothing else of the library."""
_NAMED, _TELLING = 3, 0.1
"""So many are named at most, of those that are worth at least so much."""


@dataclass(frozen=True, slots=True)
class Liked:
    """What a candidate has of what the holder of a key uses: the boost, 0..PREFERENCE_LIMIT, and the most telling."""

    boost: float = 0.0
    reasons: list[str] = field(default_factory=list)


def liked(profile: Profile | None, candidate: Facts) -> Liked:
    """How much a holder may be expected to like a candidate; nothing where nothing is known of the holder."""
    if profile is None:
        return Liked()
    tags = {folded: tag for tag in candidate.tags if (folded := fulltext.fold(tag).strip())}
    found = [
        *((_TAG * profile.tags[folded], f"tag {tag}") for folded, tag in tags.items() if folded in profile.tags),
        *_one(profile.authors, candidate.author, _AUTHOR, "author"),
        *_one(profile.archetypes, candidate.archetype, _ARCHETYPE, "archetype"),
        *_one(profile.base_models, candidate.base_model, _BASE_MODEL, "base model"),
    ]
    found.sort(key=lambda item: (-item[0], item[1]))
    likeness = 1 - math.prod(1 - min(chance, 1.0) for chance, _ in found)
    return Liked(
        PREFERENCE_LIMIT * profile.confidence * likeness,
        [words for chance, words in found[:_NAMED] if chance >= _TELLING],
    )


def _one(known: Mapping[str, float], value: str | None, worth: float, noun: str) -> list[tuple[float, str]]:
    return [(worth * known[value], f"{noun} {value}")] if value is not None and value in known else []


def explained(sentence: str, found: Liked) -> str:
    """An explanation that says what of a candidate the holder uses elsewhere."""
    if not found.reasons:
        return sentence
    return f"{sentence.removesuffix('.')}; like what you use ({', '.join(found.reasons)})."
