"""A real training of the real model, small enough for a test."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from warehouse.ingest.progress import Silence
from warehouse.settings import MINILM, Settings
from warehouse.tuning.examples import Example
from warehouse.tuning.training import Plan, batches, train
from warehouse.vectors.devices import Device
from warehouse.vectors.encoders import open_encoder
from warehouse.vectors.encoders.bert import read_config
from warehouse.vectors.encoders.weights import find_model

PLAN = Plan(epochs=12, batch=8, learning_rate=2e-4, max_tokens=8)
PROMPTS = ["amber", "basalt", "cobalt", "dune", "ember", "fjord", "garnet", "heath"]
TEXTS = ["violin", "kitchen", "algebra", "passport", "thunder", "ladder", "pepper", "senator"]
CPU = Device("cpu", "cpu")


def _examples() -> list[Example]:
    """Pairs of words that have nothing to do with each other."""
    return [Example(prompt, (prompt, prompt), (text, text)) for prompt, text in zip(PROMPTS, TEXTS, strict=True)]


def _found(settings: Settings, model: str, examples: list[Example]) -> float:
    """How many of the prompts are nearest to their own text."""
    encoder = open_encoder(settings, model)
    asked = encoder.encode([example.prompts[0] for example in examples])
    told = encoder.encode([example.texts[0] for example in examples])
    return float(np.mean(np.argmax(asked @ told.T, axis=1) == np.arange(len(examples))))


def test_what_belongs_together_is_near_afterwards(settings: Settings, tmp_path: Path) -> None:
    examples = _examples()
    base = find_model(MINILM, offline=True)
    trained = train(base, CPU, examples, PLAN, tmp_path / "model", Silence())
    assert trained.loss_after < 0.5 * trained.loss_before
    assert trained.steps == 12
    before, after = _found(settings, MINILM, examples), _found(settings, str(tmp_path / "model"), examples)
    assert before < 0.4
    assert after > 0.9
    # Read as far as before, by the fast encoder as well; nothing but the model was written.
    config, original = read_config(tmp_path / "model"), read_config(base.path)
    assert config is not None
    assert config == original
    assert not list((tmp_path / "model").glob("*.md"))


def test_training_ends_with_its_time(tmp_path: Path) -> None:
    base = find_model(MINILM, offline=True)
    plan = replace(PLAN, epochs=1e6, minutes=1e-9)
    with pytest.raises(TimeoutError, match="minutes"):
        train(base, CPU, _examples(), plan, tmp_path / "model", Silence())
    plan = replace(PLAN, epochs=1e6, minutes=0.02)
    assert 0 < train(base, CPU, _examples(), plan, tmp_path / "model", Silence()).steps < 1e6


def test_a_batch_has_one_prompt_of_a_model(tmp_path: Path) -> None:
    """A second one would be counted as wrong; and a model with most of the prompts ends no epoch early."""
    examples = _examples() + [Example("amber", ("x", "x"), ("y", "y"))] * 30
    generator = batches(examples, PLAN, seed=0)
    for _ in range(20):
        batch = next(generator)
        assert len({example.model for example in batch}) == len(batch)
        assert len(batch) <= 8
