"""A whole evaluation of a small library with the real model: what is held out is not found by itself."""

from pathlib import Path

import pytest

from tests.warehouse.lexical.library import add
from warehouse.engine import Database
from warehouse.evaluation.evaluating import NothingToAskError, evaluate, rank_of
from warehouse.evaluation.learning import learn
from warehouse.evaluation.questions import Part, Query, Variant
from warehouse.evaluation.rankers import OURS, WITHHELD
from warehouse.lexical.publishing import publish_words
from warehouse.settings import Settings
from warehouse.vectors.spaces import SPACES
from warehouse.vectors.work import compute_embeddings

PLACES = ["harbour", "desert", "glacier", "subway", "orchard", "temple", "arcade", "lighthouse", "quarry", "ballroom"]


@pytest.fixture
def settings(settings: Settings, models_dir: Path) -> Settings:
    settings.data_dir.mkdir()
    settings.models_dir.symlink_to(models_dir)
    return settings


@pytest.fixture
def library(sqlite_database: Database, settings: Settings) -> Database:
    """Ten models in two versions, whose prompts share a turn of phrase, and ten adapters that have none."""
    for number, place in enumerate(PLACES):
        for version in ("v1", "v2"):
            add(
                sqlite_database,
                2 * number + (version == "v2"),
                f"Style{number}",
                f"zq{number}style, a {place} at dusk, wide shot {version}",
                f"zq{number}style, an old {place} in the rain {version}",
                version=version,
                trained_words=[f"zq{number}style"],
                civitai_model_id=number,
            )
        add(sqlite_database, 100 + number, f"Silent{number}")
    for space in SPACES:
        compute_embeddings(sqlite_database, settings, space.name)
    return sqlite_database


def test_a_library_is_asked_its_own_prompts(library: Database, settings: Settings) -> None:
    report = evaluate(library, settings, count=12, part=Part.ALL)
    assert (report.adapters, report.queries, report.possible) == (30, 12, 40)
    assert set(report.figures[OURS]) == set(Variant)
    assert report.figures[OURS][Variant.WRITTEN].recall_at_10.value == 1.0
    # Nothing but the trigger word leads to an adapter whose prompts are withheld.
    withheld = report.figures[WITHHELD]
    assert withheld[Variant.WITHOUT_TRIGGERS].recall_at_1.value < withheld[Variant.WRITTEN].recall_at_1.value
    for variants in report.figures.values():
        assert all(0 <= figures.mrr.low <= figures.mrr.high <= 1 for figures in variants.values())


def test_what_is_asked_was_held_out(library: Database, settings: Settings) -> None:
    # All prompts are asked, so none is left to be found by.
    report = evaluate(library, settings, count=1_000, part=Part.ALL)
    assert report.queries == report.possible == 40
    words = report.figures["words alone"][Variant.WITHOUT_TRIGGERS]
    assert words.recall_at_1.value == 0.0
    publish_words(library, settings)
    assert evaluate(library, settings, count=1_000, part=Part.ALL).figures == report.figures


def test_without_example_prompts_there_is_nothing_to_ask(sqlite_database: Database, settings: Settings) -> None:
    add(sqlite_database, 1, "Silent")
    with pytest.raises(NothingToAskError, match="no adapter has example images"):
        evaluate(sqlite_database, settings)
    with pytest.raises(NothingToAskError):
        learn(sqlite_database, settings)


def test_learning_finds_what_tells_adapters_apart(library: Database, settings: Settings) -> None:
    learned = learn(library, settings, count=10)
    assert learned.questions <= 20
    assert all(weight >= 0 for weight in learned.weights.values())
    # Descriptions are all the same here.
    assert learned.weights["phrases"] > 0.0


def test_the_rank_is_among_models() -> None:
    query = Query("model:7", 3, "", "", "")
    models = {1: "model:5", 2: "model:5", 3: "model:7", 4: "model:9"}
    assert rank_of(query, [1, 2, 4, 3], models) == 3
    assert rank_of(query, [1, 2], models) is None
