"""Learning the trees that put candidates in order: from rows whose secret is known, and from a library."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.warehouse.tuning.conftest import MODELS
from warehouse.engine import Database
from warehouse.reranking import features, reranker
from warehouse.reranking.reranker import Reranker
from warehouse.reranking.trees import Trees
from warehouse.settings import Settings
from warehouse.tuning import reranker as learning
from warehouse.tuning.reranker import Choice, Plan

lightgbm = pytest.importorskip("lightgbm", reason="LightGBM needs libgomp, which is not installed", exc_type=OSError)

CANDIDATES = 30


def _choices(count: int, seed: int) -> list[Choice]:
    """Questions of which the right candidate has most of two numbers together, among much that says nothing."""
    dice = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        rows = dice.normal(size=(CANDIDATES, features.WIDTH)).astype(np.float32)
        right = np.zeros(CANDIDATES, dtype=np.bool_)
        right[int(np.argmax(rows[:, 3] + rows[:, 7]))] = True
        found.append(Choice(rows, right, 1.0))
    return found


def _first(trees: Trees, choices: list[Choice]) -> float:
    return float(np.mean([choice.right[np.argmax(trees.scores(choice.rows))] for choice in choices]))


def test_what_tells_the_right_one_is_learned_and_found_in_questions_not_seen() -> None:
    trees = learning.fit(_choices(300, 0), Plan(trees=60, rate=0.1, fewest_rows=20))
    assert _first(trees, _choices(100, 1)) > 0.6


def test_trees_are_asked_as_they_were_learned() -> None:
    dice = np.random.default_rng(2)
    rows: NDArray[np.float32] = dice.normal(size=(500, 6)).astype(np.float32)
    lesson = lightgbm.Dataset(rows, np.sin(3 * rows[:, 0]) + rows[:, 1] * rows[:, 2])
    booster = lightgbm.train({"objective": "regression", "num_leaves": 16, "verbose": -1, "seed": 0}, lesson, 40)
    trees = learning.trees_of(booster)
    unseen: NDArray[np.float32] = dice.normal(size=(200, 6)).astype(np.float32)
    assert np.allclose(trees.scores(unseen), booster.predict(unseen, raw_score=True), atol=1e-4)


def test_relevance_is_spread_like_similarity_and_words_together() -> None:
    dice = np.random.default_rng(3)
    choices = _choices(50, 3)
    for choice in choices:
        choice.rows[:, 0] = dice.exponential(0.5, CANDIDATES)
    trees = learning.fit(choices, Plan(trees=20, fewest_rows=20))
    learned = Reranker(trees, *learning.scale_of(trees, choices), "", "")
    assert (np.diff(learned.sums) > 0).all()
    assert (np.diff(learned.evidence) > 0).all()
    sums = np.concatenate([trees.scores(choice.rows) for choice in choices]).astype(np.float64)
    evidence = np.concatenate([choice.rows[:, 0] for choice in choices])
    for share in (0.5, 0.9, 0.99):
        assert np.quantile(learned._evidence(sums), share) == pytest.approx(np.quantile(evidence, share), rel=0.05)
    # What differs stays different, wherever it lies.
    far = learned._evidence(np.array([-50.0, -20.0, sums.min(), sums.max(), 20.0, 50.0]))
    assert (np.diff(far) > 0).all()
    assert far[0] >= 0


def test_they_are_learned_from_a_library_written_and_read_again(
    library: Database, settings: Settings, tmp_path: Path
) -> None:
    learned = learning.learn_from(library, settings, Plan(trees=3, fewest_rows=2, rounds=1, questions=MODELS))
    assert learned.made_of == reranker.made_of()
    learning.write(learned, tmp_path / "reranker.safetensors")
    again = reranker.read(tmp_path / "reranker.safetensors")
    rows = np.random.default_rng(0).normal(size=(20, features.WIDTH)).astype(np.float32)
    assert again.trees.scores(rows).tolist() == learned.trees.scores(rows).tolist()
    assert (again.sums.tolist(), again.evidence.tolist()) == (learned.sums.tolist(), learned.evidence.tolist())
    assert again.model_digest == learned.model_digest


def test_a_library_without_example_prompts_teaches_nothing(sqlite_database: Database, settings: Settings) -> None:
    with pytest.raises(LookupError, match="no adapter of the part that is learned on"):
        learning.learn_from(sqlite_database, settings)
