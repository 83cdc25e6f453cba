"""A model that stands in for a fine-tuned one: MiniLM with the signs of half of its dimensions turned.

Its vectors say the same among themselves, and nothing beside those of MiniLM: whoever compares the two is found out.
"""

import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from warehouse.engine import Database
from warehouse.generations import Manifest, Published, publish
from warehouse.settings import MINILM, Settings
from warehouse.vectors.encoders.weights import MODEL_FOLDER, TUNED, find_model


def write(folder: Path, *, seed: int = 0) -> None:
    """Write the model into a folder."""
    shutil.copytree(find_model(MINILM, offline=True).path, folder)
    path = folder / "model.safetensors"
    weights = dict(load_file(path))
    signs = np.where(np.random.default_rng(seed).random(384) < 0.5, -1, 1).astype(np.float32)
    for part in ("weight", "bias"):
        name = f"encoder.layer.5.output.LayerNorm.{part}"
        weights[name] = weights[name] * signs
    path.unlink()
    save_file(weights, path)


def publish_turned(database: Database, settings: Settings, *, seed: int = 0) -> Published:
    """Publish it as the fine-tuned encoder."""

    def build(folder: Path) -> Manifest:
        write(folder / MODEL_FOLDER, seed=seed)
        model = find_model(str(folder / MODEL_FOLDER), offline=True)
        base = {"name": MINILM, "digest": find_model(MINILM, offline=True).digest}
        return {"base": base, "spaces": ["semantic", "artistic"], "model": model.digest}

    return publish(database, settings, TUNED, build)
