"""The correction of prompts' vectors: which vectors it is for, what it leaves alone, and that it finds more."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from warehouse.engine import Database
from warehouse.settings import MINILM, Settings
from warehouse.vectors import Recommender, prompt_map, texts
from warehouse.vectors.encoders import shared_encoder
from warehouse.vectors.encoders.protocol import EncoderIdentity
from warehouse.vectors.encoders.weights import find_model
from warehouse.vectors.prompt_map import PromptMap, for_prompts
from warehouse.vectors.spaces import SPACES, SpaceName

STOCK = EncoderIdentity(MINILM, find_model(MINILM, offline=True).digest, "onnxruntime", "fp32", "cpu", 384)
PROMPT = "masterpiece, best quality, 1girl, steam airship above clouds, brass"


def _unit(count: int) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
    vectors = np.random.default_rng(0).normal(size=(count, 384)).astype(np.float32)
    unit: np.ndarray[tuple[int, int], np.dtype[np.float32]] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def test_what_is_shipped_is_for_the_packaged_model_and_the_texts_of_this_version() -> None:
    shipped = prompt_map.read(prompt_map.SHIPPED)
    assert shipped.fits(STOCK)
    assert shipped.fits(replace(STOCK, precision="int8", backend="torch", device="cuda"))
    assert (shipped.down.shape[1], shipped.up.shape[0]) == (384, 384)
    assert prompt_map.SHIPPED.stat().st_size < 100_000


def test_corrected_vectors_are_unit_vectors_near_what_they_were() -> None:
    vectors = _unit(5)
    corrected = for_prompts(vectors, STOCK)
    assert corrected.dtype == np.float32
    assert np.allclose(np.linalg.norm(corrected, axis=1), 1, atol=1e-6)
    assert not np.allclose(corrected, vectors)
    assert (corrected * vectors).sum(axis=1).min() > 0.5


def test_vectors_of_another_model_and_of_other_texts_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = _unit(3)
    assert for_prompts(vectors, replace(STOCK, digest="0" * 64)) is vectors
    monkeypatch.setattr(texts, "VERSION", "another")
    assert for_prompts(vectors, STOCK) is vectors


def test_nothing_stays_nothing() -> None:
    still = PromptMap(np.zeros((2, 384), np.float32), np.zeros((384, 2), np.float32), "", "")
    assert np.allclose(still.corrected(_unit(4)), _unit(4), atol=1e-6)
    assert not still.corrected(np.zeros((1, 384), np.float32)).any()


def test_prompts_are_corrected_and_texts_of_adapters_are_not(filled: Database, settings: Settings) -> None:
    encoder = shared_encoder(settings, MINILM)
    plain = encoder.encode([PROMPT])
    recommender = Recommender(filled, settings)
    asked = recommender.encode(PROMPT)
    for space in SPACES:
        (vector,) = asked[space.name].values()
        assert np.allclose(vector, for_prompts(plain, encoder.identity)[0], atol=1e-6)
    (vector,) = recommender.encode({SpaceName.SEMANTIC: PROMPT})[SpaceName.SEMANTIC].values()
    assert np.allclose(vector, plain[0], atol=1e-6)


def test_the_file_is_part_of_the_package() -> None:
    assert prompt_map.SHIPPED.parent == Path(prompt_map.__file__).parent
    assert "*.safetensors" in (Path(__file__).parents[3] / "pyproject.toml").read_text()
