"""Searching: the adapters nearest to another one, or to vectors, at any weighting of the spaces.

The current generation gives candidates, vectors newer than it are compared exactly beside it, and what is answered is
scored from the stored vectors alone. Work per question is bounded by the number of candidates, not by the library.
Does not belong here: lexical evidence, boosts and explanations (`serving`).
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from types import MappingProxyType
from typing import TYPE_CHECKING

from sqlalchemy import Connection, select

from warehouse import facets
from warehouse.engine import Database
from warehouse.generations import OnItsWayError, at_hand, current, current_pk
from warehouse.models import Adapter
from warehouse.queries import changes
from warehouse.settings import Settings
from warehouse.vectors import prompt_map, tuned
from warehouse.vectors.codec import decode_vector, decode_vectors
from warehouse.vectors.encoders import Encoder, EncoderError, shared_encoder
from warehouse.vectors.filters import ANY, SearchFilter
from warehouse.vectors.fresh import Fresh
from warehouse.vectors.generation import OpenIndex, open_index
from warehouse.vectors.indices import KIND
from warehouse.vectors.layout import Asked, combine
from warehouse.vectors.loading import load_known
from warehouse.vectors.recall import OVERFETCH
from warehouse.vectors.spaces import SPACES, SpaceName, default_weights, prompt_weights, space_of
from warehouse.vectors.stored import StoredVector, vectors_of
from warehouse.vectors.work import producers_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from warehouse.reranking.reranker import Reranker

MIN_CANDIDATES = 64
MAX_CANDIDATES = 8_192
"""So many are asked of the index at most, however few of them pass the filter."""
SELECT_UP_TO = 50_000
"""Adapters of a rare base model that are named to the index one by one."""
_REOPEN_SECONDS = 10.0
"""A new generation that could not be opened is tried again after so long; until then the one before it answers."""
_ON_ITS_WAY_SECONDS = 0.5
"""One that is being got from a store is looked for again after so long."""
_PRODUCERS_SECONDS = 10.0
_GROWTH = 4
_RARE = 20
"""A base model that fewer than one in so many adapters has is rare."""


_log = logging.getLogger(__name__)


class NoVectorsError(LookupError):
    """The adapter has no vectors yet, or does not exist."""


@dataclass(frozen=True, slots=True)
class Match:
    """An adapter with its similarity in each space, max(0, cosine), 0..1, and their weighted mean `score`."""

    pk: int
    similarities: Mapping[SpaceName, float]
    score: float


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The nearest adapters, best first.

    `searched` is how many adapters were searched; `complete` is false where vectors newer than the generation were too
    many to be compared; `generation` is the name of the index that was asked, or None.
    """

    matches: list[Match]
    searched: int
    complete: bool
    generation: str | None


@dataclass(frozen=True, slots=True)
class _Question:
    """Unit vectors by space and by the producer whose vectors they can be compared with, and the weights."""

    asked: Asked
    weights: Mapping[SpaceName, float]


@dataclass(frozen=True, slots=True)
class _Models:
    """What the models of questions are at a time: the settings with the encoder in use, and the producers they give."""

    settings: Settings
    producers: Mapping[SpaceName, str]
    reranker: Reranker | None
    until: float


