"""Fitting what a field of the word index is worth beside a similarity.

Each question is a choice among candidates: the odds of one are exp(Σ weight · score), and the weights make the right
model likely (a conditional logit, McFadden, 1974). From there they are led to what people see, which ten come first:
the share of questions whose right model outdoes the tenth best of the others, smoothed so that it has a slope. None is
below 0: no shared word speaks against an adapter.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.engine import Database
from warehouse.evaluation.evaluating import NothingToAskError
from warehouse.evaluation.metrics import DEPTH
from warehouse.evaluation.questions import Part, Questions, Variant, choose, models_of
from warehouse.evaluation.rankers import FACTS_ALONE, POOL, Asked, Library, without_examples
from warehouse.ingest.progress import Progress, Silence
from warehouse.lexical import fusion, index
from warehouse.lexical.tokens import Field
from warehouse.settings import Settings
from warehouse.vectors import tuned
from warehouse.vectors.spaces import SpaceName, prompt_weights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    _Loss = Callable[["_Choice", NDArray[np.float64]], tuple[float, NDArray[np.float64]]]

_FIELDS: tuple[Field, ...] = tuple(index.WEIGHTS)
_ROUND = 500
"""Questions that are held out at once: with more, too few of the example prompts would be left to find by."""
_PENALTIES = (1e-3, 1e-4)
"""Of the squared weights, for the likelihood and for the share: a field that says nothing shall weigh nothing."""
_IMPORTANCE: Mapping[Variant, float] = {Variant.WRITTEN: 1.0, Variant.WITHOUT_TRIGGERS: 2.0}
"""What a question counts: who knows the trigger words of an adapter has found it already."""
_WITHHELD_IMPORTANCE = 0.5
"""What it counts, beside that, where example prompts are withheld."""
_NEAREST_SIMILARITY = 0.99
_UNIT = 10.0
"""Scores of BM25 are divided by this, so that all weights are of one magnitude for the optimiser."""
_STEPS = 40


@dataclass(frozen=True, slots=True)
class Learned:
    """Weights of fields per unit of BM25, where `fusion.SCALE` weighs as much as −log(1 − similarity) = 1."""

    weights: Mapping[Field, float]
    questions: int


@dataclass(frozen=True, slots=True)
class _Choice:
    """The candidates of a question: their features (candidates, fields + 1), which are right, what it counts."""

    features: NDArray[np.float64]
    right: NDArray[np.bool_]
    importance: float


def learn(
    database: Database, settings: Settings, *, count: int = 1_500, seed: int = 0, progress: Progress | None = None
) -> Learned:
    """Fit the weights on the prompts of the models that are learned on.

    Args:
        count: prompts that are asked, at most, in rounds of their own seeds.

    Raises:
        NothingToAskError: there are no example prompts. EncoderError: a model of the settings cannot be used.
    """
    shown = progress or Silence()
    settings = tuned.in_use(database, settings)
    choices: list[_Choice] = []
    keys: set[str] = set()
    with database.read() as connection:
        adapters = _adapters_of(models_of(connection))
        for place, start in enumerate(range(0, count, _ROUND)):
            questions = choose(connection, min(_ROUND, count - start), seed=seed + place, part=Part.LEARNED)
            if not questions.queries:
                raise NothingToAskError("no adapter of the part that is learned on has example images with prompts")
            keys |= questions.held_out
            with tempfile.TemporaryDirectory(prefix="lora-manager-learning-") as folder:
                library = Library(connection, settings, questions, Path(folder), shown)
                choices += _choices(library, questions, adapters, shown)
    if not choices:
        raise NothingToAskError("no example prompt of the part that is learned on finds its adapter")
    fitted = _fit(choices)
    scale = fusion.SCALE / max(float(fitted[-1]), 1e-9)
    weights = {field: float(f"{weight * scale / _UNIT:.2g}") for field, weight in zip(_FIELDS, fitted, strict=False)}
    return Learned(weights, len(keys))


def _choices(
    library: Library, questions: Questions, adapters: Mapping[str, Sequence[int]], shown: Progress
) -> list[_Choice]:
    """Every question in both variants, with all that is known and with example prompts withheld."""
    served = prompt_weights()
    ways = ((1.0, _FIELDS, served), (_WITHHELD_IMPORTANCE, FACTS_ALONE, without_examples(served)))
    shown.start(len(Variant) * len(questions.queries), "questions")
    choices: list[_Choice] = []
    for variant in Variant:
        asked = library.ask([query.text(variant) for query in questions.queries])
        for query, each in zip(questions.queries, asked, strict=True):
            for importance, fields, spaces in ways:
                features, right = _candidates(library, each, adapters[query.model], fields, spaces)
                if right.any():
                    choices.append(_Choice(features, right, importance * _IMPORTANCE[variant]))
            shown.advance(1)
    return choices


def _adapters_of(models: Mapping[int, str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for number, model in models.items():
        found.setdefault(model, []).append(number)
    return found


def _candidates(
    library: Library, asked: Asked, right: Sequence[int], fields: Sequence[Field], spaces: Mapping[SpaceName, float]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The features of the best that a question finds so far, 0 in the fields that are not looked at; which are right.

    What is hopelessly behind competes with nobody, and where that is the right one, nothing can be learned from it.
    """
    import numpy as np

    similarities = library.similarities(asked.vectors, spaces)
    weights = {field: index.WEIGHTS[field] for field in fields}
    hits = library.words.search(asked.terms, 2 * POOL, weights=weights)
    candidates = sorted({*library.nearest(similarities, POOL), *(hit.number for hit in hits)})
    features = np.zeros((len(candidates), len(_FIELDS) + 1))
    for field in fields:
        scores = library.words.score(asked.terms, candidates, weights={field: 1.0})
        features[:, _FIELDS.index(field)] = [scores.get(number, 0.0) / _UNIT for number in candidates]
    near = [min(_NEAREST_SIMILARITY, library.similarity(similarities, number)) for number in candidates]
    features[:, -1] = -np.log1p(-np.array(near))
    so_far = np.array([*(_UNIT * index.WEIGHTS[field] for field in _FIELDS), fusion.SCALE])
    best = np.argsort(-(features @ so_far), kind="stable")[: 2 * POOL]
    return features[best], np.isin(np.array(candidates)[best], right)


