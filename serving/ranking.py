"""How recommendations are ranked and explained once their similarities are known. Pure: facts in, scores and words out.

Belongs here: what evidence is worth, boosts, the final score, diversity, folding. Does not: similarities
(`warehouse.vectors`), and look-ups (`recommending`).

The final score is 1 − (1 − similarity)(1 − lexical)(1 − quality)(1 − popularity)(1 − used together)
(1 − preference): each part raises it, none beyond 1, and the further a candidate already is, the less they can add.
Boosts are bounded so low that they order what is alike and never lift the unlike: popularity, quality, use together and
preference (`preferences`) are worth 0.05 each at most.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from warehouse import fulltext
from warehouse.lexical import fusion
from warehouse.prompts import FUNCTION_WORDS
from warehouse.queries.evidence import Facts

LEXICAL_LIMIT = 0.5
"""Of what two adapters share, and of a prompt where the word index does not say more."""
QUALITY_LIMIT = 0.05
POPULARITY_LIMIT = 0.05
TOGETHER_LIMIT = 0.05
_POPULAR = 1_000_000
"""Downloads at which popularity is worth all it can be."""
_OFTEN = 20
"""Uses at which being used together is worth all it can be."""
_TRIGGER_WORTH, _NAME_WORTH, _TAG_WORTH = 0.45, 0.3, 0.2
_WORD = re.compile(r"[^\W_]+")
_SHORTEST_NAME_WORD = 3

Rarity = Callable[[str], float]
"""How telling a folded phrase is in this library: 0 (everywhere) .. 1 (found once)."""


def rarity_of(count: int, total: int) -> float:
    """The rarity of what `count` of `total` adapters have: its share of the largest information it could carry."""
    if total < 2:
        return 0.0
    return min(1.0, max(0.0, math.log(total / max(1, count)) / math.log(total)))


class Words:
    """The words of a text, to ask whether a phrase occurs in it as a whole."""

    def __init__(self, text: str) -> None:
        self._folded = fulltext.fold(text)
        self._spaced = f" {' '.join(_WORD.findall(self._folded))} "

    def have(self, phrase: str) -> bool:
        """Whether a folded phrase occurs, word by word; text in scripts without spaces by its characters."""
        words = _WORD.findall(phrase)
        if not words:
            return False
        if fulltext.segment(phrase) != phrase and not phrase.isascii():
            return phrase in self._folded
        return f" {' '.join(words)} " in self._spaced


@dataclass(frozen=True, slots=True)
class Shared:
    """What a candidate and the question have in common, the rarest first."""

    tags: list[str] = field(default_factory=list)
    triggers: list[str] = field(default_factory=list)
    name_words: list[str] = field(default_factory=list)
    base_model: str | None = None
    author: str | None = None
    archetype: str | None = None
    used_together: int | None = None
    """How many prompts had both; None where none is known to."""
    example_phrases: list[str] = field(default_factory=list)
    """Parts of the prompt that stand in its example prompts."""
    worth: float = 0.0
    """The lexical boost, 0..1: 0..LEXICAL_LIMIT, or what the word index knows (`warehouse.lexical.fusion`)
    where that is more."""


def _distinct(values: Sequence[str]) -> dict[str, str]:
    """Folded -> as written, each once."""
    return {folded: value for value in reversed(values) if (folded := fulltext.fold(value).strip())}


def _judge(found: dict[str, str], worth: float, rarity: Rarity) -> tuple[list[str], float]:
    """The matches that tell anything, the rarest first, and the chance that they leave to coincidence."""
    scored = sorted(((rarity(folded), value) for folded, value in found.items()), key=lambda item: (-item[0], item[1]))
    telling = [(score, value) for score, value in scored if score > 0]
    return [value for _, value in telling], math.prod(1 - worth * score for score, _ in telling)


def _combine(
    tags: dict[str, str], triggers: dict[str, str], names: dict[str, str], tag_rarity: Rarity, word_rarity: Rarity
) -> tuple[list[str], list[str], list[str], float]:
    shared_tags, by_tags = _judge(tags, _TAG_WORTH, tag_rarity)
    shared_triggers, by_triggers = _judge(triggers, _TRIGGER_WORTH, word_rarity)
    shared_names, by_names = _judge(names, _NAME_WORTH, word_rarity)
    worth = min(LEXICAL_LIMIT, 1 - by_tags * by_triggers * by_names)
    return shared_tags, shared_triggers, shared_names, worth


def _name_words(name: str) -> dict[str, str]:
    return {
        fulltext.fold(word): word
        for word in _WORD.findall(name)
        if (len(word) >= _SHORTEST_NAME_WORD or not word.isascii())
        and not word.isdigit()
        and word.lower() not in FUNCTION_WORDS
    }


def _known_triggers(facts: Facts) -> dict[str, str]:
    triggers = _distinct(facts.triggers)
    # Triggers mostly are the trained words, split: a group beside its own parts would count twice.
    groups = [
        group
        for group in facts.trained_words
        if not all(part.strip() in triggers for part in fulltext.fold(group).split(",") if part.strip())
    ]
    return _distinct([*facts.triggers, *groups])


def shared_with_prompt(words: Words, candidate: Facts, tag_rarity: Rarity, word_rarity: Rarity) -> Shared:
    """What a prompt says of a candidate: its tags, trigger words and the words of its name that occur in it."""
    tags = {folded: value for folded, value in _distinct(candidate.tags).items() if words.have(folded)}
    triggers = {folded: value for folded, value in _known_triggers(candidate).items() if words.have(folded)}
    names = {
        folded: value
        for folded, value in _name_words(candidate.name).items()
        if words.have(folded) and folded not in tags and folded not in triggers
    }
    found = _combine(tags, triggers, names, tag_rarity, word_rarity)
    return Shared(found[0], found[1], found[2], worth=found[3])


def shared_with_adapter(target: Facts, candidate: Facts, tag_rarity: Rarity, word_rarity: Rarity) -> Shared:
    """What two adapters have in common."""
    mine, theirs = _distinct(target.tags), _distinct(candidate.tags)
    tags = {folded: theirs[folded] for folded in mine.keys() & theirs.keys()}
    mine, theirs = _known_triggers(target), _known_triggers(candidate)
    triggers = {folded: theirs[folded] for folded in mine.keys() & theirs.keys()}
    mine, theirs = _name_words(target.name), _name_words(candidate.name)
    names = {folded: theirs[folded] for folded in mine.keys() & theirs.keys() if folded not in tags}
    found = _combine(tags, triggers, names, tag_rarity, word_rarity)
    return Shared(
        found[0],
        found[1],
        found[2],
        base_model=_same(target.base_model, candidate.base_model),
        author=_same(target.author, candidate.author),
        archetype=_same(target.archetype, candidate.archetype),
        worth=found[3],
    )


def _same(mine: str | None, theirs: str | None) -> str | None:
    return mine if mine is not None and mine == theirs else None


def popularity_boost(downloads: int | None) -> float:
    """0 (none, or not known) .. POPULARITY_LIMIT, by the logarithm of the downloads."""
    if not downloads or downloads < 0:
        return 0.0
    return POPULARITY_LIMIT * min(1.0, math.log1p(downloads) / math.log1p(_POPULAR))


def quality_boost(quality: float | None) -> float:
    """0 .. QUALITY_LIMIT, by how much is known of the adapter (0..1)."""
    return QUALITY_LIMIT * min(1.0, max(0.0, quality or 0.0))


def together_boost(uses: int | None) -> float:
    """0 (never, or not known) .. TOGETHER_LIMIT, by the logarithm of how often two were used together."""
    if not uses:
        return 0.0
    return TOGETHER_LIMIT * min(1.0, math.log1p(uses) / math.log1p(_OFTEN))


def final_score(similarity: float, *boosts: float) -> float:
    """All parts in one score, 0..1."""
    return fusion.combined(similarity, *boosts)


def diversified(
    scores: Sequence[float], alike: Callable[[int, int], float], *, diversity: float, limit: int
) -> list[int]:
    """Positions in the order of maximal marginal relevance (Carbonell and Goldstein, 1998).

    Each step takes the candidate with the largest (1 − d)·score − d·(largest likeness to those taken).
    `scores` come in descending order; `alike` gives 0..1 for two positions.
    """
    if diversity <= 0:
        return list(range(min(limit, len(scores))))
    nearest = [0.0] * len(scores)
    left = list(range(len(scores)))
    taken: list[int] = []
    while left and len(taken) < limit:
        best = max(left, key=lambda position: (1 - diversity) * scores[position] - diversity * nearest[position])
        left.remove(best)
        taken.append(best)
        for position in left:
            nearest[position] = max(nearest[position], alike(best, position))
    return taken


_SPACES = (("semantic", "what it is"), ("artistic", "how it looks"), ("technical", "how it was made"))
_NOTEWORTHY = 0.3
_TOLD = 0.05
"""Words in common that are worth as much are told of, also where none of them says much by itself."""
_NAMED = 4


def _listed(values: Sequence[str]) -> str:
    shown = ", ".join(value if len(value) <= 60 else f"{value[:59]}…" for value in values[:_NAMED])
    return shown + (f" and {len(values) - _NAMED} more" if len(values) > _NAMED else "")


def _enumerated(values: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(values[:-1]), values[-1]) if part)


def _counted(noun: str, values: Sequence[str]) -> str:
    return f"the {noun}{'s' if len(values) > 1 else ''} {_listed(values)}"


def explain(similarities: Mapping[Any, float], shared: Shared, *, to_prompt: bool) -> str:
    """One sentence that says why a candidate is in the list."""
    near = sorted(((similarities[space], words) for space, words in _SPACES), reverse=True)
    alike = [f"{words} ({score:.2f})" for score, words in near if score >= _NOTEWORTHY]
    parts = [f"Similar in {_enumerated(alike)}"] if alike else ["Only loosely similar"]
    common = [
        _counted(noun, values)
        for noun, values in (("trigger", shared.triggers), ("tag", shared.tags), ("name word", shared.name_words))
        if values
    ]
    if common:
        parts.append(("the prompt has " if to_prompt else "shares ") + ", ".join(common))
    if shared.example_phrases:
        parts.append(f"example prompts have {_listed(shared.example_phrases)}")
    elif to_prompt and not common and shared.worth >= _TOLD:
        parts.append("words of the prompt stand in its description or example prompts")
    same = [
        f"{noun} {value}"
        for noun, value in (
            ("author", shared.author),
            ("base model", shared.base_model),
            ("archetype", shared.archetype),
        )
        if value
    ]
    if same:
        parts.append(f"same {', '.join(same)}")
    if shared.used_together:
        parts.append("used together " + ("once" if shared.used_together == 1 else f"{shared.used_together:,} times"))
    return "; ".join(parts) + "."
