"""What an encoder is tuned on: prompts of example images, each with the texts of the adapter that made the image.

The prompt itself and its duplicates are taken out of the texts, as they are in an evaluation: to find an adapter by a
prompt that stands in its text teaches nothing. Only models of the part that is learned on are read.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from warehouse import prompts
from warehouse.evaluation.questions import Part, Query, held_out_of, models_of, part_of, queries_of, scattered
from warehouse.vectors.loading import Known, load_known
from warehouse.vectors.spaces import SpaceName, space_of
from warehouse.vectors.stored import batched
from warehouse.vectors.texts import prompt_text

TUNED_SPACES = (SpaceName.SEMANTIC, SpaceName.ARTISTIC)
"""Where a prompt and the text of an adapter are of one kind: what it is, and how it looks."""
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt in the two ways in which it is asked, and the texts that it shall be near to, by space."""

    model: str
    prompts: tuple[str, ...]
    texts: tuple[str, ...]


def examples(connection: Connection, *, most: int, held_out: Collection[str]) -> list[Example]:
    """At most so many examples of the part that is learned on, every prompt as likely as any other.

    The same library gives the same ones, in the same order.

    Args:
        held_out: keys of prompts that nothing may be learned from.
    """
    models = models_of(connection)
    chosen: list[tuple[int, int, str]] = []
    seen: set[int] = set()
    for known, query in _queries(connection, models, [pk for pk in models if part_of(models[pk]) is Part.LEARNED]):
        rank = scattered(query.key)
        if rank in seen or query.key in held_out:
            continue
        seen.add(rank)
        # The smallest of hashes: a sample that depends on no order.
        heapq.heappush(chosen, (-rank, known.pk, query.key))
        if len(chosen) > most:
            heapq.heappop(chosen)
    keys = {(pk, key) for _, pk, key in chosen}
    wanted = sorted({pk for _, pk, _ in chosen})
    found = {
        (known.pk, query.key): _example(known, query)
        for known, query in _queries(connection, models, wanted)
        if (known.pk, query.key) in keys
    }
    return [found[pk, key] for _, pk, key in sorted(chosen, reverse=True)]


def digest_of(found: Sequence[Example]) -> str:
    """32 hexadecimal digits of what is learned from: equal means equal examples in equal order."""
    digest = hashlib.blake2b(digest_size=16)
    for example in found:
        for text in (example.model, *example.prompts, *example.texts):
            digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()


def _queries(connection: Connection, models: dict[int, str], numbers: Sequence[int]) -> Iterator[tuple[Known, Query]]:
    for chunk in batched(sorted(numbers), _CHUNK):
        for known in load_known(connection, chunk):
            for query in queries_of(known, models[known.pk]):
                yield known, query


def _example(known: Known, query: Query) -> Example:
    others = held_out_of(known.facts, frozenset({query.key}))
    asked = (query.written, query.without_triggers)
    return Example(
        query.model,
        tuple(prompt_text(prompts.parse(text).text) or " " for text in asked),
        tuple(space_of(space).text(others) for space in TUNED_SPACES),
    )
