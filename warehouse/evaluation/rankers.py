"""Ways to answer a prompt: as it is served, its parts alone, and the baselines that it has to leave behind.

All of them search the same library, from which the prompts that are asked were held out. Vectors are compared exactly
and not through an index, whose recall is measured where it is published.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, select

from warehouse import prompts
from warehouse.evaluation.questions import Questions, held_out_of, models_of, without_prompts
from warehouse.ingest.progress import Progress, Silence
from warehouse.lexical import fusion, index, tokens
from warehouse.lexical.index import LexicalIndex
from warehouse.lexical.tokens import Document, Field, Terms
from warehouse.models import Adapter
from warehouse.reranking import reranker
from warehouse.reranking.features import NOTHING_IN_WORDS, Candidate
from warehouse.reranking.reranker import Reranker
from warehouse.settings import Settings
from warehouse.vectors import prompt_map
from warehouse.vectors.encoders import Encoder, shared_encoder
from warehouse.vectors.facts import AdapterFacts
from warehouse.vectors.layout import Layout, Vectors
from warehouse.vectors.loading import load_known
from warehouse.vectors.spaces import SPACES, SpaceName, prompt_weights
from warehouse.vectors.stored import assemble, batched, layout_of, vectors_of
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
FACTS_ALONE: tuple[Field, ...] = ("name", "phrases", "described")
"""The fields with a weight that have nothing of example prompts."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt as it is asked: its terms, and its unit vectors (d,) by space; `plain` as the model made them."""

    terms: Terms
    vectors: Vectors
    plain: Vectors


Ranker = Callable[[Asked], list[int]]
"""Numbers of adapters, the best first, some tens of them."""


