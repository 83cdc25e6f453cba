"""Recommendations for prompts in a library that is large enough for candidates to be put in order by trees."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import delete

from serving import recommending
from serving.recommending import Answer, Wish
from tests.databases import scratch_database
from tests.serving.conftest import scratch_settings
from tests.warehouse.lexical.library import add
from warehouse.engine import Database
from warehouse.evaluation.questions import Questions
from warehouse.evaluation.rankers import OURS, Library, rankers
from warehouse.lexical import publishing
from warehouse.lexical.publishing import publish_words
from warehouse.lexical.searching import LexicalSearcher
from warehouse.models import Adapter
from warehouse.queries import evidence
from warehouse.reranking import reranker
from warehouse.settings import Settings
from warehouse.vectors import Recommender, SearchFilter, prompt_weights, publish_index
from warehouse.vectors.spaces import SPACES, SpaceName
from warehouse.vectors.work import compute_embeddings

SCENES = ("harbour at dusk", "temple in the rain", "crowded arcade", "glacier from above", "quiet library")
SUBJECTS = ("fox", "knight", "violinist", "clockmaker", "lighthouse keeper", "robot", "dancer", "astronomer")
STYLES = ("ink wash", "stained glass", "low poly", "charcoal")
WISH = Wish(limit=10, threshold=0.0, weights=dict(prompt_weights()), narrowed=SearchFilter())
PROMPT = "a violinist in a temple in the rain, stained glass, wide shot"


@pytest.fixture(scope="module")
def asked(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, models_dir: Path
) -> Iterator[tuple[Database, Settings]]:
    """As many adapters as trees are asked for, and some more, embedded and indexed."""
    folder = tmp_path_factory.mktemp("reranking")
    with scratch_database(request, folder, "sqlite") as database:
        settings = scratch_settings(database, folder / "data", models_dir)
        kinds = [(scene, subject, style) for scene in SCENES for subject in SUBJECTS for style in STYLES]
        for number, (scene, subject, style) in enumerate(kinds[: reranker.FEW + 20]):
            add(
                database,
                number,
                f"{subject.title()} {number}",
                *(f"a {subject} in a {scene}, {style}, {shot}" for shot in ("wide shot", "from behind")[: number % 3]),
                tags=[style, subject],
                author_username=f"author {number % 7}",
                civitai_model_id=number,
            )
        for space in SPACES:
            compute_embeddings(database, settings, space.name)
        publish_index(database, settings)
        publish_words(database, settings)
        yield database, settings


def answer(database: Database, settings: Settings, prompt: str = PROMPT, wish: Wish = WISH) -> Answer:
    recommender, words = Recommender(database, settings), LexicalSearcher(database, settings)
    return recommending.for_prompt(database, recommender, words, prompt, wish)


def relevances(found: Answer) -> set[float | None]:
    return {item["relevance_score"] for item in found.items}


def test_candidates_are_put_in_order_by_their_relevance(asked: tuple[Database, Settings]) -> None:
    found = answer(*asked)
    assert len(found.items) == WISH.limit
    for item in found.items:
        assert item["similarity_score"] <= item["relevance_score"] <= item["final_score"] <= 1
        boosts = (item["quality_boost"], item["popularity_boost"], item["preference_boost"])
        lacks = 1 - item["relevance_score"]
        for boost in boosts:
            lacks *= 1 - boost
        assert item["final_score"] == pytest.approx(1 - lacks)
    assert found.items[0]["lora_name"].startswith("Violinist")


@pytest.mark.parametrize("prompt", ["%", "the", "quarterly tax return spreadsheet", "asdf qwer zxcv"])
def test_a_prompt_that_says_nothing_promises_nothing(asked: tuple[Database, Settings], prompt: str) -> None:
    found = answer(*asked, prompt=prompt, wish=replace(WISH, threshold=0.0)).items
    # Similarity and words together, as an order without trees has them.
    most = max(1 - (1 - item["similarity_score"]) * (1 - item["lexical_boost"]) for item in found)
    assert all(item["relevance_score"] <= most + 1e-6 for item in found)


def test_a_shorter_list_begins_as_a_longer_one(asked: tuple[Database, Settings]) -> None:
    longer = [item["lora_id"] for item in answer(*asked, wish=replace(WISH, limit=10)).items]
    for limit in (1, 3, 5):
        assert [item["lora_id"] for item in answer(*asked, wish=replace(WISH, limit=limit)).items] == longer[:limit]


def test_what_is_served_is_what_is_evaluated(asked: tuple[Database, Settings], tmp_path: Path) -> None:
    database, settings = asked
    served = [item["lora_name"] for item in answer(database, settings, wish=replace(WISH, limit=3)).items]
    with database.read() as connection:
        library = Library(connection, settings, Questions((), 0), tmp_path, None)
        order = rankers(library)[OURS](library.ask([PROMPT])[0])
        names = evidence.facts_of(connection, order)
    assert library.reranker is reranker.shipped()
    assert [names[number].name for number in order[:3]] == served


def test_weights_of_one_s_own_are_followed_to_the_letter(asked: tuple[Database, Settings]) -> None:
    assert relevances(answer(*asked, wish=replace(WISH, weights={SpaceName.SEMANTIC: 1.0}))) == {None}
    doubled = {space: 2 * weight for space, weight in prompt_weights().items()}
    assert None not in relevances(answer(*asked, wish=replace(WISH, weights=doubled)))


def test_trees_can_be_left_out(asked: tuple[Database, Settings]) -> None:
    database, settings = asked
    assert relevances(answer(database, settings.model_copy(update={"rerank": False}))) == {None}


def test_a_small_library_has_none(asked: tuple[Database, Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reranker, "FEW", 1_000)
    assert relevances(answer(*asked)) == {None}


def test_an_adapter_newer_than_the_index_is_put_in_order_with_the_others(
    request: pytest.FixtureRequest, asked: tuple[Database, Settings]
) -> None:
    database, settings = asked
    prompt = "a kestrel over a quarry, morning fog, wide shot"
    new = add(database, 1_000, "Nocturne", prompt, civitai_model_id=1_000)
    request.addfinalizer(lambda: _forget(database, new))
    for space in SPACES:
        compute_embeddings(database, settings, space.name)
    first = answer(database, settings, f"{prompt}, masterpiece").items[0]
    assert (first["lora_name"], first["relevance_score"] is None) == ("Nocturne", False)


def test_a_generation_of_an_earlier_version_is_asked_without(
    asked: tuple[Database, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    database, settings = asked
    monkeypatch.setattr(publishing, "VERSION", publishing.VERSION - 1)
    publish_words(database, settings, force=True)
    monkeypatch.undo()
    found = answer(database, settings)
    assert relevances(found) == {None}
    assert found.items[0]["lora_name"].startswith("Violinist")
    publish_words(database, settings)
    assert None not in relevances(answer(database, settings))


def _forget(database: Database, number: int) -> None:
    with database.write() as connection:
        connection.execute(delete(Adapter).where(Adapter.pk == number))
