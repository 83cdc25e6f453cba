"""Learning the trees that put candidates for a prompt in order (`warehouse.reranking`), which come with the package.

`python -m warehouse.tuning.reranker --data DIR` learns them from the part of a library that is learned on, in some six
minutes, and writes them where the package reads them; it needs LightGBM (`pip install 'lora-manager-backend[dev]'`).
Belongs here: the learning (LambdaMART: Burges, 2010). Does not: asking them.

What prompts are corrected by was learned from the same models, and would look better than it is on any other. So every
question is asked with a correction that was learned without its model.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from warehouse.engine import Database
from warehouse.evaluation.questions import Part, Query, Variant, choose, scattered
from warehouse.evaluation.rankers import FACTS_ALONE, Asked, Library, without_examples
from warehouse.ingest.progress import Progress, Silence
from warehouse.lexical import index
from warehouse.lexical.tokens import Field
from warehouse.reranking import features, reranker
from warehouse.reranking.reranker import Reranker
from warehouse.reranking.trees import LEAVES, Trees
from warehouse.settings import Settings
from warehouse.tuning import prompt_map as prompt_maps
from warehouse.tuning.commands import learn_and_write
from warehouse.vectors.encoders import Encoder, shared_encoder
from warehouse.vectors.prompt_map import PromptMap
from warehouse.vectors.spaces import SpaceName, prompt_weights, space_of

if TYPE_CHECKING:
    import lightgbm
    import numpy as np
    from numpy.typing import NDArray

_FOLDS = 4
_IMPORTANCE: Mapping[Variant, float] = {Variant.WRITTEN: 1.0, Variant.WITHOUT_TRIGGERS: 2.0}
_WITHHELD_IMPORTANCE = 0.5
"""What a question counts, beside that, where example prompts are withheld."""
_BINS, _DEEP = 63, 20
_KNOTS = (0.0, 0.25, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.92, 0.94, 0.96, 0.97, 0.98, 0.985, 0.99, 0.995, 0.999)
"""Quantiles at which the scale is told; what people see is the best tenth of the candidates."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How trees are learned: LightGBM's `lambdarank` with these. Found by cross-validation over models."""

    trees: int = 300
    leaves: int = LEAVES
    rate: float = 0.05
    ridge: float = 5.0
    fewest_rows: int = 40
    share: float = 0.6
    """Of the questions and of the numbers in a row, so much is looked at by each tree."""
    seed: int = 0
    rounds: int = 6
    questions: int = 500
    """Questions of a round, which are held out at once: with more, too few of the example prompts would be left."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The candidates for a question: their rows (candidates, features.WIDTH), which are right, what it counts."""

    rows: NDArray[np.float32]
    right: NDArray[np.bool_]
    importance: float


@dataclass(frozen=True, slots=True)
class _Way:
    """What is asked of a library, and what its questions count."""

    fields: Mapping[Field, float]
    spaces: Mapping[SpaceName, float]
    importance: float


def learn_from(
    database: Database, settings: Settings, plan: Plan | None = None, progress: Progress | None = None
) -> Reranker:
    """Learn from the part of a library that is learned on.

    Raises:
        LookupError: it has no example prompts. EncoderError: the model cannot be used.
    """
    chosen = plan or Plan()
    encoder = shared_encoder(settings, space_of(SpaceName.SEMANTIC).model_name(settings))
    with database.read() as connection:
        maps = _maps_of_others(connection, encoder)
        choices = list(_choices(connection, settings, maps, chosen, progress or Silence()))
    trees = fit(choices, chosen)
    return Reranker(trees, *scale_of(trees, choices), encoder.identity.digest, reranker.made_of())


def _fold(model: str) -> int:
    return scattered(f"fold:{model}") % _FOLDS


def _maps_of_others(connection: Connection, encoder: Encoder) -> list[PromptMap]:
    """For each fold of the models, the correction of prompts as it is learned from the others."""
    import numpy as np

    found = prompt_maps.all_examples(connection)
    lesson = prompt_maps.lesson_of(found, encoder)
    folds = np.array([_fold(example.model) for example in found])
    return [prompt_maps.map_of(lesson.some(folds != fold), encoder.identity) for fold in range(_FOLDS)]


def _choices(
    connection: Connection, settings: Settings, maps: Sequence[PromptMap], plan: Plan, shown: Progress
) -> Iterator[Choice]:
    served = prompt_weights()
    known = _Way(index.WEIGHTS, served, 1.0)
    withheld = replace(known, importance=_WITHHELD_IMPORTANCE)
    # As `lora-manager evaluate` withholds example prompts: without making the vectors of all adapters anew.
    facts = {field: index.WEIGHTS[field] for field in FACTS_ALONE}
    left_out = _Way(facts, without_examples(served), _WITHHELD_IMPORTANCE)
    for seed in range(plan.rounds):
        questions = choose(connection, plan.questions, seed=seed, part=Part.LEARNED)
        for without, ways in ((False, (known, left_out)), (True, (withheld,))):
            with tempfile.TemporaryDirectory(prefix="lora-manager-learning-") as folder:
                library = Library(connection, settings, questions, Path(folder), shown, withheld=without)
                for variant in Variant:
                    asked = library.ask([query.text(variant) for query in questions.queries])
                    for query, each in zip(questions.queries, asked, strict=True):
                        corrected = _corrected(each, maps[_fold(query.model)])
                        for way in ways:
                            yield _choice(library, query, corrected, way, way.importance * _IMPORTANCE[variant])