class Library:
    """What is searched: the word indexes, and the vectors of every adapter."""

    def __init__(
        self,
        connection: Connection,
        settings: Settings,
        questions: Questions,
        folder: Path,
        progress: Progress | None,
        *,
        only: Sequence[int] | None = None,
        withheld: bool = False,
    ) -> None:
        """Index the library without the prompts that are asked, below an empty folder.

        Args:
            settings: those with the encoder in use (`tuned.in_use`).
            only: numbers of the only adapters that are searched.
            withheld: leave out every other example prompt as well, of all adapters.

        Raises:
            EncoderError: a model of the settings cannot be used. OSError: the disk is full.
        """
        self._encoders = {space.name: shared_encoder(settings, space.model_name(settings)) for space in SPACES}
        self._reranker = reranker.serving(settings)
        shown = progress or Silence()
        numbers = sorted(connection.execute(select(Adapter.pk)).scalars() if only is None else only)
        changed: dict[int, AdapterFacts] = {}
        self._authors: dict[int, str | None] = {}
        self._prompts: dict[int, int] = {}
        self.models: Mapping[int, str] = models_of(connection)
        """Which model every adapter of the library is a version of, also of those that are not searched."""

        def documents() -> Iterator[Document]:
            held_out = questions.held_out
            shown.start(len(numbers), "adapters")
            for part in batched(numbers, _CHUNK):
                for each in load_known(connection, part):
                    self._authors[each.pk] = each.facts.author
                    facts = without_prompts(each.facts) if withheld else held_out_of(each.facts, held_out)
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
                self._prompts[document.number] = document.prompts
                add_baseline(_baseline(document))
        self.words, self.baselines = LexicalIndex(words), LexicalIndex(baselines)
        self._numbers, self._rows, self._layout = self._vectors(connection, settings, numbers, changed)
        self._places = {number: place for place, number in enumerate(self._numbers.tolist())}

    def ask(self, texts: Sequence[str]) -> list[Asked]:
        """Prompts as they are asked."""
        parsed = [prompts.parse(text) for text in texts]
        said = [prompt_text(each.text) or " " for each in parsed]
        # The spaces mostly share a model.
        distinct = {encoder.identity.version: encoder for encoder in self._encoders.values()}
        plain = {version: encoder.encode(said) for version, encoder in distinct.items()}
        corrected = {
            version: prompt_map.for_prompts(plain[version], encoder.identity) for version, encoder in distinct.items()
        }
        versions = {space: encoder.identity.version for space, encoder in self._encoders.items()}
        return [
            Asked(
                tokens.asked(each),
                {space: corrected[version][row] for space, version in versions.items()},
                {space: plain[version][row] for space, version in versions.items()},
            )
            for row, each in enumerate(parsed)
        ]

    @property
    def numbers(self) -> NDArray[np.int64]:
        """The adapters that have vectors, ascending, int64 (n,)."""
        return self._numbers

    def with_vectors(self, encoder: Encoder, rows: Mapping[SpaceName, NDArray[np.float32]]) -> Library:
        """The same library with what another encoder makes of some spaces, float32 (n, d) each."""
        other = copy.copy(self)
        other._encoders = {**self._encoders, **dict.fromkeys(rows, encoder)}
        other._rows = self._rows.copy()
        for space, vectors in rows.items():
            if (part := self._layout.part(space)) is not None:
                other._rows[:, part.offset : part.offset + part.dimension] = vectors
        return other

    def likeness(self, weights: Mapping[SpaceName, float]) -> NDArray[np.float32]:
        """Σ w·max(0, cosine) / Σ w of every adapter with every other, float32 (n, n)."""
        import numpy as np

        found = np.zeros((len(self._numbers), len(self._numbers)), dtype=np.float32)
        for part in self._layout.parts:
            rows = self._rows[:, part.offset : part.offset + part.dimension]
            found += weights.get(part.space, 0.0) * np.maximum(0.0, rows @ rows.T)
        return found / max(sum(weights.values()), 1e-9)

    def similarities(self, vectors: Vectors, weights: Mapping[SpaceName, float]) -> NDArray[np.float32]:
        """Σ w·max(0, cosine) / Σ w of a prompt's vectors with every adapter that has any, float32 (n,)."""
        import numpy as np

        found = np.zeros(len(self._numbers), dtype=np.float32)
        for part in self._layout.parts:
            if weight := weights.get(part.space, 0.0):
                cosines = self._rows[:, part.offset : part.offset + part.dimension] @ vectors[part.space]
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

    def similarities_by_space(self, vectors: Vectors, numbers: Sequence[int]) -> NDArray[np.float32]:
        """max(0, cosine) of a prompt's vectors with those of given adapters, (numbers, spaces); 0 without any."""
        import numpy as np

        places = np.array([self._places.get(number, -1) for number in numbers], dtype=np.int64)
        found = np.zeros((len(numbers), len(SPACES)), dtype=np.float32)
        for column, space in enumerate(SPACES):
            if (part := self._layout.part(space.name)) is not None:
                rows = self._rows[places, part.offset : part.offset + part.dimension]
                found[:, column] = np.clip(rows @ vectors[space.name], 0.0, 1.0)
        found[places < 0] = 0.0
        return found

    def candidates(
        self, asked: Asked, fields: Mapping[Field, float], spaces: Mapping[SpaceName, float]
    ) -> dict[int, Candidate]:
        """What is put in order for a prompt, by number: as it is served, but for fields and spaces without a weight."""
        similarities = self.similarities(asked.vectors, spaces)
        hits = self.words.search(asked.terms, fusion.DEEP, weights=fields)
        scores = {hit.number: hit.score for hit in hits}
        found = [hit.number for hit in hits[: reranker.FOUND]]
        numbers = sorted({*self.nearest(similarities, reranker.NEAR), *found})
        best = {number: scores[number] for number in found}
        by_field = self.words.scores_by_field(asked.terms, best, weights=fields)
        prompts_of = self._prompts if fields.keys() - set(FACTS_ALONE) else {}
        by_space = self.similarities_by_space(asked.vectors, numbers)
        by_space *= [space.name in spaces for space in SPACES]
        return {
            number: Candidate(
                self.similarity(similarities, number),
                tuple(near),
                scores.get(number, 0.0),
                by_field.get(number, NOTHING_IN_WORDS),
                prompts_of.get(number, 0),
                self._authors.get(number),
                self.models[number],
            )
            for number, near in zip(numbers, by_space.tolist(), strict=True)
        }

    @property
    def reranker(self) -> Reranker | None:
        """The one that is served with this library; None where there is none for it."""
        return self._reranker if self.words.count >= reranker.FEW else None

    def _vectors(
        self, connection: Connection, settings: Settings, wanted: Sequence[int], changed: Mapping[int, AdapterFacts]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], Layout]:
        import numpy as np

        layout = layout_of(connection, producers_of(settings))
        chunks = [assemble(vectors_of(connection, part), layout) for part in batched(wanted, _CHUNK)]
        numbers = np.concatenate([np.empty(0, dtype=np.int64), *(part for part, _ in chunks)])
        rows = np.concatenate([np.empty((0, layout.dimension), dtype=np.float32), *(part for _, part in chunks)])
        artistic = layout.part(SpaceName.ARTISTIC)
        if artistic is not None and changed:
            vectors = self._encoders[artistic.space].encode([artistic_text(facts) for facts in changed.values()])
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
        {**{field: [] for field in tokens.FIELDS}, "named": said, "words": [*said, *terms["words"]]},
    )


