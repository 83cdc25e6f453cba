"""Recommendations over HTTP, with the real model on a library of a few adapters, on both dialects."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter
from sqlalchemy import delete, insert, select, update

from serving.recommender import SharedRecommender
from serving.schemas.recommendations import (
    EmbeddingStatus,
    PromptAnswer,
    Recommendation,
    RecommendationStats,
    SimilarAnswer,
)
from tests.databases import migrated_sqlite, scratch_database
from tests.serving.conftest import Server, scratch_settings
from tests.warehouse.queries.library import adapter_values, insert_adapters
from warehouse.engine import Database, connect
from warehouse.ids import new_id
from warehouse.ingest.tombstones import bury
from warehouse.learning import count_pairs, derive_profiles
from warehouse.lexical.publishing import publish_words
from warehouse.models import Adapter, AdapterDetail, AdapterUse, Duplicate, utc_now
from warehouse.settings import Settings
from warehouse.vectors.indices import publish_index
from warehouse.vectors.spaces import prompt_weights
from warehouse.vectors.work import compute_embeddings

KNOWN = "0190a6f2-0000-7000-8000-000000000000"
WEIGHTS = ("semantic", "artistic", "technical")
SUBJECTS: list[dict[str, Any]] = [
    {"name": "Ink Dragon", "tags": ["dragon", "ink", "style"], "trained_words": ["zxqdragon"], "civitai_model_id": 1},
    {"name": "Ink Dragon", "version": "v2.0", "tags": ["dragon", "ink", "style"], "civitai_model_id": 1},
    {"name": "Fire Dragon", "tags": ["dragon", "fantasy"], "trained_words": ["firewyrm"], "nsfw_level": 31},
    {"name": "Dragon Scales", "tags": ["dragon", "texture"], "base_model": "Pony", "file_state": "missing"},
    {"name": "Victorian Dress", "tags": ["clothing", "dress"], "trained_words": ["vicdress"], "downloads": 500_000},
    {"name": "Evening Gown", "tags": ["clothing", "dress"], "downloads": 0},
    {"name": "Space Station", "tags": ["background", "sci-fi"]},
    {"name": "水墨山水", "tags": ["水墨", "landscape"], "trained_words": ["水墨画"]},
]


class Library:
    """A served library with vectors."""

    def __init__(self, database: Database, settings: Settings, client: httpx.Client, ids: list[str]) -> None:
        self.database, self.settings, self.client, self.ids = database, settings, client, ids

    def similar(self, position: int = 0, **params: Any) -> dict[str, Any]:
        """An answer that is what the model says, to the last key."""
        response = self.client.get(f"/api/v1/recommendations/similar/{self.ids[position]}", params=params)
        assert response.status_code == 200, response.text
        return checked(response.json(), SimilarAnswer)

    def prompt(self, prompt: str, **body: Any) -> dict[str, Any]:
        response = self.client.post("/api/v1/recommendations/prompt", json={"prompt": prompt, **body})
        assert response.status_code == 200, response.text
        return checked(response.json(), PromptAnswer)


def checked(answer: dict[str, Any], model: Any) -> dict[str, Any]:
    """The answer, held against its model and against what is promised of every item."""
    TypeAdapter(model).validate_python(answer)
    assert answer.keys() == model.model_fields.keys()
    items = answer["recommendations"]
    for item in items:
        assert item.keys() == Recommendation.model_fields.keys()
        for name in ("similarity_score", "final_score", *(f"{s}_similarity" for s in WEIGHTS)):
            assert 0 <= item[name] <= 1, name
        assert item["final_score"] >= item["similarity_score"] - 1e-9
        assert item["similarity_score"] >= answer["recommendation_config"]["similarity_threshold"]
        weights = answer["recommendation_config"]["weights"]
        mean = sum(weights[s] * item[f"{s}_similarity"] for s in WEIGHTS) / sum(weights.values())
        assert item["similarity_score"] == pytest.approx(mean, abs=1e-6)
    finals = [item["final_score"] for item in items]
    assert finals == sorted(finals, reverse=True)
    assert len({item["lora_id"] for item in items}) == len(items)
    return answer


def names(answer: dict[str, Any]) -> list[str]:
    return [item["lora_name"] for item in answer["recommendations"]]


def wait_until_ready(client: httpx.Client) -> None:
    """Until the index is loaded."""
    deadline = time.monotonic() + 60
    while client.get("/health/ready").status_code != 200:
        assert time.monotonic() < deadline, client.get("/health/ready").text
        time.sleep(0.05)


def embed(database: Database, settings: Settings) -> None:
    for space in WEIGHTS:
        compute_embeddings(database, settings, space)


def served(database: Database, settings: Settings) -> Iterator[Library]:
    """The subjects in a database, embedded, indexed and served."""
    rows = [adapter_values(number, **subject) for number, subject in enumerate(SUBJECTS)]
    insert_adapters(database, rows)
    embed(database, settings)
    publish_index(database, settings)
    publish_words(database, settings)
    server = Server(settings)
    server.start()
    wait_until_ready(server.client)
    yield Library(database, settings, server.client, [row["id"] for row in rows])
    server.stop()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def library(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, models_dir: Path
) -> Iterator[Library]:
    """One library per dialect for all the tests that only ask."""
    folder = tmp_path_factory.mktemp(request.param)
    with scratch_database(request, folder, request.param) as database:
        yield from served(database, scratch_settings(database, folder / "data", models_dir))


@pytest.fixture
def own_library(database: Database, settings_for: Callable[..., Settings]) -> Iterator[Library]:
    """A library for a test that changes it."""
    yield from served(database, settings_for(database))


@pytest.fixture(scope="module")
def unready_client(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Iterator[httpx.Client]:
    """A client of a server whose recommender is never opened."""
    folder = tmp_path_factory.mktemp("unready")
    database = connect(f"sqlite:///{migrated_sqlite(folder / 'warehouse.sqlite3')}")
    insert_adapters(database, [adapter_values(1, id=KNOWN)])
    server = Server(scratch_settings(database, folder / "data", models_dir))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SharedRecommender, "start", lambda self: None)
        server.start()
    yield server.client
    server.stop()
    database.dispose()


def test_similar_adapters_come_first_with_reasons(library: Library) -> None:
    answer = library.similar(0, similarity_threshold=0)
    assert names(answer)[:2] == ["Ink Dragon", "Fire Dragon"]
    assert library.ids[0] not in [item["lora_id"] for item in answer["recommendations"]]
    assert answer["total_candidates"] == len(SUBJECTS)
    first, second = answer["recommendations"][:2]
    assert first["shared"]["tags"] == ["ink", "style", "dragon"]
    assert "dragon" in second["explanation"]
    assert second["shared"]["base_model"] == "SDXL 1.0"
    assert answer["recommendation_config"]["index_generation"]


def test_weights_can_be_written_in_both_ways(library: Library) -> None:
    whole = library.similar(0, weights='{"semantic": 2, "artistic": 1}', similarity_threshold=0)
    single = library.similar(0, weight_semantic=2, weight_artistic=1, weight_technical=0, similarity_threshold=0)
    assert whole["recommendations"] == single["recommendations"]
    assert whole["recommendation_config"]["weights"] == {"semantic": 2.0, "artistic": 1.0, "technical": 0.0}


def test_filters_are_hard(library: Library) -> None:
    everything = names(library.similar(0, similarity_threshold=0))
    assert {"Dragon Scales", "Fire Dragon"} <= set(everything)
    assert names(library.similar(0, similarity_threshold=0, base_model="Pony")) == ["Dragon Scales"]
    assert "Fire Dragon" not in names(library.similar(0, similarity_threshold=0, nsfw_max=2))
    assert "Dragon Scales" not in names(library.similar(0, similarity_threshold=0, available_only="true"))
    assert library.similar(0, base_model="no such model")["recommendations"] == []


def test_threshold_and_limit_bound_the_list(library: Library) -> None:
    assert len(library.similar(0, limit=2, similarity_threshold=0)["recommendations"]) == 2
    assert library.similar(0, similarity_threshold=1)["recommendations"] == []


def test_no_adapter_is_in_its_own_list_folded_or_not(library: Library) -> None:
    for position, key in enumerate(library.ids):
        for fold in ("false", "true"):
            items = library.similar(position, similarity_threshold=0, limit=100, fold=fold)["recommendations"]
            assert key not in [item["lora_id"] for item in items]
            assert key not in [folded for item in items for folded in item["folded"]]


def test_the_aliases_answer_the_same(library: Library) -> None:
    answers = []
    for prefix in ("/api/v1", "/api"):
        body = {"prompt": "dragon", "weights": {"semantic": 1}}
        found = [
            library.client.get(f"{prefix}/recommendations/similar/{library.ids[0]}", params={"limit": 3}).json(),
            library.client.post(f"{prefix}/recommendations/prompt", json=body).json(),
        ]
        status = library.client.get(f"{prefix}/recommendations/embeddings/{library.ids[0]}/status").json()
        stats = library.client.get(f"{prefix}/recommendations/stats").json()
        answers.append([answer["recommendations"] for answer in found] + [status, stats["total_loras"]])
    assert answers[0] == answers[1]


def test_versions_and_duplicates_fold_only_on_request(own_library: Library) -> None:
    with own_library.database.write() as connection:
        pks = list(connection.execute(Adapter.__table__.select().order_by(Adapter.pk)).scalars())
        connection.execute(
            insert(Duplicate),
            [{"kind": "same_weights", "group_key": "k", "adapter_pk": pk} for pk in (pks[4], pks[5])],
        )
    plain = names(own_library.similar(2, similarity_threshold=0))
    assert plain.count("Ink Dragon") == 2
    folded = own_library.similar(2, similarity_threshold=0, fold="true")
    assert names(folded).count("Ink Dragon") == 1
    assert len([name for name in names(folded) if name in ("Victorian Dress", "Evening Gown")]) == 1
    ink = next(item for item in folded["recommendations"] if item["lora_name"] == "Ink Dragon")
    assert len(ink["folded"]) == 1


def test_a_prompt_has_weights_of_its_own(library: Library) -> None:
    used = library.prompt("dragon in ink")["recommendation_config"]["weights"]
    assert used == prompt_weights()
    assert used != library.similar(0)["recommendation_config"]["weights"]


def test_noise_that_all_prompts_share_is_not_searched_for(library: Library) -> None:
    plain = library.prompt("ink dragon", similarity_threshold=0)
    noisy = library.prompt("masterpiece, best quality, (ink dragon:1.3), 8k", similarity_threshold=0)
    scores = [
        {item["lora_id"]: item["similarity_score"] for item in answer["recommendations"]} for answer in (plain, noisy)
    ]
    assert scores[0] == scores[1]


@pytest.mark.parametrize("prompt", ["Negative prompt: blurry, dragon", "((()))", "\x00", "<lora::1>"])
def test_a_prompt_that_says_nothing_is_near_nothing(library: Library, prompt: str) -> None:
    answer = library.prompt(prompt, similarity_threshold=0)
    assert (answer["recommendations"], answer["total_candidates"]) == ([], 0)
    assert answer["prompt_analysis"]["text"] == ""


def test_diversity_takes_the_unlike(library: Library) -> None:
    alike = names(library.similar(0, limit=3, similarity_threshold=0))
    diverse = names(library.similar(0, limit=3, similarity_threshold=0, diversity=0.9))
    assert alike[0] == diverse[0]
    assert set(alike) != set(diverse)
    assert library.similar(0, diversify_results="true")["recommendation_config"]["diversity"] == 0.3


def test_explanations_can_be_left_out(library: Library) -> None:
    answer = library.similar(0, include_explanations="false")
    assert [item["explanation"] for item in answer["recommendations"]] == [None] * len(answer["recommendations"])


def test_a_deleted_adapter_is_in_no_list(own_library: Library) -> None:
    with own_library.database.write() as connection:
        connection.execute(delete(Adapter).where(Adapter.id == own_library.ids[2]))
    assert "Fire Dragon" not in names(own_library.similar(0, similarity_threshold=0))
    assert "Fire Dragon" not in names(own_library.prompt("firewyrm dragon", similarity_threshold=0))
    assert own_library.client.get(f"/api/v1/recommendations/similar/{own_library.ids[2]}").status_code == 404


def test_an_adapter_added_a_moment_ago_is_answered_and_found_once_embedded(own_library: Library) -> None:
    new = adapter_values(100, name="Dragon Rider", tags=["dragon"])
    insert_adapters(own_library.database, [new])
    own_library.ids.append(new["id"])
    assert "dragon" in names(own_library.similar(-1, similarity_threshold=0))[0].lower()
    embed(own_library.database, own_library.settings)
    assert "Dragon Rider" in names(own_library.similar(0, similarity_threshold=0))


def test_a_prompt_finds_by_meaning_and_by_the_author_s_own_word(library: Library) -> None:
    assert "Dress" in names(library.prompt("woman wearing an elegant 19th century dress"))[0]
    by_word = library.prompt("firewyrm over the mountains", similarity_threshold=0)
    assert names(by_word)[0] == "Fire Dragon"
    first = by_word["recommendations"][0]
    assert first["shared"]["triggers"] == ["firewyrm"]
    assert first["lexical_boost"] > 0.3
    assert "firewyrm" in first["explanation"]
    assert names(library.prompt("水墨画, 山", similarity_threshold=0))[0] == "水墨山水"


def test_a_prompt_is_told_what_example_prompts_have_of_it(library: Library) -> None:
    answer = library.prompt("at dawn, Ink  Dragon, masterpiece", fold=True)
    first = answer["recommendations"][0]
    assert first["lora_name"] == "Ink Dragon"
    # "masterpiece" is in the example prompts of all of them.
    assert first["shared"]["example_phrases"] == ["Ink Dragon"]
    assert "example prompts have Ink Dragon" in first["explanation"]
    assert all(item["shared"]["example_phrases"] == [] for item in library.similar()["recommendations"])


def test_a_damaged_word_index_fails_no_prompt(own_library: Library) -> None:
    damaged = publish_words(own_library.database, own_library.settings, force=True)
    for path in damaged.path.rglob("*.idx"):
        content = path.read_bytes()
        # The end is what opening looks at.
        path.write_bytes(b"\xff" * (len(content) - 350) + content[-350:])
    answer = own_library.prompt("zxqdragon in ink")
    assert own_library.ids[0] in [item["lora_id"] for item in answer["recommendations"]]


def test_a_prompt_is_taken_apart(library: Library) -> None:
    answer = library.prompt(
        "(masterpiece:1.2), dragon, <lora:Ink Dragon:0.8> <lora:unknown:1>\nNegative prompt: blurry\nSteps: 20",
        similarity_threshold=0,
    )
    analysis = answer["prompt_analysis"]
    assert analysis["text"] == "masterpiece, dragon"
    assert analysis["negative"] == "blurry"
    assert [(tag["name"], tag["weight"], tag["lora_id"]) for tag in analysis["lora_tags"]] == [
        ("Ink Dragon", 0.8, library.ids[0]),
        ("unknown", 1.0, None),
    ]
    assert {"concept": "dragon", "kind": "tag", "count": 4} in analysis["concepts"]
    assert any(suggestion["lora_id"] for suggestion in analysis["suggested_additions"])
    assert [item["lora_id"] for item in answer["recommendations"] if item["in_prompt"]] == [library.ids[0]]


def test_a_weight_is_suggested_with_its_evidence(own_library: Library) -> None:
    known = {"count": 24, "median": 0.7, "low": 0.6, "high": 0.8}
    prompt = "zebra, <lora:Ink Dragon:0.8> <lora:unknown:1>"
    before = own_library.prompt(prompt, similarity_threshold=0, limit=1)
    assert [tag["strength"] for tag in before["prompt_analysis"]["lora_tags"]] == [None, None]
    _tell_strengths(own_library, 0, known)
    _tell_strengths(own_library, 2, {"preferred": 0.9})
    answer = own_library.prompt(prompt, similarity_threshold=0)
    items = {item["lora_id"]: item["strength"] for item in answer["recommendations"]}
    suggestion = {"suggested_weight": 0.7, "evidence": "median 0.7 in 24 example images", **known}
    del suggestion["median"]
    assert items[own_library.ids[0]] == suggestion
    assert items[own_library.ids[2]]["evidence"] == "the preferred weight of its metadata"
    assert items[own_library.ids[4]] is None
    assert [tag["strength"] for tag in answer["prompt_analysis"]["lora_tags"]] == [suggestion, None]
    additions = {each["lora_id"]: each["strength"] for each in answer["prompt_analysis"]["suggested_additions"]}
    assert additions[own_library.ids[0]] == suggestion
    assert own_library.similar(1, similarity_threshold=0, limit=1)["recommendations"][0]["strength"] == suggestion


def _tell_strengths(library: Library, position: int, known: dict[str, Any]) -> None:
    pk = select(Adapter.pk).where(Adapter.id == library.ids[position]).scalar_subquery()
    with library.database.write() as connection:
        connection.execute(update(AdapterDetail).where(AdapterDetail.adapter_pk == pk).values(strengths=known))


def test_what_was_used_together_is_raised_and_explained(own_library: Library) -> None:
    before = {item["lora_id"]: item for item in own_library.similar(0, similarity_threshold=0)["recommendations"]}
    assert {(item["used_together_boost"], item["shared"]["used_together"]) for item in before.values()} == {(0, None)}
    used_together(own_library, [0, 6], times=7)
    used_together(own_library, [0, 4])
    answer = own_library.similar(0, similarity_threshold=0)
    after = {item["lora_id"]: item for item in answer["recommendations"]}
    station, dress, dragon = (after[own_library.ids[position]] for position in (6, 4, 2))
    assert station["shared"]["used_together"] == 7
    assert "used together 7 times" in station["explanation"]
    assert "used together once" in dress["explanation"]
    assert 0 < dress["used_together_boost"] < station["used_together_boost"] <= 0.05
    old = before[station["lora_id"]]
    assert station["similarity_score"] == old["similarity_score"]
    gained = 1 - (1 - old["final_score"]) * (1 - station["used_together_boost"])
    assert station["final_score"] == pytest.approx(gained)
    assert dragon == before[dragon["lora_id"]]


def test_what_is_like_what_somebody_uses_is_raised_and_explained(own_library: Library) -> None:
    def asked(**params: Any) -> list[dict[str, dict[str, Any]]]:
        answers = [own_library.similar(3, similarity_threshold=0, **params)]
        answers.append(own_library.prompt("a photo", similarity_threshold=0, **params))
        assert {answer["recommendation_config"]["personal"] for answer in answers} == {expected}
        return [{item["lora_id"]: item for item in answer["recommendations"]} for answer in answers]

    expected = False
    before = asked()
    assert {item["preference_boost"] for items in before for item in items.values()} == {0}
    response = own_library.client.post(f"/api/v1/adapters/{own_library.ids[4]}/activate")
    assert response.status_code == 200
    assert asked() == before
    derive_profiles(own_library.database, own_library.settings)
    expected = True
    for old, new in zip(before, asked(), strict=True):
        gown = new[own_library.ids[5]]
        assert 0 < gown["preference_boost"] <= 0.05
        assert "like what you use (tag clothing, tag dress" in gown["explanation"]
        assert gown["similarity_score"] == old[gown["lora_id"]]["similarity_score"]
        gained = 1 - (1 - old[gown["lora_id"]]["final_score"]) * (1 - gown["preference_boost"])
        assert gown["final_score"] == pytest.approx(gained)
        station = new[own_library.ids[6]]
        assert station["preference_boost"] < gown["preference_boost"] / 10
        assert station["explanation"] == old[station["lora_id"]]["explanation"]
    expected = False
    assert asked(personal=False) == before


def test_nothing_learned_is_used_where_the_setting_says_so(
    sqlite_database: Database, settings_for: Callable[..., Settings]
) -> None:
    libraries = served(sqlite_database, settings_for(sqlite_database, learn_from_use=False))
    library = next(libraries)
    before = library.similar(0, similarity_threshold=0)["recommendations"]
    learning = library.settings.model_copy(update={"learn_from_use": True})
    used_together(library, [0, 4], times=5, settings=learning)
    assert library.client.post(f"/api/v1/adapters/{library.ids[4]}/activate").status_code == 200
    derive_profiles(library.database, learning)
    assert library.similar(0, similarity_threshold=0)["recommendations"] == before
    libraries.close()


def used_together(library: Library, positions: Sequence[int], times: int = 1, settings: Settings | None = None) -> None:
    """What jobs with these adapters leave behind, and what is learned from it."""
    rows = [
        {
            "kind": "delivery",
            "mode": "http",
            "adapter_id": library.ids[position],
            "name": str(position),
            "weight": 1.0,
            "status": "sent",
            "others": [],
            "used_at": utc_now(),
        }
        for position in positions
    ]
    with library.database.write() as connection:
        for _ in range(times):
            job_id = new_id()
            connection.execute(insert(AdapterUse), [{**row, "job_id": job_id} for row in rows])
    count_pairs(library.database, settings or library.settings)


def test_popularity_is_bounded_and_shown(library: Library) -> None:
    items = {item["lora_name"]: item for item in library.prompt("dress", similarity_threshold=0)["recommendations"]}
    assert items["Evening Gown"]["popularity_boost"] == 0
    assert 0 < items["Victorian Dress"]["popularity_boost"] <= 0.05


@pytest.mark.parametrize(
    "params",
    [
        {"limit": 0},
        {"limit": 101},
        {"similarity_threshold": -0.1},
        {"similarity_threshold": 1.1},
        {"similarity_threshold": "nan"},
        {"weights": "{}"},
        {"weights": "[1, 2]"},
        {"weights": '{"semantic": -1}'},
        {"weights": '{"semantic": 1e999}'},
        {"weights": '{"colour": 1}'},
        {"weights": "nonsense"},
        {"weight_semantic": 0, "weight_artistic": 0, "weight_technical": 0},
        {"weight_semantic": "inf"},
        {"diversity": 2},
        {"nsfw_max": -1},
        {"base_model": ["Pony", "Pony"]},
    ],
    ids=str,
)
def test_what_is_not_valid_is_named(unready_client: httpx.Client, params: dict[str, Any]) -> None:
    response = unready_client.get(f"/api/v1/recommendations/similar/{KNOWN}", params=params)
    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == ["query", next(iter(params))]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"",
        b"[]",
        b"null",
        b'{"prompt": ""}',
        b'{"prompt": "   "}',
        b'{"prompt": null}',
        b'{"prompt": 5}',
        b'{"prompt": "x", "limit": 0}',
        b'{"prompt": "x", "limit": 1e99}',
        b'{"prompt": "x", "colour": "red"}',
        b'{"prompt": "\\ud800"}',
        b'{"prompt": "x", "weights": {"semantic": 0}}',
        b'{"prompt": "x", "weights": {"colour": 1}}',
        b'{"prompt": "x", "similarity_threshold": NaN}',
        b'{"\\ud800": 1}',
        b"\xff\xfe",
    ],
    ids=lambda body: body[:40].decode("latin-1"),
)
def test_a_bad_question_is_named(unready_client: httpx.Client, body: bytes) -> None:
    response = unready_client.post(
        "/api/v1/recommendations/prompt", content=body, headers={"content-type": "application/json"}
    )
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["errors"]


def test_json_nested_beyond_reason_is_a_problem(unready_client: httpx.Client) -> None:
    response = unready_client.post(
        "/api/v1/recommendations/prompt", content=b"[" * 100_000, headers={"content-type": "application/json"}
    )
    assert (response.status_code, response.headers["content-type"]) == (422, "application/problem+json")


@pytest.mark.parametrize(
    "prompt",
    [
        "\x00",
        "<lora:\x00:1>",
        "<lora:a:nan>",
        "((((",
        "a" * 20_000,
        ", , ,",
        "🐉" * 3_000,
        '"* OR (',
        "\\(x\\)",
        "<lora:x:1>",
    ],
    ids=lambda prompt: ascii(prompt)[:20],
)
def test_hostile_prompts_are_answered(library: Library, prompt: str) -> None:
    library.prompt(prompt, similarity_threshold=0)


def test_status_and_stats_count_the_vectors(own_library: Library) -> None:
    status = own_library.client.get(f"/api/v1/recommendations/embeddings/{own_library.ids[0]}/status").json()
    TypeAdapter(EmbeddingStatus).validate_python(status)
    assert (status["has_embeddings"], status["embedding_count"]) == (True, 3)
    new = adapter_values(100)
    insert_adapters(own_library.database, [new])
    status = own_library.client.get(f"/api/v1/recommendations/embeddings/{new['id']}/status").json()
    assert (status["has_embeddings"], status["last_computed"], status["quality_score"]) == (False, None, None)
    stats = own_library.client.get("/api/recommendations/stats").json()
    TypeAdapter(RecommendationStats).validate_python(stats)
    assert (stats["total_loras"], stats["loras_with_embeddings"]) == (9, 8)
    assert stats["embedding_coverage"] == pytest.approx(8 / 9)
    with own_library.database.write() as connection:
        # Neither the last adapter nor the last vector.
        bury(connection, connection.execute(select(Adapter.pk).where(Adapter.id == own_library.ids[2])).scalars())
    after = own_library.client.get("/api/recommendations/stats").json()
    assert (after["total_loras"], after["loras_with_embeddings"]) == (8, 7)
    assert stats["index"]["recall"] == 1.0


def test_until_it_is_open_only_its_own_routes_wait(unready_client: httpx.Client) -> None:
    client = unready_client
    assert client.get("/api/v1/adapters").json()["total"] == 1
    assert client.get("/api/v1/recommendations/stats").json()["index"]["status"] == "loading"
    response = client.get(f"/api/v1/recommendations/similar/{KNOWN}")
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    assert response.json()["type"] == "urn:lora-manager:problem:recommender-not-ready"
    ready = client.get("/health/ready")
    assert (ready.status_code, ready.json()["checks"]["index"]["status"]) == (503, "loading")


def test_an_encoder_that_cannot_be_opened_is_reported_and_the_rest_goes_on(
    sqlite_database: Database, serve: Callable[..., httpx.Client]
) -> None:
    client = serve(sqlite_database, embedding_model_semantic="/nowhere/at/all")
    deadline = time.monotonic() + 30
    while client.get("/health/ready").json()["checks"]["index"]["status"] == "loading":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    ready = client.get("/health/ready")
    assert (ready.status_code, ready.json()["checks"]["index"]["status"]) == (503, "failed")
    assert "nowhere" not in ready.text
    response = client.post("/api/v1/recommendations/prompt", json={"prompt": "x"})
    assert (response.status_code, "nowhere" in response.text) == (503, False)
    assert client.get("/api/v1/adapters").status_code == 200


def test_an_empty_library_has_nothing_to_recommend(client: httpx.Client) -> None:
    deadline = time.monotonic() + 60
    while (response := client.post("/api/v1/recommendations/prompt", json={"prompt": "x"})).status_code == 503:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert response.json()["recommendations"] == []
    assert client.get("/health/ready").json()["checks"]["index"]["status"] == "absent"
    assert client.get("/health/ready").status_code == 200
