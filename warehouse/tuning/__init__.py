"""Fine-tuning the encoder of prompts on the library itself, and publishing it where it wins.

`examples` makes the pairs that are learned from, `training` trains on them, `comparing` measures on models that were
never learned from, `publishing` puts it together. Split by model, never by prompt. Does not belong here: which encoder
is in use (`warehouse.vectors.tuned`) and how adapters are embedded by it (`warehouse.vectors.work`).
"""

from warehouse.tuning.comparing import Comparison
from warehouse.tuning.publishing import NothingToLearnError, Outcome, tune
from warehouse.tuning.training import Plan

__all__ = ["Comparison", "NothingToLearnError", "Outcome", "Plan", "tune"]