def rankers(library: Library) -> dict[str, Ranker]:
    """Every way to answer by what it is called: ours, the same without example prompts, its parts, the baselines."""
    served = prompt_weights()
    semantic = {SpaceName.SEMANTIC: 1.0}
    facts_alone = {field: index.WEIGHTS[field] for field in FACTS_ALONE}
    return {
        OURS: _served(library, index.WEIGHTS, served),
        WITHHELD: _served(library, facts_alone, without_examples(served)),
        "not re-ranked": _fused(library, index.WEIGHTS, served),
        "not re-ranked, example prompts withheld": _fused(library, facts_alone, without_examples(served)),
        "words alone": _by_words(library.words, index.WEIGHTS),
        "vectors alone": _by_vectors(library, served),
        BASELINES[0]: lambda asked: library.nearest(library.similarities(asked.plain, semantic), 2 * POOL),
        BASELINES[1]: _by_words(library.baselines, _FACTS),
        BASELINES[2]: _by_words(library.baselines, _FACTS_AND_PROMPTS),
    }


def without_examples(spaces: Mapping[SpaceName, float]) -> dict[SpaceName, float]:
    """The weights of the spaces that have nothing of example prompts."""
    return {space: weight for space, weight in spaces.items() if space is not SpaceName.ARTISTIC}


OURS = "as recommended"
WITHHELD = "as recommended, example prompts withheld"
BASELINES: Final = (
    "embedding of name, tags, triggers, description",
    "BM25 over the same",
    "BM25 with the other example prompts",
)
"""What a recommender has to leave behind."""


def _by_words(searched: LexicalIndex, weights: Mapping[Field, float]) -> Ranker:
    return lambda asked: [hit.number for hit in searched.search(asked.terms, 2 * POOL, weights=weights)]


def _by_vectors(library: Library, weights: Mapping[SpaceName, float]) -> Ranker:
    return lambda asked: library.nearest(library.similarities(asked.vectors, weights), 2 * POOL)


def _served(library: Library, fields: Mapping[Field, float], spaces: Mapping[SpaceName, float]) -> Ranker:
    trees = library.reranker
    return _fused(library, fields, spaces) if trees is None else _reranked(library, trees, fields, spaces)


def _reranked(
    library: Library, trees: Reranker, fields: Mapping[Field, float], spaces: Mapping[SpaceName, float]
) -> Ranker:
    def rank(asked: Asked) -> list[int]:
        candidates = library.candidates(asked, fields, spaces)
        relevances = trees.relevances(
            list(candidates.values()), words=len(asked.terms["words"]), adapters=library.words.count
        )
        return [number for _, number in sorted(zip((-each for each in relevances), candidates, strict=True))]

    return rank


def _fused(library: Library, fields: Mapping[Field, float], spaces: Mapping[SpaceName, float]) -> Ranker:
    def rank(asked: Asked) -> list[int]:
        similarities = library.similarities(asked.vectors, spaces)
        near = library.nearest(similarities, fusion.NEAR)
        hits = library.words.search(asked.terms, fusion.DEEP, weights=fields)
        known = {hit.number: hit.score for hit in hits}
        scores = {
            number: fusion.combined(library.similarity(similarities, number), fusion.evidence(known.get(number, 0.0)))
            for number in {*near, *(hit.number for hit in hits[: fusion.FOUND])}
        }
        return sorted(scores, key=lambda number: (-scores[number], number))

    return rank
