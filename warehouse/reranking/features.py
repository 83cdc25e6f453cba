"""What the trees look at: each candidate for a prompt as a row of numbers. Pure; versioned.

Every piece of evidence is there twice: as it is, and as what it lacks to the best candidate, for a prompt of three
words gives less of everything. Scores of BM25 grow with the logarithm of a library's size, and are divided by it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from warehouse.lexical import fusion, index
from warehouse.lexical.index import FieldScores
from warehouse.vectors.spaces import SPACES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VERSION = "1"
"""Changed whenever the same candidates would give other rows."""
NOTHING_IN_WORDS: FieldScores = (0.0,) * len(index.WEIGHTS)
_EVIDENCE = 1 + len(index.WEIGHTS) + len(SPACES)
WIDTH = 2 * _EVIDENCE + 3
"""Numbers in a row."""
COMBINED = 0
"""Where in a row −log of what similarity and words together lack to 1 stands."""
_NEAREST = 1 - 1e-6


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is known of an adapter that was found for a prompt.

    `similarities` are those of the spaces in the order of `SPACES`, `similarity` is their weighted mean, all 0..1.
    `score` is that of the word index, and `by_field` what its fields say (`LexicalIndex.scores_by_field`); `prompts` is
    how many example prompts it has. `author` and `model` (`model_key`) are compared with those of others alone.
    """

    similarity: float
    similarities: tuple[float, ...]
    score: float
    by_field: FieldScores
    prompts: int
    author: str | None
    model: str


def model_key(number: int, model: int | None) -> str:
    """Which model an adapter is a version of; one that Civitai does not know is a model by itself."""
    return f"adapter:{number}" if model is None else f"model:{model}"


def matrix(candidates: Sequence[Candidate], *, words: int, adapters: int) -> NDArray[np.float32]:
    """The rows of all candidates for a prompt, float32 (candidates, `WIDTH`).

    Args:
        words: different words of the prompt.
        adapters: how many the library has.
    """
    import numpy as np

    count = len(candidates)
    unit = 1 / math.log1p(max(1, adapters))
    combined = np.array([_combined(each) for each in candidates], dtype=np.float32)
    evidence = np.empty((count, _EVIDENCE), dtype=np.float32)
    evidence[:, COMBINED] = combined
    evidence[:, 1 : 1 + len(index.WEIGHTS)] = [each.by_field for each in candidates]
    evidence[:, 1 : 1 + len(index.WEIGHTS)] *= unit
    evidence[:, 1 + len(index.WEIGHTS) :] = [each.similarities for each in candidates]
    rows = np.empty((count, WIDTH), dtype=np.float32)
    rows[:, :_EVIDENCE] = evidence
    rows[:, _EVIDENCE : 2 * _EVIDENCE] = evidence - evidence.max(axis=0)
    rows[:, -3] = _others_of_the_author(candidates, combined.tolist())
    rows[:, -2] = np.log1p([each.prompts for each in candidates])
    rows[:, -1] = words
    return rows


def _combined(candidate: Candidate) -> float:
    """−log of what similarity and words together lack to 1."""
    combined = fusion.combined(candidate.similarity, fusion.evidence(candidate.score))
    return -math.log1p(-min(_NEAREST, combined))


def _others_of_the_author(candidates: Sequence[Candidate], combined: Sequence[float]) -> list[float]:
    """The best evidence for another model of each candidate's author; 0 where there is none among the candidates."""
    by_author: dict[str, dict[str, float]] = {}
    for candidate, evidence in zip(candidates, combined, strict=True):
        if candidate.author is not None:
            models = by_author.setdefault(candidate.author, {})
            models[candidate.model] = max(evidence, models.get(candidate.model, 0.0))
    return [
        max(
            (evidence for model, evidence in by_author.get(each.author or "", {}).items() if model != each.model),
            default=0.0,
        )
        for each in candidates
    ]
