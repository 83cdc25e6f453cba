"""What is looked for: adapters and prompts as the terms of seven fields. Pure; versioned.

`name` has the words of an adapter's name, `phrases` its trigger words as wholes (the parts between commas), for half a
trigger is a word like any other; `named` has the words of both and of its tags, `described` those of its description.
The example prompts give `words`, `pairs` of words in sequence, and `fragments`: the parts between commas as they were
written, with weights and brackets, for people write the same ones again and again. Words on both sides of the adapter's
own trigger words are a pair too: prompts of people who do not know these have nothing between.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

from warehouse import fulltext, prompts
from warehouse.vectors.facts import AdapterFacts

Field = Literal["named", "described", "words", "pairs", "fragments", "name", "phrases"]
FIELDS: tuple[Field, ...] = ("named", "described", "words", "pairs", "fragments", "name", "phrases")
VERSION = "2"
"""Changed whenever the same facts would give other terms."""

MAX_PROMPTS = 64
"""Example prompts of an adapter that are read."""
MAX_TERMS = 1_024
"""Terms of a prompt and field; nobody writes so many, and each one costs time."""
MAX_DESCRIPTION = 3_000
"""Characters of a description: what tells adapters apart comes before the change log."""
MAX_TRAINING_TAGS = 100
_MAX_FRAGMENT = 200
_MAX_PHRASE_WORDS = 12
_MAX_RUN = prompts.MAX_PHRASE_WORDS
"""Words in sequence that are asked for as a trigger; longer ones where nothing else stands between two commas."""
_SPACE = re.compile(r"\s+")

Terms = Mapping[Field, list[str]]
"""Terms by field, as often as they occur. No term has white space in it."""


@dataclass(frozen=True)
class Document:
    """An adapter as it is indexed: its number, what its terms are, and how many example prompts it has."""

    number: int
    base_model: str | None
    terms: Terms
    prompts: int = 0

    @cached_property
    def counts(self) -> Mapping[Field, Counter[str]]:
        """How often each term occurs; counted when it is first asked for."""
        return {field: Counter(self.terms[field]) for field in FIELDS}


def document(number: int, facts: AdapterFacts) -> Document:
    """The terms of an adapter."""
    words: list[str] = []
    pairs: list[str] = []
    fragments: list[str] = []
    triggers = _triggers(facts)
    for text in _prompts(facts):
        parsed = prompts.parse(text)
        own = _words(parsed.pieces)
        words += own
        pairs += _pairs(own)
        pairs += _pairs_across(own, triggers)
        fragments += _fragments(parsed.written)
    terms: Terms = {
        "named": list(_named(facts)),
        "described": _words([(facts.description or "")[:MAX_DESCRIPTION]]),
        "words": words,
        "pairs": pairs,
        "fragments": fragments,
        "name": _words([prompts.plain(facts.name)]),
        "phrases": ["_".join(trigger) for trigger in triggers if len(trigger) <= _MAX_PHRASE_WORDS],
    }
    return Document(number, facts.base_model, terms, len(facts.prompts))


def asked(prompt: prompts.Prompt) -> Terms:
    """The terms that a prompt asks for, each once and at most `MAX_TERMS` of a field. Function words are asked of
    example prompts alone: whoever writes "with" writes like others who do, and is not called so."""
    pieces = [_words([piece]) for piece in prompt.pieces]
    own = [word for piece in pieces for word in piece]
    words, pairs = _once(own), _once(_pairs(own))
    telling = [word for word in words if word not in prompts.FUNCTION_WORDS]
    return {
        "named": telling,
        "described": telling,
        "words": words,
        "pairs": pairs,
        "fragments": _once(_fragments(prompt.written)),
        "name": telling,
        "phrases": _once(_runs(pieces)),
    }


def _prompts(facts: AdapterFacts) -> Iterator[str]:
    yield from facts.prompts[:MAX_PROMPTS]
    if facts.training_tags:
        # What the training images were captioned with is what prompts for the adapter are made of.
        ranked = sorted(facts.training_tags.items(), key=lambda item: (-item[1], item[0]))
        yield ", ".join(tag for tag, _ in ranked[:MAX_TRAINING_TAGS])


def _named(facts: AdapterFacts) -> Iterator[str]:
    for text in (facts.name, *facts.tags, *facts.trained_words, *facts.triggers, facts.activation_text or ""):
        # Trained words hold LoRA tags and weights now and then.
        yield from _words([prompts.plain(text)])


def _words(texts: Iterable[str]) -> list[str]:
    return [word for text in texts for word in fulltext.segment(text).split()]


def _pairs(words: Sequence[str]) -> list[str]:
    return [f"{one}_{other}" for one, other in pairwise(words)]


def _triggers(facts: AdapterFacts) -> list[tuple[str, ...]]:
    """The trigger words of an adapter, word by word: whole groups and their parts between commas, each once."""
    found: dict[tuple[str, ...], None] = {}
    for group in (*facts.trained_words, *facts.triggers, facts.activation_text or ""):
        parts = [tuple(_words([part])) for part in prompts.plain(group).split(",")]
        found |= dict.fromkeys([tuple(word for part in parts for word in part), *parts])
    found.pop((), None)
    return list(found)


def _pairs_across(words: Sequence[str], triggers: Iterable[tuple[str, ...]]) -> list[str]:
    """The pairs of words in sequence that there are without trigger words and not with them."""
    starting: dict[str, list[tuple[str, ...]]] = {}
    for trigger in triggers:
        starting.setdefault(trigger[0], []).append(trigger)
    left: list[str] = []
    place = 0
    while place < len(words):
        here = starting.get(words[place], ())
        length = max((len(each) for each in here if tuple(words[place : place + len(each)]) == each), default=0)
        if not length:
            left.append(words[place])
        place += length or 1
    if len(left) == len(words):
        return []
    known = set(_pairs(words))
    return [pair for pair in _pairs(left) if pair not in known]


def _runs(pieces: Iterable[Sequence[str]]) -> list[str]:
    """What of the parts of a prompt could be a trigger: short runs of words, and parts that are not long."""
    found: list[str] = []
    for words in pieces:
        if _MAX_RUN < len(words) <= _MAX_PHRASE_WORDS:
            found.append("_".join(words))
        for length in range(min(_MAX_RUN, len(words)), 0, -1):
            found += ["_".join(words[start : start + length]) for start in range(len(words) - length + 1)]
    return [run for run in found if run not in prompts.FUNCTION_WORDS]


def fragment(written: str) -> str:
    """The term of a part between commas."""
    return _SPACE.sub("_", fulltext.fold(written))[:_MAX_FRAGMENT]


def _fragments(written: Iterable[str]) -> list[str]:
    return [fragment(piece) for piece in written]


def _once(terms: list[str]) -> list[str]:
    return list(dict.fromkeys(terms))[:MAX_TERMS]