def _fit(choices: Sequence[_Choice]) -> NDArray[np.float64]:
    import numpy as np
    from scipy.optimize import minimize

    width = choices[0].features.shape[1]
    total = sum(choice.importance for choice in choices)
    weights: NDArray[np.float64] = np.ones(width)
    for loss, penalty in zip((_unlikelihood, _missed), _PENALTIES, strict=True):

        def mean(
            weights: NDArray[np.float64], loss: _Loss = loss, penalty: float = penalty
        ) -> tuple[float, NDArray[np.float64]]:
            value, gradient = penalty * total * float(weights @ weights), 2 * penalty * total * weights
            for choice in choices:
                part, slope = loss(choice, weights)
                value += choice.importance * part
                gradient += choice.importance * slope
            return value / total, gradient / total

        found = minimize(
            mean, weights, jac=True, method="L-BFGS-B", bounds=[(0, None)] * width, options={"maxiter": _STEPS}
        )
        weights = found.x
    return weights


def _unlikelihood(choice: _Choice, weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """−log of the chance of the right model, with its gradient."""
    import numpy as np

    odds = choice.features @ weights
    chances = np.exp(odds - odds.max())
    chances /= chances.sum()
    hit = max(1e-12, float(chances[choice.right].sum()))
    pull = chances.copy()
    pull[choice.right] -= chances[choice.right] / hit
    return -math.log(hit), pull @ choice.features


def _missed(choice: _Choice, weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """How far the right model is from being among the first ten, 0..1, with its gradient."""
    import numpy as np

    odds = choice.features @ weights
    wrong = np.flatnonzero(~choice.right)
    if len(wrong) < DEPTH:
        return 0.0, np.zeros(len(weights))
    best = int(np.argmax(np.where(choice.right, odds, -np.inf)))
    tenth = int(wrong[np.argpartition(-odds[wrong], DEPTH - 1)[DEPTH - 1]])
    missed = 1 / (1 + math.exp(min(50.0, max(-50.0, float(odds[best] - odds[tenth])))))
    return missed, -missed * (1 - missed) * (choice.features[best] - choice.features[tenth])
