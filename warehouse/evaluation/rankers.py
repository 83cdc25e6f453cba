"""Ways to answer a prompt: as it is served, its parts alone, and the baselines that it has to leave behind.

All of them search the same library, from which the prompts that are asked were held out. Vectors are compared exactly
and not through an index, whose recall is measured where it is published.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, select

from warehouse import prompts
from warehouse.evaluation.questions import Questions, held_out_of
from warehouse.ingest.progress import Progress, Silence
from warehouse.lexical import fusion, index, tokens
from warehouse.lexical.index import LexicalIndex
from warehouse.lexical.tokens import Document, Field, Terms
from warehouse.models import Adapter
from warehouse.settings import Settings
from warehouse.vectors.encoders import shared_encoder
from warehouse.vectors.facts import AdapterFacts
from warehouse.vectors.layout import Layout
from warehouse.vectors.loading import load_known
from warehouse.vectors.spaces import SPACES, SpaceName, prompt_weights
from warehouse.vectors.stored import batched, layout_of, stream_rows
from warehouse.vectors.texts import artistic_text, prompt_text
from warehouse.vectors.work import producers_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

POOL = 50
"""Candidates that are learned from."""
_CHUNK = 500
_FACTS: Mapping[Field, float] = {"named": 1.0}
"""The weights of BM25 in the baselines' index: over the facts …"""
_FACTS_AND_PROMPTS: Mapping[Field, float] = {"words": 1.0}
"""… and over the facts with the other prompts."""
_WITHHELD: Mapping[Field, float] = {field: index.WEIGHTS[field] for field in ("named", "described")}
"""The fields that have nothing of example prompts."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt as it is asked: its terms, and its unit vector (d,)."""

    terms: Terms
    vector: NDArray[np.float32]


Ranker = Callable[[Asked], list[int]]
"""Numbers of adapters, the best first, some tens of them."""


class Library:
    """What is searched: the word indexes, and the vectors of every adapter."""

    def __init__(
        self, connection: Connection, settings: Settings, questions: Questions, folder: Path, progress: Progress | None
    ) -> None:
        """Index the library without the prompts that are asked, below an empty folder.

        Raises:
            EncoderError: a model of the settings cannot be used. OSError: the disk is full.
        """
        self._settings = settings
        shown = progress or Silence()
        numbers = list(connection.execute(select(Adapter.pk).order_by(Adapter.pk)).scalars())
        changed: dict[int, AdapterFacts] = {}

        def documents() -> Iterator[Document]:
            held_out = questions.held_out
            shown.start(len(numbers), "adapters")
            for part in batched(numbers, _CHUNK):
                for each in load_known(connection, part):
                    facts = held_out_of(each.facts, held_out)
                    if facts is not each.facts:
                        changed[each.pk] = facts
                    yield tokens.document(each.pk, facts)
                shown.advance(len(part))

        words, baselines = folder / "words", folder / "baselines"
        words.mkdir()
        baselines.mkdir()
        count = len(numbers)
        with index.writing(words, expected=count) as add, index.writing(baselines, expected=count) as add_baseline:
            for document in documents():
                add(document)
                add_baseline(_baseline(document))
        self.words, self.baselines = LexicalIndex(words), LexicalIndex(baselines)
        self._numbers, self._rows, self._layout = self._vectors(connection, changed)
        self._places = {number: place for place, number in enumerate(self._numbers.tolist())}

    def ask(self, texts: Sequence[str]) -> list[Asked]:
        """Prompts as they are asked."""
        parsed = [prompts.parse(text) for text in texts]
        model = SPACES[0].model_name(self._settings)
        vectors = shared_encoder(self._settings, model).encode([prompt_text(each.text) or " " for each in parsed])
        return [Asked(tokens.asked(each), vector) for each, vector in zip(parsed, vectors, strict=True)]

    def similarities(self, vector: NDArray[np.float32], weights: Mapping[SpaceName, float]) -> NDArray[np.float32]:
        """Σ w·max(0, cosine) / Σ w of a vector with every adapter that has vectors, float32 (n,)."""
        import numpy as np

        found = np.zeros(len(self._numbers), dtype=np.float32)
        for part in self._layout.parts:
            if weight := weights.get(part.space, 0.0):
                cosines = self._rows[:, part.offset : part.offset + part.dimension] @ vector
                found += weight * np.maximum(0.0, cosines)
        return found / max(sum(weights.values()), 1e-9)

    def nearest(self, similarities: NDArray[np.float32], k: int) -> list[int]:
        """The numbers of the `k` most similar, the best first."""
        import numpy as np

        return [int(number) for number in self._numbers[np.argsort(-similarities, kind="stable")[:k]]]

    def similarity(self, similarities: NDArray[np.float32], number: int) -> float:
        """That of one adapter; 0 for one without vectors."""
        place = self._places.get(number)
        return 0.0 if place is None else float(min(1.0, similarities[place]))

    def _vectors(
        self, connection: Connection, changed: Mapping[int, AdapterFacts]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], Layout]:
        import numpy as np

        layout = layout_of(connection, producers_of(self._settings))
        chunks = list(stream_rows(connection, layout))
        numbers = np.concatenate([np.empty(0, dtype=np.int64), *(part for part, _ in chunks)])
        rows = np.concatenate([np.empty((0, layout.dimension), dtype=np.float32), *(part for _, part in chunks)])
        artistic = layout.part(SpaceName.ARTISTIC)
        if artistic is not None and changed:
            encoder = shared_encoder(self._settings, artistic.model_name)
            vectors = encoder.encode([artistic_text(facts) for facts in changed.values()])
            places = np.searchsorted(numbers, list(changed))
            known = np.flatnonzero(np.isin(list(changed), numbers))
            rows[places[known], artistic.offset : artistic.offset + artistic.dimension] = vectors[known]
        return numbers, rows, layout


