"""Recommendations are answered again while nothing changed, and never once anything has."""

import time
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update

from tests.serving.conftest import KEYS, Server
from tests.serving.test_recommendations import Library, embed, names, served, used_together, wait_until_ready
from warehouse.engine import Database
from warehouse.learning import derive_profiles
from warehouse.lexical.publishing import INDEX_FOLDER, publish_words
from warehouse.models import Adapter, AdapterDetail, Embedding, RecommendationCache, utc_now
from warehouse.settings import Settings
from warehouse.vectors.indices import publish_index

__all__ = ["served"]


@pytest.fixture
def library(database: Database, settings_for: Callable[..., Settings]) -> Any:
    yield from served(database, settings_for(database))


@pytest.fixture
def sqlite_library(sqlite_database: Database, settings_for: Callable[..., Settings]) -> Any:
    yield from served(sqlite_database, settings_for(sqlite_database))


def timeless(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if not key.startswith("processing_time") and key != "cached"}


def rows(database: Database) -> int:
    with database.read() as connection:
        return connection.execute(select(func.count()).select_from(RecommendationCache)).scalar_one()


def wait_for_rows(database: Database, number: int) -> None:
    deadline = time.monotonic() + 30
    while rows(database) < number:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_same_question_has_the_same_answer_at_once_and_from_the_table(library: Library) -> None:
    first, second = library.similar(0), library.similar(0)
    assert (first["cached"], second["cached"]) == (False, True)
    assert timeless(first) == timeless(second)
    prompts = [library.prompt("dragon <lora:Ink Dragon:0.8>") for _ in range(2)]
    assert [answer["cached"] for answer in prompts] == [False, True]
    assert timeless(prompts[0]) == timeless(prompts[1])
    alias = library.client.get(f"/api/recommendations/similar/{library.ids[0]}").json()
    assert alias["cached"]
    wait_for_rows(library.database, 2)
    assert timeless(library.similar(0)) == timeless(first)
    other = Server(library.settings)
    other.start()
    wait_until_ready(other.client)
    kept = other.client.get(f"/api/v1/recommendations/similar/{library.ids[0]}").json()
    figures = other.client.get("/api/v1/recommendations/stats").json()["cache"]
    other.stop()
    assert kept["cached"]
    assert timeless(kept) == timeless(first)
    assert figures == {"enabled": True, "ttl_seconds": 3600, "entries": 2, "hits": 1, "misses": 0, "hit_rate": 1.0}
    ours = library.client.get("/api/v1/recommendations/stats").json()["cache"]
    assert (ours["hits"], ours["misses"], ours["hit_rate"]) == (4, 2, pytest.approx(4 / 6))


def test_every_other_question_is_another(sqlite_library: Library) -> None:
    sqlite_library.similar(0)
    different: list[dict[str, Any]] = [
        {"limit": 3},
        {"similarity_threshold": 0.2},
        {"weights": '{"semantic": 1}'},
        {"base_model": "Pony"},
        {"nsfw_max": 2},
        {"diversity": 0.5},
        {"available_only": "true"},
        {"fold": "true"},
        {"include_explanations": "false"},
    ]
    for params in different:
        assert not sqlite_library.similar(0, **params)["cached"], params
    assert not sqlite_library.similar(1)["cached"]
    assert not sqlite_library.prompt("dragon")["cached"]
    assert not sqlite_library.prompt("dragons")["cached"]
    assert sqlite_library.similar(0)["cached"]


def _write(library: Library, statement: Any) -> None:
    with library.database.write() as connection:
        connection.execute(statement)


def _rename(library: Library) -> None:
    _write(library, update(Adapter).where(Adapter.id == library.ids[2]).values(name="Wyvern"))


def _describe(library: Library) -> None:
    _write(library, update(AdapterDetail).values(description_text="New words."))


def _delete(library: Library) -> None:
    _write(library, delete(Adapter).where(Adapter.id == library.ids[3]))


def _embed_anew(library: Library) -> None:
    _write(library, update(Embedding).values(producer="old"))
    embed(library.database, library.settings)


def _rate(library: Library) -> None:
    _write(library, update(Embedding).values(quality_score=0.01))


def _publish(library: Library) -> None:
    publish_index(library.database, library.settings)


