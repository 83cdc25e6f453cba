"""Recall of an index: how much of what an exact search finds a question gets, at several weightings.

A hit is a result that scores at least the exact tenth minus 1e-4: many technical texts are equal, and which of equal
adapters is named is no matter. Measured as questions are answered: more candidates than asked for, scored exactly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from warehouse.vectors.layout import Layout
from warehouse.vectors.stored import assemble, vectors_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WEIGHTINGS = ((1.0, 1.0, 1.0), (0.6, 0.3, 0.1), (1.0, 0.0, 0.0))
"""Weights of (semantic, artistic, technical)."""
TOP = 10
TOLERANCE = 1e-4
OVERFETCH = 4
"""Candidates taken from the index per result wanted."""


class RecallMeter:
    """Takes the rows of a library as they pass, then asks an index for the same.

    `queries` are rows of the library, float32 (q, layout.dimension). Memory is that of the questions alone.
    """

    def __init__(self, layout: Layout, queries: NDArray[np.float32]) -> None:
        import numpy as np

        self._layout = layout
        self._questions = np.concatenate([queries * self._scale(weights) for weights in WEIGHTINGS])
        self._best = np.full((len(self._questions), TOP), -np.inf, dtype=np.float32)

    def _scale(self, weights: tuple[float, float, float]) -> NDArray[np.float32]:
        import numpy as np

        named = dict(zip(("semantic", "artistic", "technical"), weights, strict=True))
        scale = np.zeros(self._layout.dimension, dtype=np.float32)
        for part in self._layout.parts:
            scale[part.offset : part.offset + part.dimension] = named[part.space.value] / sum(weights)
        return scale

    def see(self, rows: NDArray[np.float32]) -> None:
        """Keep the best exact scores so far."""
        import numpy as np

        scores = np.concatenate([self._best, self._questions @ rows.T], axis=1)
        self._best = -np.partition(-scores, TOP - 1, axis=1)[:, :TOP]

    def measure(self, connection: Connection, index: Any, nprobe: int) -> dict[str, float]:
        """Recall@10 by weighting (`1/1/1`, …) of an index over the rows that were seen; empty without questions."""
        import numpy as np

        if not len(self._questions):
            return {}
        _, found = index.search(self._questions, OVERFETCH * TOP, params=search_parameters(nprobe))
        numbers, rows = assemble(vectors_of(connection, np.unique(found[found >= 0]).tolist()), self._layout)
        hits = np.empty(len(self._questions))
        for position, (question, best) in enumerate(zip(self._questions, self._best, strict=True)):
            candidates = rows[np.searchsorted(numbers, found[position][found[position] >= 0])]
            wanted = best[np.isfinite(best)]
            good = int((candidates @ question >= wanted.min() - TOLERANCE).sum())
            hits[position] = min(good, len(wanted)) / len(wanted)
        means = hits.reshape(len(WEIGHTINGS), -1).mean(axis=1)
        names = ["/".join(f"{weight:g}" for weight in weights) for weights in WEIGHTINGS]
        return {name: round(float(mean), 4) for name, mean in zip(names, means, strict=True)}


def search_parameters(nprobe: int, only: Any = None) -> Any:
    """FAISS's parameters of one search: lists probed (0: there are none), and a selector of numbers, or None.

    None stands for its defaults. The caller keeps the selector until the search is over.
    """
    import faiss

    if not nprobe and only is None:
        return None
    parameters: Any = faiss.SearchParametersIVF() if nprobe else faiss.SearchParameters()
    if nprobe:
        parameters.nprobe = nprobe
    if only is not None:
        parameters.sel = only
    return parameters