class Recommender:
    """Answers questions over the library; one per process, safe to use from several threads.

    It follows the current generation by itself: a question that finds the pointer moved opens the new one, while those
    under way go on with the old. A new one that is damaged leaves the old one in place, with the vectors newer than it
    beside it; only the first has nothing to fall back on, and its error reaches the caller.

    While vectors are made anew by another model, questions are asked in both: of the index as it was built, and of what
    has the new vectors already.
    """

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database, self._settings = database, settings
        self._lock = Lock()
        self._index: OpenIndex | None = None
        self._fresh: Fresh | None = None
        self._changes = 0
        """Changes of vectors that `_fresh` has."""
        self._reopen_at = 0.0
        self._known_models: _Models | None = None

    def similar(
        self,
        pk: int,
        *,
        weights: Mapping[SpaceName, float] | None = None,
        k: int = 10,
        threshold: float = 0.0,
        narrowed: SearchFilter = ANY,
    ) -> SearchResult:
        """The `k` adapters most similar to one, without itself.

        Raises:
            NoVectorsError: it has no vectors yet, or does not exist.
        """
        with self._database.read() as connection:
            stored = vectors_of(connection, [pk])
        if not stored:
            raise NoVectorsError(f"adapter {pk} has no vectors yet: compute its embeddings first")
        asked = {item.space: {item.producer: decode_vector(item.data)} for item in stored}
        self._add_others(asked, pk)
        return self._answer(_Question(asked, weights or default_weights()), k, threshold, narrowed, {pk})

    def by_vectors(
        self,
        asked: Asked,
        *,
        weights: Mapping[SpaceName, float] | None = None,
        k: int = 10,
        threshold: float = 0.0,
        narrowed: SearchFilter = ANY,
        exclude: Collection[int] = (),
    ) -> SearchResult:
        """The `k` adapters nearest to the vectors of a question (`encode`)."""
        question = _Question(asked, weights or default_weights())
        return self._answer(question, k, threshold, narrowed, set(exclude))

    def encode(self, text: str | Mapping[SpaceName, str]) -> Asked:
        """The vectors of a question in each space: of a prompt, corrected for being one (`prompt_map`), or of the texts
        of an adapter by space. Equal texts are encoded once by each model.

        Raises:
            EncoderError: a model of the settings cannot be used.
        """
        is_prompt = isinstance(text, str)
        wanted = {space.name: text for space in SPACES} if isinstance(text, str) else dict(text)
        known: dict[tuple[str, str], NDArray[np.float32]] = {}
        asked: dict[SpaceName, dict[str, NDArray[np.float32]]] = {}
        for space, text_of_space in wanted.items():
            vectors = asked.setdefault(space, {})
            for producer, encoder in self._encoders_of(space).items():
                key = (encoder.identity.version, text_of_space)
                if key not in known:
                    encoded = encoder.encode([text_of_space])
                    known[key] = (prompt_map.for_prompts(encoded, encoder.identity) if is_prompt else encoded)[0]
                vectors[producer] = known[key]
        return asked

    def score(
        self,
        asked: Asked,
        pks: Sequence[int],
        *,
        weights: Mapping[SpaceName, float] | None = None,
        stored: Mapping[int, Sequence[StoredVector]] = MappingProxyType({}),
    ) -> list[Match]:
        """Exact similarities of given adapters (found by their words, say) to the vectors of a question (`encode`).

        In the order of the adapters; those without vectors score 0. `stored` are those that were read already
        (`by_adapter`).
        """
        question = _Question(asked, weights or default_weights())
        vectors = [vector for pk in pks for vector in stored.get(pk, ())]
        if unread := [pk for pk in pks if pk not in stored]:
            with self._database.read() as connection:
                vectors += vectors_of(connection, unread)
        return self._score(vectors, question, pks)

    def reranker(self, weights: Mapping[SpaceName, float]) -> Reranker | None:
        """What puts candidates for a prompt in order; None where none was learned for the models and weights of a
        question, or none is wanted.

        Raises:
            EncoderError: a model of the settings cannot be used.
        """
        return self._models().reranker if _in_proportion(weights, prompt_weights()) else None

    def _models(self) -> _Models:
        """Who makes the vectors of questions; looked at now and then, for it takes milliseconds to look at models."""
        # Its terms are made of the facts that vectors are made of: it imports this package.
        from warehouse.reranking import reranker

        known = self._known_models
        if known is None or time.monotonic() >= known.until:
            settings = tuned.in_use(self._database, self._settings)
            trees = reranker.serving(settings)
            known = _Models(settings, producers_of(settings), trees, time.monotonic() + _PRODUCERS_SECONDS)
            self._known_models = known
        return known

    def _producers(self) -> Mapping[SpaceName, str]:
        """The producers in use; those of the index while a model cannot be used: what is stored is comparable."""
        try:
            return self._models().producers
        except EncoderError:
            if self._index is None:
                raise
            return {part.space: part.producer for part in self._index.layout.parts}

    def _encoders_of(self, space: SpaceName) -> dict[str, Encoder]:
        """The encoders of a space's vectors by producer: that in use, and that of the index where it is another.

        Raises:
            EncoderError: the model in use cannot be used.
        """
        models = self._models()
        encoders = {
            models.producers[space]: shared_encoder(models.settings, space_of(space).model_name(models.settings))
        }
        index = self._index_in_use()
        part = index.layout.part(space) if index is not None else None
        if part is not None and part.producer not in encoders:
            try:
                encoder = shared_encoder(models.settings, part.model_name)
            except EncoderError:
                # It was taken away with the setting that named it; what the new one made is found.
                return encoders
            if part.producer.endswith(f":{encoder.identity.version}"):
                encoders[part.producer] = encoder
        return encoders

    def _add_others(self, asked: dict[SpaceName, dict[str, NDArray[np.float32]]], pk: int) -> None:
        """Let an adapter be compared with what other models made of others, while there is such."""
        producers = self._producers()
        index = self._index_in_use()
        live = {space: {producer} for space, producer in producers.items()}
        for part in index.layout.parts if index is not None else ():
            live[part.space].add(part.producer)
        lacking = [space for space in asked if live[space] - asked[space].keys()]
        if not lacking:
            return
        with self._database.read() as connection:
            known = load_known(connection, [pk])
        for each in known:
            try:
                others = self.encode({space: space_of(space).text(each.facts) for space in lacking})
            except EncoderError:
                return
            for space, vectors in others.items():
                asked[space] = {**vectors, **asked[space]}

    def _index_in_use(self) -> OpenIndex | None:
        """The index as the last question found it; opened where there was none yet."""
        return self._state()[0] if self._fresh is None else self._index

    def _answer(
        self, question: _Question, k: int, threshold: float, narrowed: SearchFilter, exclude: set[int]
    ) -> SearchResult:
        index, fresh = self._state()
        with self._database.read() as connection:
            candidates = self._candidates(connection, question, k, narrowed, exclude, index, fresh)
            vectors = vectors_of(connection, candidates)
        matches = self._score(vectors, question, candidates)
        matches.sort(key=lambda match: (-match.score, match.pk))
        return SearchResult(
            [match for match in matches if match.score >= threshold][:k],
            searched=(index.count if index is not None else 0) + fresh.count_beside(index),
            complete=fresh.complete,
            generation=index.name if index is not None else None,
        )

    def _state(self) -> tuple[OpenIndex | None, Fresh]:
        """The index and the newer vectors as they are now; looked up by two keys, loaded when one has moved.

        The highest number would not tell: a transaction that took lower ones may commit after it.
        """
        producers = self._producers()
        with self._database.read() as connection:
            pointer, counted = current_pk(connection, KIND), changes.counted(connection).embeddings
        with self._lock:
            moved = pointer != (self._index.pk if self._index is not None else None)
            if self._fresh is None or (moved and time.monotonic() >= self._reopen_at):
                self._fresh = self._opened(producers)
            # A question that looked before another one loaded is behind it, and has nothing to add.
            if counted > self._changes:
                self._fresh = self._fresh.advanced(self._database, producers)
                self._changes = counted
            return self._index, self._fresh

    def _opened(self, producers: Mapping[SpaceName, str]) -> Fresh:
        """Open the current generation; the vectors newer than it."""
        try:
            published = current(self._database, self._settings, KIND)
            if published is not None:
                # With an older index to answer from, nobody waits for a download.
                published = at_hand(self._database, self._settings, published, wait=self._fresh is None)
            index = open_index(published) if published is not None else None
        except OnItsWayError:
            self._reopen_at = time.monotonic() + _ON_ITS_WAY_SECONDS
            assert self._fresh is not None
            return self._fresh
        except OSError:
            if self._fresh is None:
                raise
            self._reopen_at = time.monotonic() + _REOPEN_SECONDS
            _log.exception("the current index cannot be opened; the one before it goes on answering")
            return self._fresh
        self._index = index
        return Fresh.since(self._database, producers, index)

    def _candidates(
        self,
        connection: Connection,
        question: _Question,
        k: int,
        narrowed: SearchFilter,
        exclude: set[int],
        index: OpenIndex | None,
        fresh: Fresh,
    ) -> list[int]:
        """Numbers of adapters that pass the filter, more than asked for, the nearest first."""
        wanted = k * OVERFETCH
        beside = fresh.nearest(question.asked, question.weights, MAX_CANDIDATES)
        only = self._selected(connection, narrowed, index)
        asked = min(MAX_CANDIDATES, max(MIN_CANDIDATES, wanted + len(exclude)))
        while True:
            found = self._from_index(question, asked, index, only)
            exhausted = len(found) < asked or asked >= MAX_CANDIDATES
            # Of an adapter that both have, the newer vectors may be of some spaces alone. Its worth is told later.
            merged = dict(found)
            for number, score in beside[:asked]:
                merged[number] = max(score, merged.get(number, 0.0))
            numbers = [number for number in sorted(merged, key=lambda number: -merged[number]) if number not in exclude]
            passing = narrowed.passing(connection, numbers)
            kept = [number for number in numbers if number in passing]
            if len(kept) >= wanted or (exhausted and asked >= len(beside)):
                return kept[:wanted]
            asked = min(MAX_CANDIDATES, asked * _GROWTH)

    def _from_index(
        self, question: _Question, asked: int, index: OpenIndex | None, only: NDArray[np.int64] | None
    ) -> list[tuple[int, float]]:
        if index is None:
            return []
        comparable = index.layout.comparable(question.asked)
        return index.search(index.layout.weighted(comparable, question.weights), asked, only) if comparable else []

    def _selected(
        self, connection: Connection, narrowed: SearchFilter, index: OpenIndex | None
    ) -> NDArray[np.int64] | None:
        """The adapters of a rare base model, by its index: among candidates of all kinds they would hardly be."""
        if narrowed.base_model is None or index is None:
            return None
        count = facets.count_of(connection, "base_model", narrowed.base_model)
        if count > min(SELECT_UP_TO, index.count // _RARE):
            return None
        import numpy as np

        numbers = connection.execute(select(Adapter.pk).where(*narrowed.conditions()).limit(SELECT_UP_TO)).scalars()
        return np.fromiter(numbers, dtype=np.int64)

    @staticmethod
    def _score(vectors: Sequence[StoredVector], question: _Question, pks: Sequence[int]) -> list[Match]:
        """Exact similarities from the stored vectors."""
        similarities: dict[int, dict[SpaceName, float]] = {pk: dict.fromkeys(question.asked, 0.0) for pk in pks}
        stored: dict[tuple[SpaceName, str], list[StoredVector]] = {}
        for item in vectors:
            stored.setdefault((item.space, item.producer), []).append(item)
        for space, by_producer in question.asked.items():
            for producer, vector in by_producer.items():
                mine = [item for item in stored.get((space, producer), ()) if len(item.data) == 2 * len(vector)]
                if mine:
                    cosines = decode_vectors([item.data for item in mine]) @ vector
                    for item, cosine in zip(mine, cosines.tolist(), strict=True):
                        similarities[item.adapter_pk][space] = min(1.0, max(0.0, cosine))
        return [Match(pk, similarities[pk], combine(similarities[pk], question.weights)) for pk in pks]


def _in_proportion(one: Mapping[SpaceName, float], other: Mapping[SpaceName, float]) -> bool:
    mine, theirs = sum(one.values()), sum(other.values())
    return all(math.isclose(one.get(each, 0.0) * theirs, other.get(each, 0.0) * mine) for each in SpaceName)