def _once_kept(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Ask until the answer is one that was kept: what the change before it touched may still be on its way."""
    for _ in range(20):
        if (answer := ask())["cached"]:
            return answer
        time.sleep(0.1)
    pytest.fail("no answer was kept")


def test_no_answer_outlives_what_it_was_computed_from(library: Library) -> None:
    for change in (_rename, _describe, _embed_anew, _rate, _publish, _delete):
        before = _once_kept(lambda: library.similar(0, similarity_threshold=0))
        _once_kept(lambda: library.prompt("dragon", similarity_threshold=0))
        change(library)
        after = library.similar(0, similarity_threshold=0)
        assert not after["cached"], change
        assert not library.prompt("dragon", similarity_threshold=0)["cached"], change
        if change is _rename:
            assert "Wyvern" in names(after)
        if change is _describe:
            assert after["recommendations"][0]["lora_description"] == "New words."
        if change is _rate:
            assert after["recommendations"][0]["quality_boost"] < 0.001
        if change is _publish:
            config = "recommendation_config"
            assert after[config]["index_generation"] != before[config]["index_generation"]
    assert "Dragon Scales" not in names(after)


def test_activations_which_no_item_shows_leave_answers_alone(sqlite_library: Library) -> None:
    sqlite_library.similar(0)
    _write(sqlite_library, update(Adapter).values(active=True, ordinal=1, updated_at=utc_now()))
    assert sqlite_library.similar(0)["cached"]


def test_use_overtakes_only_the_answers_about_what_was_used(library: Library) -> None:
    _once_kept(lambda: library.similar(0, similarity_threshold=0))
    _once_kept(lambda: library.similar(2, similarity_threshold=0))
    _once_kept(lambda: library.prompt("dragon"))
    used_together(library, [0, 1])
    after = library.similar(0, similarity_threshold=0)
    assert not after["cached"]
    assert after["recommendations"][0]["shared"]["used_together"] == 1
    assert timeless(_once_kept(lambda: library.similar(0, similarity_threshold=0))) == timeless(after)
    assert library.similar(2, similarity_threshold=0)["cached"]
    assert library.prompt("dragon")["cached"]


def test_answers_are_shared_by_keys_of_which_the_same_is_known(
    sqlite_database: Database, settings_for: Callable[..., Settings]
) -> None:
    libraries = served(sqlite_database, settings_for(sqlite_database, api_keys=KEYS))
    library = next(libraries)

    def asked_by(role: str, **params: Any) -> dict[str, Any]:
        library.client.headers["X-API-Key"] = f"{role}-secret"
        return library.similar(3, similarity_threshold=0, **params)

    before = asked_by("reader")
    assert asked_by("editor")["cached"]
    assert asked_by("editor", personal=False)["cached"]
    assert library.client.post(f"/api/v1/adapters/{library.ids[4]}/activate").status_code == 200
    assert asked_by("editor")["cached"]
    derive_profiles(library.database, library.settings)
    mine = asked_by("editor")
    assert not mine["cached"]
    assert max(item["preference_boost"] for item in mine["recommendations"]) > 0
    assert asked_by("editor")["cached"]
    for theirs in (asked_by("reader"), asked_by("editor", personal=False)):
        assert theirs["cached"]
        assert timeless(theirs) == timeless(before)
    libraries.close()


def test_signatures_are_made_when_an_answer_is_sent(sqlite_library: Library) -> None:
    _write(sqlite_library, update(Adapter).values(preview_path="/library/preview.png"))
    sqlite_library.similar(0)
    for _ in range(2):
        urls = [item["preview_url"] for item in sqlite_library.similar(0)["recommendations"]]
        assert urls
        assert all("&signature=" in url for url in urls)
    wait_for_rows(sqlite_library.database, 1)
    with sqlite_library.database.read() as connection:
        kept = connection.execute(select(RecommendationCache.recommendations)).scalar_one()
    assert b"signature" not in zlib.decompress(kept)
    assert b"/preview" in zlib.decompress(kept)


def test_what_expired_or_cannot_be_read_is_computed_anew(sqlite_library: Library) -> None:
    sqlite_library.similar(0)
    wait_for_rows(sqlite_library.database, 1)
    assert sqlite_library.similar(0)["cached"]
    for values in ({"recommendations": b"no zlib"}, {"expires_at": utc_now()}):
        _write(sqlite_library, update(RecommendationCache).values(**values))
        assert not sqlite_library.similar(0)["cached"]
        assert sqlite_library.similar(0)["cached"]
        _wait_until_renewed(sqlite_library.database)


def _wait_until_renewed(database: Database) -> None:
    whole = (RecommendationCache.recommendations != b"no zlib") & (RecommendationCache.expires_at > utc_now())
    deadline = time.monotonic() + 30
    with_whole = select(func.count()).select_from(RecommendationCache).where(whole)
    while time.monotonic() < deadline:
        with database.read() as connection:
            if connection.execute(with_whole).scalar_one():
                return
        time.sleep(0.05)
    pytest.fail("the answer was not kept again")


def test_failures_are_not_kept(sqlite_library: Library) -> None:
    unknown = "0190a6f2-0000-7000-8000-000000000000"
    for _ in range(2):
        assert sqlite_library.client.get(f"/api/v1/recommendations/similar/{unknown}").status_code == 404
        assert sqlite_library.client.post("/api/v1/recommendations/prompt", json={"prompt": ""}).status_code == 422
    sqlite_library.similar(0)
    wait_for_rows(sqlite_library.database, 1)
    assert rows(sqlite_library.database) == 1


def test_an_answer_without_the_published_words_is_not_kept(sqlite_library: Library) -> None:
    broken = publish_words(sqlite_library.database, sqlite_library.settings, force=True)
    meta = broken.path / INDEX_FOLDER / "meta.json"
    whole = meta.read_bytes()
    meta.write_bytes(b"{")
    assert [sqlite_library.prompt("dragon")["cached"] for _ in range(2)] == [False, False]
    meta.write_bytes(whole)
    publish_words(sqlite_library.database, sqlite_library.settings, force=True)
    # It is opened at the next try, which waits for seconds after one that failed.
    deadline = time.monotonic() + 60
    while not sqlite_library.prompt("dragon")["cached"]:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_answers_do_not_wait_for_a_writer(sqlite_library: Library) -> None:
    with sqlite_library.database.write():
        # Held longer than answers are gathered: the thread that keeps them waits, and nobody else.
        answers = [sqlite_library.similar(position) for position in range(8) for _ in range(2)]
        time.sleep(1.5)
        assert sqlite_library.similar(0)["cached"]
    assert [answer["cached"] for answer in answers] == [False, True] * 8
    wait_for_rows(sqlite_library.database, 8)


def test_none_are_kept_where_the_setting_says_so(
    sqlite_database: Database, settings_for: Callable[..., Settings]
) -> None:
    libraries = served(sqlite_database, settings_for(sqlite_database, recommendation_cache_seconds=0))
    library = next(libraries)
    assert [library.similar(0)["cached"] for _ in range(2)] == [False, False]
    assert library.client.get("/api/v1/recommendations/stats").json()["cache"]["enabled"] is False
    next(libraries, None)
