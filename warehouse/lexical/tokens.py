"""What is looked for: adapters and prompts as the terms of five fields. Pure; versioned.

`named` has the words by which an adapter is called (name, tags, trigger words), `described` those of its
description. The example prompts give `words`, `pairs` of words in sequence, and `fragments`: the parts between commas
as they were written, with weights and brackets, for people write the same ones again and again.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

from warehouse import fulltext, prompts
from warehouse.vectors.facts import AdapterFacts

Field = Literal["named", "described", "words", "pairs", "fragments"]
FIELDS: tuple[Field, ...] = ("named", "described", "words", "pairs", "fragments")
VERSION = "1"
"""Changed whenever the same facts would give other terms."""

MAX_PROMPTS = 64
"""Example prompts of an adapter that are read."""
MAX_TERMS = 1_024
"""Terms of a prompt and field; nobody writes so many, and each one costs time."""
MAX_DESCRIPTION = 3_000
"""Characters of a description: what tells adapters apart comes before the change log."""
MAX_TRAINING_TAGS = 100
_MAX_FRAGMENT = 200
_SPACE = re.compile(r"\s+")

Terms = Mapping[Field, list[str]]
"""Terms by field, as often as they occur. No term has white space in it."""


@dataclass(frozen=True)
class Document:
    """An adapter as it is indexed: its number, and what its terms are."""

    number: int
    base_model: str | None
    terms: Terms

    @cached_property
    def counts(self) -> Mapping[Field, Counter[str]]:
        """How often each term occurs; counted when it is first asked for."""
        return {field: Counter(self.terms[field]) for field in FIELDS}


def document(number: int, facts: AdapterFacts) -> Document:
    """The terms of an adapter."""
    words: list[str] = []
    pairs: list[str] = []
    fragments: list[str] = []
    for text in _prompts(facts):
        parsed = prompts.parse(text)
        own = _words(parsed.pieces)
        words += own
        pairs += _pairs(own)
        fragments += _fragments(parsed.written)
    terms: Terms = {
        "named": list(_named(facts)),
        "described": _words([(facts.description or "")[:MAX_DESCRIPTION]]),
        "words": words,
        "pairs": pairs,
        "fragments": fragments,
    }
    return Document(number, facts.base_model, terms)


def asked(prompt: prompts.Prompt) -> Terms:
    """The terms that a prompt asks for, each once and at most `MAX_TERMS` of a field. Function words are asked of
    example prompts alone: whoever writes "with" writes like others who do, and is not called so."""
    own = _words(prompt.pieces)
    words, pairs = _once(own), _once(_pairs(own))
    telling = [word for word in words if word not in prompts.FUNCTION_WORDS]
    return {
        "named": telling,
        "described": telling,
        "words": words,
        "pairs": pairs,
        "fragments": _once(_fragments(prompt.written)),
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


def _pairs(words: list[str]) -> list[str]:
    return [f"{one}_{other}" for one, other in pairwise(words)]


def fragment(written: str) -> str:
    """The term of a part between commas."""
    return _SPACE.sub("_", fulltext.fold(written))[:_MAX_FRAGMENT]


def _fragments(written: Iterable[str]) -> list[str]:
    return [fragment(piece) for piece in written]


def _once(terms: list[str]) -> list[str]:
    return list(dict.fromkeys(terms))[:MAX_TERMS]
