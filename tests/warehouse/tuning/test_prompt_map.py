"""Learning the correction of prompts' vectors: from vectors whose relation is known, and from a library."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from warehouse.engine import Database
from warehouse.settings import Settings
from warehouse.tuning import prompt_map as learning
from warehouse.tuning.prompt_map import Lesson, Plan
from warehouse.vectors import prompt_map, texts
from warehouse.vectors.prompt_map import PromptMap

DIMENSION = 32


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def _lesson(count: int, seed: int) -> Lesson:
    """Prompts that lie where their texts do, but for something large that all prompts share in two directions."""
    dice = np.random.default_rng(seed)
    shared = np.linalg.qr(np.random.default_rng(99).normal(size=(DIMENSION, 2)))[0].T
    answers = dice.normal(size=(count, DIMENSION))
    said = 2 * answers + dice.normal(size=(2, count, DIMENSION)) * 0.3
    said += (dice.normal(size=(2, count, 2)) * 25) @ shared
    return Lesson(_unit(said), np.stack([_unit(answers)] * 2), np.arange(count))


def _found(lesson: Lesson, correction: PromptMap | None) -> float:
    prompts = lesson.asked[0] if correction is None else correction.corrected(lesson.asked[0])
    return float(np.mean(np.argmax(prompts @ lesson.answers[0].T, axis=1) == np.arange(len(prompts))))


def test_what_all_prompts_share_is_unlearned_and_prompts_not_seen_are_found() -> None:
    down, up = learning.learn(_lesson(400, 0), Plan(rank=4, steps=150, batch=128))
    assert (down.shape, up.shape) == ((4, DIMENSION), (DIMENSION, 4))
    unseen = _lesson(200, 1)
    assert _found(unseen, None) < 0.5
    assert _found(unseen, PromptMap(down, up, "", "")) > 0.9


def test_half_of_what_all_answers_share_is_left_as_it_was() -> None:
    answers = _unit(np.random.default_rng(0).normal(size=(2, 50, DIMENSION)) + 1.0)
    common = answers.mean(axis=(0, 1))
    common /= np.linalg.norm(common)
    up = np.random.default_rng(1).normal(size=(DIMENSION, 4)).astype(np.float32)
    kept = learning.with_common_part(up, answers)
    assert np.allclose(common @ kept, 0.5 * (common @ up), atol=1e-5)
    across = np.eye(DIMENSION) - np.outer(common, common)
    assert np.allclose(across @ kept, across @ up, atol=1e-5)


def test_adapters_of_one_model_are_not_told_apart() -> None:
    lesson = _lesson(64, 0)
    of_one = Lesson(lesson.asked, lesson.answers, np.zeros(64, dtype=np.int64))
    down, up = learning.learn(of_one, Plan(rank=4, steps=20, batch=64))
    # There is nothing to learn but to stay small.
    assert np.abs(up @ down).max() < 0.05


def test_it_is_learned_from_a_library_written_and_read_again(
    library: Database, settings: Settings, tmp_path: Path
) -> None:
    learned = learning.learn_from(library, settings, Plan(steps=3))
    assert (learned.down.shape, learned.texts) == ((32, 384), texts.VERSION)
    learning.write(learned, tmp_path / "map.safetensors")
    again = prompt_map.read(tmp_path / "map.safetensors")
    assert np.allclose(again.down, learned.down, atol=1e-3)
    assert np.allclose(again.up, learned.up, atol=1e-3)
    assert (again.model_digest, again.texts) == (learned.model_digest, learned.texts)
