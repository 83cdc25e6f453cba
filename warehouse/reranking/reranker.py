"""The trees that come with the package, and what they make of candidates.

They were learned with one model of sentences and one form of the word index, on half of the models of real documents
(`warehouse.tuning.reranker`), and are asked where these are in use, or a model that was tuned from that one, which they
serve as well; anywhere else candidates keep their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from warehouse.lexical import index, tokens
from warehouse.reranking import features
from warehouse.reranking.features import Candidate
from warehouse.reranking.trees import Trees
from warehouse.settings import Settings
from warehouse.vectors import texts
from warehouse.vectors.encoders import model_origin
from warehouse.vectors.spaces import SPACES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SHIPPED: Final = Path(__file__).with_name("reranker.safetensors")
FEW = 100
"""In a library of fewer adapters, words are too rarely rare for what was learned in a large one."""
NEAR, FOUND = 24, 100
"""Candidates for a prompt, where they are put in order: the nearest by vectors, the best by words."""
SUMS, EVIDENCE = "sums", "evidence"
"""Names of the tensors of its scale, beside those of its trees."""
MODEL_DIGEST, MADE_OF = "model_digest", "made_of"
"""Names in the metadata of its file."""


def made_of() -> str:
    """What trees are learned from now: the forms of texts, terms and rows of numbers, and what fields are worth."""
    weights = ", ".join(f"{field} {weight:g}" for field, weight in index.WEIGHTS.items())
    return f"features {features.VERSION}, texts {texts.VERSION}, tokens {tokens.VERSION} ({weights})"


@dataclass(frozen=True, slots=True)
class Reranker:
    """Trees, and the scale of what they say: relevance = 1 − exp(−evidence).

    `evidence` (knots,) belongs to `sums` (knots,) of the trees, both ascending, float32: as much as similarity and
    words are worth together where candidates are equally far ahead of others. So people see the scores that they are
    used to; only the order is another.
    """

    trees: Trees
    sums: NDArray[np.float32]
    evidence: NDArray[np.float32]
    model_digest: str
    made_of: str

    def relevances(self, candidates: Sequence[Candidate], *, words: int, adapters: int) -> list[float]:
        """How well each candidate fits the prompt, 0..1, in their order (`features.matrix`).

        Trees compare candidates with the best one. Where even that has little, as for a prompt that says nothing, all
        of them are worth no more than what it has.
        """
        import numpy as np

        if not candidates:
            return []
        rows = features.matrix(candidates, words=words, adapters=adapters)
        evidence = self._evidence(self.trees.scores(rows).astype(np.float64))
        most = float(rows[:, features.COMBINED].max())
        found: list[float] = (-np.expm1(-evidence * min(1.0, most / evidence.max()))).tolist()
        return found

    def _evidence(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """On the scale; beyond its ends it goes on, so that what differs stays different."""
        import numpy as np

        beyond = (self.evidence[-1] - self.evidence[-2]) / (self.sums[-1] - self.sums[-2])
        between = np.interp(sums, self.sums, self.evidence)
        above, below = np.maximum(0.0, sums - self.sums[-1]), np.maximum(0.0, self.sums[0] - sums)
        evidence: NDArray[np.float64] = (between + beyond * above) * np.exp(-below)
        return evidence


def read(path: Path) -> Reranker:
    """A reranker from its file."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        said = file.metadata()
        trees = Trees(*(file.get_tensor(name) for name in Trees.__dataclass_fields__))
        sums, evidence = file.get_tensor(SUMS), file.get_tensor(EVIDENCE)
    return Reranker(trees, sums, evidence, said[MODEL_DIGEST], said[MADE_OF])


def serving(settings: Settings) -> Reranker | None:
    """The reranker of prompts that are compared in the models of these settings; None where one of them is neither the
    model that it was learned with nor tuned from that.

    Raises:
        EncoderError: a model is not there.
    """
    found = shipped()
    if found is None or not settings.rerank:
        return None
    models = {space.model_name(settings) for space in SPACES}
    return found if all(model_origin(settings, model) == found.model_digest for model in models) else None


@cache
def shipped() -> Reranker | None:
    """The one that comes with the package; None where it was learned from other forms of texts and terms."""
    found = read(SHIPPED)
    return found if found.made_of == made_of() else None
