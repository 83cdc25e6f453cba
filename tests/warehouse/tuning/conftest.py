"""A library whose authors write in words that no model knows: what a tuning can learn."""

from pathlib import Path

import pytest

from tests.warehouse.lexical.library import add
from warehouse.engine import Database
from warehouse.settings import Settings
from warehouse.vectors.spaces import SPACES
from warehouse.vectors.work import compute_embeddings

MODELS = 24
SCENES = ("a harbour at dusk", "an old temple in the rain", "a crowded arcade", "a glacier from above")


@pytest.fixture
def settings(settings: Settings, models_dir: Path) -> Settings:
    settings.data_dir.mkdir()
    # A folder of its own: graphs of models that are tuned here come and go.
    settings.models_dir.mkdir()
    for graph in models_dir.iterdir():
        (settings.models_dir / graph.name).symlink_to(graph)
    return settings


@pytest.fixture
def library(sqlite_database: Database, settings: Settings) -> Database:
    """Models in one version each; their prompts differ in the scene, and have the author's own word."""
    for number in range(MODELS):
        add(
            sqlite_database,
            number,
            f"Style {number}",
            *(f"qz{number}ori, {scene}, wide shot" for scene in SCENES),
            trained_words=[f"qz{number}ori"],
            tags=["style"],
            civitai_model_id=number,
        )
    for space in SPACES:
        compute_embeddings(sqlite_database, settings, space.name)
    return sqlite_database
