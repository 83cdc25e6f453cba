"""How the vectors of an adapter stand in one row: the spaces side by side, [semantic | artistic | technical].

Weights are put on the question, not on the rows, so that any weighting is one inner product: Σ w·cos. Pure but for
numpy. Does not belong here: where rows come from (`stored`) and the index over them (`indices`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from warehouse.vectors.spaces import SpaceName

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Vectors: TypeAlias = "Mapping[SpaceName, NDArray[np.float32]]"
"""Unit vectors by space; a space that is not known is absent."""

Asked: TypeAlias = "Mapping[SpaceName, Mapping[str, NDArray[np.float32]]]"
"""The unit vectors of a question by space and producer: while vectors are made anew by another model, some of the
library's can be compared with those of the one model, and the rest with those of the other."""


@dataclass(frozen=True, slots=True)
class Part:
    """One space of a row: its place, and the producer whose vectors stand there; others cannot be compared."""

    space: SpaceName
    producer: str
    model_name: str
    offset: int
    dimension: int


@dataclass(frozen=True, slots=True)
class Layout:
    """The parts of a row, in order."""

    parts: tuple[Part, ...]

    @property
    def dimension(self) -> int:
        """Length of a row; at least 1, for an index of nothing has a dimension too."""
        return max(1, sum(part.dimension for part in self.parts))

    def part(self, space: SpaceName) -> Part | None:
        """The part of a space."""
        return next((part for part in self.parts if part.space == space), None)

    def comparable(self, asked: Asked) -> Vectors:
        """Of a question, the vectors that can be compared with what stands in a row."""
        found = ((part.space, asked.get(part.space, {}).get(part.producer)) for part in self.parts)
        return {space: vector for space, vector in found if vector is not None}

    def weighted(self, vectors: Vectors, weights: Mapping[SpaceName, float]) -> NDArray[np.float32]:
        """The row of a question: each unit vector times the share of its weight; float32, shape (dimension,)."""
        import numpy as np

        row = np.zeros(self.dimension, dtype=np.float32)
        total = sum(weights.values())
        for part in self.parts:
            if part.space in vectors and total > 0:
                share = weights.get(part.space, 0.0) / total
                row[part.offset : part.offset + part.dimension] = share * vectors[part.space]
        return row

    def as_manifest(self) -> list[dict[str, Any]]:
        """The parts as plain values."""
        return [{**asdict(part), "space": part.space.value} for part in self.parts]

    @classmethod
    def from_manifest(cls, parts: list[dict[str, Any]]) -> Layout:
        """The layout that `as_manifest` wrote."""
        return cls(tuple(Part(**{**part, "space": SpaceName(part["space"])}) for part in parts))


def combine(similarities: Mapping[SpaceName, float], weights: Mapping[SpaceName, float]) -> float:
    """Σ w·s / Σ w, where a space without a similarity counts as 0; 0 without any weight."""
    total = sum(weights.values())
    if total <= 0:
        return 0.0
    return sum(weight * similarities.get(space, 0.0) for space, weight in weights.items()) / total
