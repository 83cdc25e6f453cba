"""The questions of an evaluation: prompts of example images, each with the model whose image it made.

A question and its duplicates are held out of what is searched: whoever finds the very same prompt has found nothing.
Split by model, never by prompt: what was learned on one version of a model is not measured on another.
"""

from __future__ import annotations

import hashlib
import heapq
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from sqlalchemy import Connection, select

from warehouse import fulltext, prompts
from warehouse.models import Adapter
from warehouse.reranking.features import model_key
from warehouse.vectors.facts import AdapterFacts
from warehouse.vectors.loading import Known, load_known
from warehouse.vectors.stored import batched

_CHUNK = 500
_SHORTEST = 3
"""Words of a prompt that is worth asking."""
_TAG = re.compile(r"<[^<>]*>")


class Variant(StrEnum):
    """How a prompt is asked."""

    WRITTEN = "as written"
    WITHOUT_TRIGGERS = "trigger words removed"


class Part(StrEnum):
    """What the models of a library are used for, by a hash of which model it is."""

    LEARNED = "learned-on"
    MEASURED = "measured-on"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Query:
    """A prompt without its LoRA tags, and the model of the adapter whose example it is."""

    model: str
    adapter: int
    written: str
    without_triggers: str
    key: str
    """What it has in common with its duplicates."""

    def text(self, variant: Variant) -> str:
        """The prompt as a variant asks it."""
        return self.written if variant is Variant.WRITTEN else self.without_triggers


@dataclass(frozen=True, slots=True)
class Questions:
    """Queries, and how many there could have been."""

    queries: tuple[Query, ...]
    possible: int

    @property
    def held_out(self) -> frozenset[str]:
        """The keys of the prompts that nothing which is searched may hold."""
        return frozenset(query.key for query in self.queries)


def choose(connection: Connection, count: int, *, seed: int = 0, part: Part = Part.ALL) -> Questions:
    """At most `count` different prompts of the library's example images, every image as likely as any other.

    The same library and seed give the same questions.
    """
    chosen: list[tuple[int, str, Query]] = []
    seen: set[int] = set()
    possible = 0
    for query in _all(connection, part):
        digest = scattered(query.key)
        if digest in seen:
            continue
        seen.add(digest)
        possible += 1
        # The smallest of hashes: a sample that does not depend on the order, and hardly on what else there is.
        heapq.heappush(chosen, (-scattered(f"{seed}:{query.key}"), query.key, query))
        if len(chosen) > count:
            heapq.heappop(chosen)
    return Questions(tuple(query for _, _, query in sorted(chosen, reverse=True)), possible)


def _all(connection: Connection, part: Part) -> Iterator[Query]:
    numbers = connection.execute(select(Adapter.pk).order_by(Adapter.pk)).scalars().all()
    models = models_of(connection)
    for chunk in batched(numbers, _CHUNK):
        for known in load_known(connection, chunk):
            model = models[known.pk]
            if known.facts.prompts and part in (Part.ALL, part_of(model)):
                yield from queries_of(known, model)


def queries_of(known: Known, model: str) -> Iterator[Query]:
    """The prompts of an adapter that can be asked."""
    for text in prompts_worth_asking(known.facts):
        written = _TAG.sub(" ", text)
        yield Query(model, known.pk, written, without_triggers(written, known.facts), key_of(text))


def prompts_worth_asking(facts: AdapterFacts) -> Iterator[str]:
    """The example prompts that say more than a word or two."""
    return (text for text in facts.prompts if len(key_of(text).split()) >= _SHORTEST)


def models_of(connection: Connection) -> dict[int, str]:
    """Which model every adapter is a version of, by its number; one that Civitai does not know is a model by itself."""
    rows = connection.execute(select(Adapter.pk, Adapter.civitai_model_id))
    return {pk: model_key(pk, model) for pk, model in rows}


def models_of_some(connection: Connection, numbers: Sequence[int]) -> dict[int, str]:
    """The same of given adapters, as far as they exist."""
    rows = connection.execute(select(Adapter.pk, Adapter.civitai_model_id).where(Adapter.pk.in_(numbers)))
    return {pk: model_key(pk, model) for pk, model in rows}


def part_of(model: str) -> Part:
    """Half of the models are learned on, the others measured on."""
    return Part.LEARNED if scattered(f"part:{model}") % 2 else Part.MEASURED


def key_of(prompt: str) -> str:
    """The words of a prompt: duplicates differ in tags, weights, brackets and case at most."""
    return fulltext.segment(prompts.parse(prompt).text)


def without_triggers(prompt: str, facts: AdapterFacts) -> str:
    """A prompt without the trigger words of an adapter: whole groups, and each part of them between commas."""
    groups = [text.strip() for text in (*facts.trained_words, *facts.triggers)]
    parts = {part.strip() for group in groups for part in (group, *group.split(","))} - {""}
    for part in sorted(parts, key=lambda part: (-len(part), part)):
        prompt = re.sub(rf"(?<!\w){re.escape(part)}(?!\w)", " ", prompt, flags=re.IGNORECASE)
    return prompt


def held_out_of(facts: AdapterFacts, held_out: frozenset[str]) -> AdapterFacts:
    """What is known of an adapter without the prompts that are asked."""
    kept = tuple(text for text in facts.prompts if key_of(text) not in held_out)
    return facts if len(kept) == len(facts.prompts) else replace(facts, prompts=kept)


def without_prompts(facts: AdapterFacts) -> AdapterFacts:
    """What is known of an adapter that has no example prompt."""
    return replace(facts, prompts=()) if facts.prompts else facts


def scattered(text: str) -> int:
    """A number of 64 bits by which texts are sampled: in an order that depends on nothing else there is."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