def _baseline(document: Document) -> Document:
    """Name, tags, trigger words and description in one field; the same with the example prompts in another."""
    terms = document.terms
    said = [*terms["named"], *terms["described"]]
    return Document(
        document.number,
        None,
        {"named": said, "described": [], "words": [*said, *terms["words"]], "pairs": [], "fragments": []},
    )


def rankers(library: Library) -> dict[str, Ranker]:
    """Every way to answer by what it is called: ours, the same without example prompts, its parts, the baselines."""
    served = prompt_weights()
    facts_alone: dict[SpaceName, float] = {
        space: weight for space, weight in served.items() if space is not SpaceName.ARTISTIC
    }
    semantic = {SpaceName.SEMANTIC: 1.0}
    return {
        OURS: _fused(library, index.WEIGHTS, served),
        WITHHELD: _fused(library, _WITHHELD, facts_alone),
        "words alone": _by_words(library.words, index.WEIGHTS),
        "vectors alone": _by_vectors(library, served),
        "embedding of name, tags, triggers, description": _by_vectors(library, semantic),
        "BM25 over the same": _by_words(library.baselines, _FACTS),
        "BM25 with the other example prompts": _by_words(library.baselines, _FACTS_AND_PROMPTS),
    }


OURS = "as recommended"
WITHHELD = "as recommended, example prompts withheld"


def _by_words(searched: LexicalIndex, weights: Mapping[Field, float]) -> Ranker:
    return lambda asked: [hit.number for hit in searched.search(asked.terms, 2 * POOL, weights=weights)]


def _by_vectors(library: Library, weights: Mapping[SpaceName, float]) -> Ranker:
    return lambda asked: library.nearest(library.similarities(asked.vector, weights), 2 * POOL)


def _fused(library: Library, fields: Mapping[Field, float], spaces: Mapping[SpaceName, float]) -> Ranker:
    def rank(asked: Asked) -> list[int]:
        similarities = library.similarities(asked.vector, spaces)
        near = library.nearest(similarities, fusion.NEAR)
        hits = library.words.search(asked.terms, fusion.DEEP, weights=fields)
        known = {hit.number: hit.score for hit in hits}
        scores = {
            number: fusion.combined(library.similarity(similarities, number), fusion.evidence(known.get(number, 0.0)))
            for number in {*near, *(hit.number for hit in hits[: fusion.FOUND])}
        }
        return sorted(scores, key=lambda number: (-scores[number], number))

    return rank