def _corrected(asked: Asked, other: PromptMap) -> Asked:
    return replace(asked, vectors={space: other.corrected(vector[None])[0] for space, vector in asked.plain.items()})


def _choice(library: Library, query: Query, asked: Asked, way: _Way, importance: float) -> Choice:
    import numpy as np

    candidates = list(library.candidates(asked, way.fields, way.spaces).values())
    rows = features.matrix(candidates, words=len(asked.terms["words"]), adapters=library.words.count)
    return Choice(rows, np.array([each.model == query.model for each in candidates]), importance)


def fit(choices: Sequence[Choice], plan: Plan) -> Trees:
    """Trees that put what is right before what is not; questions whose right model was not found teach nothing."""
    import lightgbm
    import numpy as np

    telling = [choice for choice in choices if choice.right.any()]
    lesson = lightgbm.Dataset(
        np.concatenate([choice.rows for choice in telling]),
        np.concatenate([choice.right for choice in telling]).astype(np.int32),
        group=[len(choice.right) for choice in telling],
        weight=np.concatenate([np.full(len(choice.right), choice.importance) for choice in telling]),
        params={"max_bin": _BINS, "verbose": -1},
    )
    options: dict[str, Any] = {
        "objective": "lambdarank",
        "lambdarank_truncation_level": _DEEP,
        "num_leaves": plan.leaves,
        "learning_rate": plan.rate,
        "lambda_l2": plan.ridge,
        "min_data_in_leaf": plan.fewest_rows,
        "feature_fraction": plan.share,
        "bagging_fraction": plan.share,
        "bagging_freq": 1,
        "seed": plan.seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
    }
    return trees_of(lightgbm.train(options, lesson, plan.trees))


def trees_of(booster: lightgbm.Booster) -> Trees:
    """The trees of LightGBM as they are asked."""
    import numpy as np

    roots = [info["tree_structure"] for info in booster.dump_model()["tree_info"]]
    shape = (LEAVES - 1, len(roots))
    features_of = np.zeros(shape, dtype=np.uint8)
    thresholds = np.full(shape, np.inf, dtype=np.float32)
    kept = np.full(shape, 0xFFFF, dtype=np.uint16)
    values = np.zeros((len(roots), LEAVES), dtype=np.float32)
    for tree, root in enumerate(roots):
        leaves, nodes = _walk(root)
        values[tree, : len(leaves)] = leaves
        for place, node in enumerate(nodes):
            features_of[place, tree] = node.feature
            thresholds[place, tree] = node.threshold
            kept[place, tree] = 0xFFFF & ~node.left
    return Trees(features_of, thresholds, kept, values)


@dataclass(frozen=True, slots=True)
class _Node:
    """A node, with the leaves of its left side as bits."""

    feature: int
    threshold: float
    left: int


def _walk(root: dict[str, Any]) -> tuple[list[float], list[_Node]]:
    """The values of the leaves of a tree, from the left, and its nodes."""
    leaves: list[float] = []
    nodes: list[_Node] = []

    def visit(node: dict[str, Any]) -> None:
        if "leaf_value" in node:
            leaves.append(node["leaf_value"])
            return
        first = len(leaves)
        visit(node["left_child"])
        left = (1 << len(leaves)) - (1 << first)
        nodes.append(_Node(node["split_feature"], node["threshold"], left))
        visit(node["right_child"])

    visit(root)
    return leaves, nodes


def scale_of(trees: Trees, choices: Sequence[Choice]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Quantiles of the sums of trees, and of similarity and words together, over all candidates (`Reranker`)."""
    import numpy as np

    sums = np.quantile(np.concatenate([trees.scores(choice.rows) for choice in choices]), _KNOTS)
    evidence = np.quantile(np.concatenate([choice.rows[:, features.COMBINED] for choice in choices]), _KNOTS)
    rising = np.flatnonzero(np.diff(sums, prepend=-np.inf) * np.diff(evidence, prepend=-np.inf) > 0)
    return sums[rising].astype(np.float32), evidence[rising].astype(np.float32)


def write(learned: Reranker, path: Path) -> None:
    """Write a reranker."""
    from safetensors.numpy import save_file

    tensors = {name: getattr(learned.trees, name) for name in Trees.__dataclass_fields__}
    tensors |= {reranker.SUMS: learned.sums, reranker.EVIDENCE: learned.evidence}
    save_file(tensors, path, {reranker.MODEL_DIGEST: learned.model_digest, reranker.MADE_OF: learned.made_of})


def main() -> None:
    """Learn and write."""
    learn_and_write("warehouse.tuning.reranker", __doc__, reranker.SHIPPED, learn_from, write)


if __name__ == "__main__":
    main()
