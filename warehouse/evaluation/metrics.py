"""How well queries were answered: recall, reciprocal rank, discounted gain, each with a bootstrap interval. Pure.

Every query has one model that is right, so nDCG is 1 / log2(1 + rank). The unit of the bootstrap is the model and not
the query: prompts of one model are found or missed together, and intervals over queries would be too narrow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEPTH = 10
"""Entries of an answer that nDCG looks at."""
_RESAMPLES = 1_000
_INTERVAL = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Measure:
    """A mean over queries, 0..1, with the bounds of its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


_NOTHING = Measure(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Figures:
    """How well one way to answer did."""

    queries: int
    recall_at_1: Measure
    recall_at_10: Measure
    mrr: Measure
    ndcg_at_10: Measure


def measure(ranks: Sequence[int | None], models: Sequence[str], *, seed: int = 0) -> Figures:
    """The figures of ranks (from 1; None: not found), with the model of each query; of none, all are 0."""
    import numpy as np

    if not ranks:
        return Figures(0, _NOTHING, _NOTHING, _NOTHING, _NOTHING)
    places = np.array([np.inf if rank is None else rank for rank in ranks], dtype=np.float64)
    gains: Mapping[str, NDArray[np.float64]] = {
        "recall_at_1": (places <= 1).astype(np.float64),
        "recall_at_10": (places <= DEPTH).astype(np.float64),
        "mrr": 1 / places,
        "ndcg_at_10": np.where(places <= DEPTH, 1 / np.log2(1 + places), 0.0),
    }
    draws = _draws(models, seed)
    return Figures(queries=len(places), **{name: _mean(values, draws) for name, values in gains.items()})


def mean_with_interval(values: NDArray[np.float64], models: Sequence[str], *, seed: int = 0) -> Measure:
    """The mean of one value per query, with its interval over the models of the queries."""
    return _mean(values, _draws(models, seed))


def _draws(models: Sequence[str], seed: int) -> NDArray[np.float64]:
    """How often each query counts in each resample, (resamples, queries)."""
    import numpy as np

    names, groups = np.unique(np.array(models, dtype=object).astype(str), return_inverse=True)
    generator = np.random.default_rng(seed)
    counts = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=_RESAMPLES)
    drawn: NDArray[np.float64] = counts[:, groups].astype(np.float64)
    return drawn


def _mean(values: NDArray[np.float64], draws: NDArray[np.float64]) -> Measure:
    import numpy as np

    means = (draws @ values) / np.maximum(1.0, draws.sum(axis=1))
    low, high = np.percentile(means, _INTERVAL)
    return Measure(float(values.mean()), float(low), float(high))
