"""Regression trees over rows of numbers, asked all at once (QuickScorer, Lucchese et al., SIGIR 2015). Pure.

Each leaf of a tree is a bit. A node whose number is above its threshold clears the bits of its left side, whichever of
the others are on the way to it; the lowest bit that is left is the leaf. So no tree is walked, and a hundred rows cost
a millisecond.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEAVES = 16
"""Leaves of a tree, at most: as many bits as an unsigned number of 16 has."""


@dataclass(frozen=True, slots=True)
class Trees:
    """`features` uint8, `thresholds` float32 and `kept` uint16, all (nodes, trees); `values` float32 (trees, leaves).

    `kept` are the leaves that can still be reached where the number is above the threshold. Trees with fewer nodes
    have such as keep all.
    """

    features: NDArray[np.uint8]
    thresholds: NDArray[np.float32]
    kept: NDArray[np.uint16]
    values: NDArray[np.float32]

    def scores(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """The sums over all trees for rows (n, width), float32 (n,)."""
        import numpy as np

        columns = np.ascontiguousarray(rows.T)
        left = np.full((self.values.shape[0], rows.shape[0]), 0xFFFF, dtype=np.uint16)
        for features, thresholds, gone in zip(self.features, self.thresholds, ~self.kept, strict=True):
            above = columns[features] > thresholds[:, None]
            left &= ~(above * gone[:, None])
        leaves = _lowest_bits()[left]
        found: NDArray[np.float32] = np.take_along_axis(self.values, leaves, axis=1).sum(axis=0, dtype=np.float32)
        return found


@cache
def _lowest_bits() -> NDArray[np.intp]:
    """The place of the lowest bit of every number of 16 bits, (65536,)."""
    import numpy as np

    numbers = np.arange(1 << LEAVES, dtype=np.int64)
    lowest = np.zeros(len(numbers), dtype=np.intp)
    lowest[1:] = np.log2((numbers & -numbers)[1:]).astype(np.intp)
    return lowest
