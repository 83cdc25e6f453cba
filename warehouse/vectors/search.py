"""Searching: the adapters nearest to another one, or to vectors, at any weighting of the spaces.

The current generation gives candidates, vectors newer than it are compared exactly beside it, and what is answered is
scored from the stored vectors alone. Work per question is bounded by the number of candidates, not by the library.
Does not belong here: lexical evidence, boosts and explanations (`serving`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from sqlalchemy import Connection, select

from warehouse import facets
from warehouse.engine import Database
from warehouse.generations import OnItsWayError, at_hand, current, current_pk
from warehouse.models import Adapter
from warehouse.queries import changes
from warehouse.settings import Settings
from warehouse.vectors.codec import decode_vector, decode_vectors
from warehouse.vectors.encoders import shared_encoder
from warehouse.vectors.filters import ANY, SearchFilter
from warehouse.vectors.fresh import Fresh
from warehouse.vectors.generation import OpenIndex, open_index
from warehouse.vectors.indices import KIND
from warehouse.vectors.layout import Vectors, combine
from warehouse.vectors.recall import OVERFETCH
from warehouse.vectors.spaces import SPACES, SpaceName, default_weights
from warehouse.vectors.stored import StoredVector, vectors_of
from warehouse.vectors.work import producers_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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
    """Unit vectors by space with the producers they can be compared with, and the weights."""

    vectors: Vectors
    producers: Mapping[SpaceName, str]
    weights: Mapping[SpaceName, float]


class Recommender:
    """Answers questions over the library; one per process, safe to use from several threads.

    It follows the current generation by itself: a question that finds the pointer moved opens the new one, while those
    under way go on with the old. A new one that is damaged leaves the old one in place, with the vectors newer than it
    beside it; only the first has nothing to fall back on, and its error reaches the caller.
    """

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database, self._settings = database, settings
        self._lock = Lock()
        self._index: OpenIndex | None = None
        self._fresh: Fresh | None = None
        self._changes = 0
        """Changes of vectors that `_fresh` has."""
        self._reopen_at = 0.0
        self._producers: dict[SpaceName, str] = {}
        self._producers_until = 0.0

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
        question = _Question(
            {item.space: decode_vector(item.data) for item in stored},
            {item.space: item.producer for item in stored},
            weights or default_weights(),
        )
        return self._answer(question, k, threshold, narrowed, {pk})

    def by_vectors(
        self,
        vectors: Vectors,
        *,
        weights: Mapping[SpaceName, float] | None = None,
        k: int = 10,
        threshold: float = 0.0,
        narrowed: SearchFilter = ANY,
        exclude: Collection[int] = (),
    ) -> SearchResult:
        """The `k` adapters nearest to unit vectors that the models of the settings made (`encode`).

        Raises:
            EncoderError: a model of the settings cannot be used.
        """
        question = _Question(vectors, self._producers_now(), weights or default_weights())
        return self._answer(question, k, threshold, narrowed, set(exclude))

    def encode(self, text: str | Mapping[SpaceName, str]) -> Vectors:
        """The vector of a question in each space; one text for all, or one by space. Equal texts are encoded once.

        Raises:
            EncoderError: a model of the settings cannot be used.
        """
        wanted = {space.name: text for space in SPACES} if isinstance(text, str) else dict(text)
        known: dict[tuple[str, str], NDArray[np.float32]] = {}
        vectors: dict[SpaceName, NDArray[np.float32]] = {}
        for space in SPACES:
            if space.name in wanted:
                key = (space.model_name(self._settings), wanted[space.name])
                if key not in known:
                    known[key] = shared_encoder(self._settings, key[0]).encode([key[1]])[0]
                vectors[space.name] = known[key]
        return vectors

    def score(
        self, vectors: Vectors, pks: Sequence[int], *, weights: Mapping[SpaceName, float] | None = None
    ) -> list[Match]:
        """Exact similarities of given adapters (found by their words, say) to vectors of the settings' models.

        In the order of the adapters; those without vectors score 0.

        Raises:
            EncoderError: a model of the settings cannot be used.
        """
        question = _Question(vectors, self._producers_now(), weights or default_weights())
        with self._database.read() as connection:
            return self._score(connection, question, pks)

    def _producers_now(self) -> dict[SpaceName, str]:
        """Who makes the vectors of questions; looked at now and then, for it takes milliseconds to look at models."""
        if time.monotonic() >= self._producers_until:
            self._producers = producers_of(self._settings)
            self._producers_until = time.monotonic() + _PRODUCERS_SECONDS
        return self._producers

    def _answer(
        self, question: _Question, k: int, threshold: float, narrowed: SearchFilter, exclude: set[int]
    ) -> SearchResult:
        index, fresh = self._state()
        with self._database.read() as connection:
            candidates = self._candidates(connection, question, k, narrowed, exclude, index, fresh)
            matches = self._score(connection, question, candidates)
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
        with self._database.read() as connection:
            pointer, counted = current_pk(connection, KIND), changes.counted(connection).embeddings
        with self._lock:
            moved = pointer != (self._index.pk if self._index is not None else None)
            if self._fresh is None or (moved and time.monotonic() >= self._reopen_at):
                self._fresh = self._opened()
            # A question that looked before another one loaded is behind it, and has nothing to add.
            if counted > self._changes:
                self._fresh = self._fresh.advanced(self._database)
                self._changes = counted
            return self._index, self._fresh

    def _opened(self) -> Fresh:
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
        except (OSError, RuntimeError):
            if self._fresh is None:
                raise
            self._reopen_at = time.monotonic() + _REOPEN_SECONDS
            _log.exception("the current index cannot be opened; the one before it goes on answering")
            return self._fresh
        self._index = index
        return Fresh.since(self._database, self._settings, index)

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
        beside = fresh.nearest(question.vectors, question.producers, question.weights, MAX_CANDIDATES)
        only = self._selected(connection, narrowed, index)
        asked = min(MAX_CANDIDATES, max(MIN_CANDIDATES, wanted + len(exclude)))
        while True:
            found = self._from_index(question, asked, index, only)
            exhausted = len(found) < asked or asked >= MAX_CANDIDATES
            # A newer vector replaces the one that the index still has.
            merged = [item for item in found if item[0] not in fresh] + beside[:asked]
            merged.sort(key=lambda item: -item[1])
            numbers = [number for number, _ in merged if number not in exclude]
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
        comparable = {
            part.space: question.vectors[part.space]
            for part in index.layout.parts
            if part.space in question.vectors and question.producers.get(part.space) == part.producer
        }
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
    def _score(connection: Connection, question: _Question, pks: Sequence[int]) -> list[Match]:
        """Exact similarities from the stored vectors."""
        similarities: dict[int, dict[SpaceName, float]] = {pk: dict.fromkeys(question.vectors, 0.0) for pk in pks}
        stored = vectors_of(connection, pks)
        for space, vector in question.vectors.items():
            mine = [item for item in stored if item.space == space and _comparable(item, question, len(vector))]
            if mine:
                cosines = decode_vectors([item.data for item in mine]) @ vector
                for item, cosine in zip(mine, cosines.tolist(), strict=True):
                    similarities[item.adapter_pk][space] = min(1.0, max(0.0, cosine))
        return [Match(pk, similarities[pk], combine(similarities[pk], question.weights)) for pk in pks]


def _comparable(item: StoredVector, question: _Question, dimension: int) -> bool:
    return item.producer == question.producers.get(item.space) and len(item.data) == 2 * dimension
