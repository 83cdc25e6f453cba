"""A reader on another machine: the database and the store are shared, the data folder is its own and empty."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serving.test_recommendations import SUBJECTS, embed, wait_until_ready
from tests.stores import Asked, Store
from tests.warehouse.queries.library import adapter_values, insert_adapters
from warehouse.engine import Database
from warehouse.generations import current
from warehouse.lexical.publishing import publish_words
from warehouse.marts.export import export_marts
from warehouse.settings import Settings
from warehouse.vectors.indices import KIND, publish_index
from warehouse.vectors.search import Recommender

# Two machines share no file, so that their database is a server's.
pytestmark = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


@pytest.fixture
def place(store: Store) -> dict[str, Any]:
    """What settings say of the store."""
    return {
        "published_url": store.url("files"),
        "published_s3_endpoint": store.wire.url,
        "published_s3_key": "publisher:secret",
        "s3_retry_seconds": 0.0,
    }


@pytest.fixture
def builder(
    database: Database, settings_for: Callable[..., Settings], place: dict[str, Any], tmp_path: Path
) -> Settings:
    """Settings of the machine that publishes, which has embedded a small library."""
    settings = settings_for(database, **place).model_copy(update={"data_dir": tmp_path / "builder"})
    insert_adapters(database, [adapter_values(number, **subject) for number, subject in enumerate(SUBJECTS)])
    embed(database, settings)
    return settings


def test_it_answers_from_what_another_one_published(
    database: Database, builder: Settings, serve: Callable[..., httpx.Client], place: dict[str, Any], tmp_path: Path
) -> None:
    publish_index(database, builder)
    publish_words(database, builder)
    export_marts(database, builder)
    client = serve(database, **place)
    wait_until_ready(client)
    asked = client.post("/api/v1/recommendations/prompt", json={"prompt": "a zxqdragon drawn in ink"}).json()
    assert asked["recommendations"][0]["lora_name"] == "Ink Dragon"
    answer = client.post("/api/v1/analytics/query", json={"sql": "SELECT count(*) AS n FROM adapters"}).json()
    assert answer["rows"] == [[len(SUBJECTS)]]
    assert client.get("/api/v1/dashboard/stats").status_code == 200
    kinds = {
        path.relative_to(tmp_path / "data" / "generations").parts[:2]
        for path in (tmp_path / "data" / "generations").glob("*/*")
    }
    assert kinds == {("indices", "recommend"), ("indices", "lexical"), ("marts", "analytics")}


def test_it_swaps_to_the_next_one_and_nobody_waits_for_that(
    database: Database, builder: Settings, settings_for: Callable[..., Settings], place: dict[str, Any], store: Store
) -> None:
    first = publish_index(database, builder)
    recommender = Recommender(database, settings_for(database, **place))
    question = recommender.encode("dragon")
    assert recommender.by_vectors(question).generation == first.name
    second = publish_index(database, builder, force=True)
    held: list[Asked] = []

    def hold(asked: Asked) -> None:
        held.append(asked)
        while store.wire.before is not None:
            time.sleep(0.01)

    store.wire.before = hold
    assert recommender.by_vectors(question).generation == first.name
    while not held:
        time.sleep(0.01)
    store.wire.before = None
    while recommender.by_vectors(question).generation != second.name:
        time.sleep(0.05)
    assert recommender.by_vectors(question).matches


def test_an_unchanged_index_is_not_built_again_where_its_files_are_not(
    database: Database, builder: Settings, settings_for: Callable[..., Settings], place: dict[str, Any]
) -> None:
    first = publish_index(database, builder)
    words = publish_words(database, builder)
    elsewhere = settings_for(database, **place)
    assert publish_index(database, elsewhere).name == first.name
    assert publish_words(database, elsewhere).name == words.name
    found = current(database, elsewhere, KIND)
    assert found is not None
    assert not found.path.exists(), "nobody needed it"
