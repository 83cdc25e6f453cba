"""A small correction of the vectors of prompts, learned once, that comes with the package.

A sentence model compares texts of one kind: a prompt is a row of tags, the text of an adapter describes it, and what
both have in common is drowned by what all prompts share. The correction adds a map of low rank to the vector of a
prompt, so that it comes to lie near the adapters whose images such prompts make; the vectors of adapters stay as they
are. It belongs to one model: vectors of any other are left alone.

Belongs here: reading and applying it. Does not: learning it (`warehouse.tuning.prompt_map`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from warehouse.vectors import texts
from warehouse.vectors.encoders.protocol import EncoderIdentity

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SHIPPED: Final = Path(__file__).with_name("prompt_map.safetensors")
DOWN, UP = "down", "up"
"""Names of its tensors."""
MODEL_DIGEST, TEXTS = "model_digest", "texts"
"""Names in its metadata: what it was learned from."""


@dataclass(frozen=True, slots=True)
class PromptMap:
    """`down` (r, d) and `up` (d, r), float32, of the model of a digest, for texts of a version."""

    down: NDArray[np.float32]
    up: NDArray[np.float32]
    model_digest: str
    texts: str

    def fits(self, identity: EncoderIdentity) -> bool:
        """Whether it was learned from vectors of this model, at whatever precision, and from texts as they are now."""
        return (self.model_digest, self.texts) == (identity.digest, texts.VERSION)

    def corrected(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Unit vectors (n, d) as they are corrected, of unit length again."""
        import numpy as np

        moved = vectors + (vectors @ self.down.T) @ self.up.T
        lengths = np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-12)
        unit: NDArray[np.float32] = (moved / lengths).astype(np.float32, copy=False)
        return unit


def read(path: Path) -> PromptMap:
    """A correction from its file."""
    import numpy as np
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        said = file.metadata()
        down, up = (file.get_tensor(name).astype(np.float32) for name in (DOWN, UP))
    return PromptMap(down, up, said[MODEL_DIGEST], said[TEXTS])


@cache
def _shipped() -> PromptMap:
    return read(SHIPPED)


def for_prompts(vectors: NDArray[np.float32], identity: EncoderIdentity) -> NDArray[np.float32]:
    """What an encoder made of prompts, unit vectors float32 (n, d), corrected where the correction is for its model."""
    shipped = _shipped()
    return shipped.corrected(vectors) if shipped.fits(identity) else vectors
