"""Fitting what a field of the word index is worth, and how much of it makes up for a similarity.

Each question is a choice among candidates: the odds of one are exp(Σ weight · score), and the weights make the right
model likely (a conditional logit, McFadden, 1974). None is below 0: no shared word speaks against an adapter.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.engine import Database
from warehouse.evaluation.evaluating import NothingToAskError
from warehouse.evaluation.questions import Part, Variant, choose, models_of
from warehouse.evaluation.rankers import POOL, Asked, Library
from warehouse.ingest.progress import Progress, Silence
from warehouse.lexical.tokens import FIELDS, Field
from warehouse.settings import Settings
from warehouse.vectors import tuned
from warehouse.vectors.spaces import prompt_weights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PENALTY = 1e-3
"""Of the squared weights per question: a field that says nothing shall weigh nothing."""
_NEAREST_SIMILARITY = 0.99
_UNIT = 10.0
"""Scores of BM25 are divided by this, so that all weights are of one magnitude for the optimiser."""


@dataclass(frozen=True, slots=True)
class Learned:
    """Weights of fields in nats per unit of BM25, and nats that weigh as much as −log(1 − similarity) = 1."""

    weights: Mapping[Field, float]
    scale: float
    questions: int


@dataclass(frozen=True, slots=True)
class _Choice:
    """The candidates of a question: their features (candidates, fields + 1), and which of them are right."""

    features: NDArray[np.float64]
    right: NDArray[np.bool_]


def learn(
    database: Database, settings: Settings, *, count: int = 1_000, seed: int = 0, progress: Progress | None = None
) -> Learned:
    """Fit the weights on the prompts of the models that are learned on.

    Raises:
        NothingToAskError: there are no example prompts. EncoderError: a model of the settings cannot be used.
    """
    shown = progress or Silence()
    settings = tuned.in_use(database, settings)
    with database.read() as connection, tempfile.TemporaryDirectory(prefix="lora-manager-learning-") as folder:
        questions = choose(connection, count, seed=seed, part=Part.LEARNED)
        if not questions.queries:
            raise NothingToAskError("no adapter of the part that is learned on has example images with prompts")
        library = Library(connection, settings, questions, Path(folder), shown)
        models = models_of(connection)
        adapters = _adapters_of(models)
        shown.start(len(Variant) * len(questions.queries), "questions")
        choices: list[_Choice] = []
        for variant in Variant:
            asked = library.ask([query.text(variant) for query in questions.queries])
            for query, each in zip(questions.queries, asked, strict=True):
                choices.append(_choice(library, each, adapters[query.model]))
                shown.advance(1)
    fitted = _fit(choices)
    weights = {field: round(float(weight) / _UNIT, 4) for field, weight in zip(FIELDS, fitted, strict=False)}
    return Learned(weights, round(float(fitted[-1]), 2), len(questions.queries))


def _adapters_of(models: Mapping[int, str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for number, model in models.items():
        found.setdefault(model, []).append(number)
    return found


def _choice(library: Library, asked: Asked, right: Sequence[int]) -> _Choice:
    import numpy as np

    similarities = library.similarities(asked.vectors, prompt_weights())
    candidates = sorted(
        {
            *right,
            *library.nearest(similarities, POOL),
            *(hit.number for hit in library.words.search(asked.terms, 2 * POOL)),
        }
    )
    scores = [library.words.score(asked.terms, candidates, weights={field: 1.0}) for field in FIELDS]
    features = [[found.get(number, 0.0) / _UNIT for found in scores] for number in candidates]
    for number, row in zip(candidates, features, strict=True):
        row.append(-math.log(1 - min(_NEAREST_SIMILARITY, library.similarity(similarities, number))))
    return _Choice(np.array(features), np.isin(candidates, right))


def _fit(choices: Sequence[_Choice]) -> NDArray[np.float64]:
    import numpy as np
    from scipy.optimize import minimize

    width = choices[0].features.shape[1]

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        total, gradient = 0.0, np.zeros(width)
        for choice in choices:
            odds = choice.features @ weights
            chances = np.exp(odds - odds.max())
            chances /= chances.sum()
            hit = max(1e-12, float(chances[choice.right].sum()))
            total -= math.log(hit)
            pull = chances.copy()
            pull[choice.right] -= chances[choice.right] / hit
            gradient += pull @ choice.features
        count = len(choices)
        return total / count + _PENALTY * float(weights @ weights), gradient / count + 2 * _PENALTY * weights

    found = minimize(loss, np.ones(width), jac=True, method="L-BFGS-B", bounds=[(0, None)] * width)
    fitted: NDArray[np.float64] = found.x
    return fitted
